"""`dynsnet enhance --report` writes a page about what is there in the end, or says beforehand that it cannot."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.cli import main
from tests.evaluation.reported import Page, noise

Enhance = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `in` with two recordings, one of them stereo and with a bad name, and one that is none."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    write_audio("in/a.wav", Audio(noise(1).T, 16000))
    write_audio("stereo.wav", Audio(noise(1, 44100, 2).T, 44100))
    shutil.move("stereo.wav", os.path.join("in", os.fsdecode(b"b \xff<i>\n.wav")))
    Path("in/text.wav").write_text("this is no audio\n" * 99)
    return tmp_path


@pytest.fixture
def enhance(known_bundle: Path) -> Enhance:
    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(main, ["enhance", *arguments, "--model", str(known_bundle)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_page_has_all_that_succeeded(jobs: str, folder: Path, enhance: Enhance) -> None:
    assert enhance("in", "-o", "out", "--exit", "1", "--report", "page.html", "--jobs", jobs).exit_code == 1
    page = Page(Path("page.html"))
    assert [name for name, _ in page.elements].count("section") == 2
    assert f"{folder}/in/b \\xff<i>\\n.wav → out/b \\xff<i>\\n.wav" in page.texts
    assert "Exit 1 Attenuation limit none" in page.text
    assert "−6.0" in page.text  # exit 1 halves the signal
    before, mask, after = page.pictures()[:3]
    assert 31 <= mask.min() <= mask.max() <= 32  # of 64 shades
    assert before.shape == after.shape
    (noisy, _), (enhanced, _) = page.players()[:2]
    np.testing.assert_allclose(noisy, read_audio("in/a.wav").samples.T, atol=1e-4)
    np.testing.assert_allclose(enhanced, read_audio("out/a.wav").samples.T, atol=1e-4)


def test_what_was_done_before_is_in_it_too(folder: Path, enhance: Enhance) -> None:
    enhance("in", "-o", "out", "--report", "first.html")
    enhance("in", "-o", "out", "--report", "second.html", "--resume")
    assert Path("first.html").read_bytes() == Path("second.html").read_bytes()


def test_one_file_has_a_page_and_nothing_else(folder: Path, enhance: Enhance) -> None:
    result = enhance("in/a.wav", "-o", "out.wav", "--report", "page.html")
    assert result.exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["in", "out.wav", "page.html"]
    assert len(Page(Path("page.html")).all("audio", "src")) == 2


def test_no_page_when_nothing_succeeded(folder: Path, enhance: Enhance) -> None:
    assert enhance("in/text.wav", "in/text.wav", "-o", "out/", "--report", "page.html").exit_code == 1
    assert not Path("page.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "out", "--report", "page.txt"), "ends in .html"),
        (("-o", "out", "--report", "none/page.html"), "does not exist"),
        (("--in_place", "--report", "page.html"), "--in_place"),
        (("-o", "out", "--dnsmos"), "--report"),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_any_work(
    arguments: tuple[str, ...], message: str, folder: Path, enhance: Enhance
) -> None:
    result = enhance("in", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert [path.name for path in folder.iterdir()] == ["in"]


def test_a_missing_package_is_named_before_any_work(
    folder: Path, enhance: Enhance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("speechbrain_dynsnet.evaluation.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = enhance("in", "-o", "out", "--report", "page.html")
    assert result.exit_code == 2
    assert result.output == "Error: jinja2 is not installed: --report needs the package with its [evaluation] extra\n"
    assert [path.name for path in folder.iterdir()] == ["in"]
