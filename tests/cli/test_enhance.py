"""`dynsnet enhance` on one file and on a few: results where they are due, one line for anything wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.audio.settings import CHANNEL_WAYS, HIGH_BANDS
from speechbrain_dynsnet.cli import main
from speechbrain_dynsnet.cli.enhance_model import ModelChoice, choose_model
from speechbrain_dynsnet.model.bundle import SHIPPED_BUNDLE

RATE = 44100
Enhance = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two recordings and some that are none."""
    monkeypatch.chdir(tmp_path)
    time_s = np.arange(RATE // 4) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    write_audio("a.wav", Audio(tone[None], RATE))
    write_audio("b.flac", Audio(np.stack([tone, -tone]), RATE))
    Path("empty.wav").touch()
    Path("text.wav").write_text("this is no audio\n" * 99)
    soundfile.write("nan.wav", np.full(9, np.nan), RATE, subtype="FLOAT")
    Path("nothing").mkdir()
    return tmp_path


@pytest.fixture
def enhance(known_bundle: Path) -> Enhance:
    def run(*arguments: str) -> Result:
        if "--model" not in arguments:
            arguments += ("--model", str(known_bundle))
        return CliRunner().invoke(main, ["enhance", *arguments])

    return run


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("exit", "gain"), [("1", 0.5), ("5", 1.0)])
def test_one_file(folder: Path, enhance: Enhance, exit: str, gain: float) -> None:
    result = enhance("a.wav", "-o", "out.flac", "--exit", exit)
    assert (result.exit_code, result.output) == (0, "")
    before, after = read_audio("a.wav"), read_audio("out.flac")
    assert (after.rate, after.samples.shape) == (RATE, before.samples.shape)
    np.testing.assert_allclose(after.samples[:, 2000:-2000], gain * before.samples[:, 2000:-2000], atol=1e-3)


@pytest.mark.parametrize("output", ["nothing", "nothing/", "new/", "new/deep/"])
def test_one_file_into_a_folder(folder: Path, enhance: Enhance, output: str) -> None:
    assert enhance("a.wav", "-o", output).exit_code == 0
    assert read_audio(Path(output, "a.wav")).rate == RATE


@pytest.mark.parametrize("output", ["nothing/c.flac", "new/c.flac", "new/deep/c.flac"])
@pytest.mark.parametrize("options", [(), ("--resume",), ("--table", "t.csv")])
def test_one_file_of_another_name_in_a_folder(
    folder: Path, enhance: Enhance, output: str, options: tuple[str, ...]
) -> None:
    assert enhance("a.wav", "-o", output, *options).exit_code == 0
    assert read_audio(output).rate == RATE


def test_several_files_and_folders(folder: Path, enhance: Enhance) -> None:
    Path("in").mkdir()
    write_audio("in/c.ogg", Audio(np.zeros((1, 900), dtype=np.float32), RATE))
    Path("in/notes.txt").write_text("skipped")
    Path("in/.hidden.wav").touch()
    result = enhance("a.wav", "b.flac", "in", "a.wav", "-o", "new/out")
    assert result.exit_code == 0
    assert sorted(path.name for path in Path("new/out").glob("[!.]*")) == ["a.wav", "b.flac", "c.ogg", "enhanced.csv"]


def test_an_extension_that_is_only_read_becomes_wav(folder: Path, enhance: Enhance) -> None:
    soundfile.write("a.voc", np.zeros(900), 8000, format="VOC")
    assert enhance("a.voc", "-o", "new/").exit_code == 0
    assert read_audio("new/a.wav").samples.shape == (1, 900)


def test_one_bad_file_does_not_stop_the_others(folder: Path, enhance: Enhance) -> None:
    result = enhance("a.wav", "none.wav", "text.wav", "b.flac", "-o", "out")
    assert result.exit_code == 1
    assert "Error: none.wav: no such file" in result.stderr
    assert "Error: text.wav: not audio" in result.stderr
    assert "2 enhanced, 2 failed" in result.stdout
    assert sorted(path.name for path in Path("out").glob("[!.]*")) == ["a.wav", "b.flac", "enhanced.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.wav", "-o", "out.wav"], "none.wav: no such file"),
        (["none.wav", "-o", "out/"], "none.wav: no such file"),
        (["empty.wav", "-o", "out.wav"], "is empty"),
        (["text.wav", "-o", "out.wav"], "not audio"),
        (["nan.wav", "-o", "out.wav"], "holds samples that are NaN or infinite, the first at 0.000 s"),
        (["nothing", "-o", "out"], "no audio files in this folder"),
        (["a.wav", "-o", "a.wav"], "is the input itself"),
        (["a.wav", "-o", "."], "is an input"),
        (["a.wav", "b.flac", "-o", "."], "is an input"),
        (["a.wav", "b.flac", "-o", "text.wav"], "text.wav: is the name of a file"),
        (["a.wav", "b.flac", "-o", "out.wav"], "out.wav: is the name of a file"),
        (["a.wav", "b.flac", "-o", "text.wav/out"], "text.wav is no writable folder"),
        (["a.wav", "-o", "out"], "without an extension"),
        (["a.wav", "-o", "out.txt"], r"cannot write .txt"),
        (["text.wav", "-o", "out/deep/out.wav"], "not audio"),
        (["text.wav", "-o", "out/deep/"], "not audio"),
        (["text.wav", "-o", "out/", "--report", "out/page.html"], "not audio"),
        (["a.wav", "-o", "out/deep/out.txt"], r"cannot write .txt"),
        (["a.wav", "-o", "out/deep/out.wav", "--exit", "2"], "choose one of [0, 1, 3, 5]"),
        (["a.wav", "-o", f"out/{'n' * 300}/out.wav"], "cannot be made"),
        (["a.wav", "-o", "text.wav/out.wav"], "text.wav is no writable folder"),
        (["a.wav", "-o", "text.wav/out/"], "text.wav is no writable folder"),
        (["a.wav", "-o", "out.opus"], "cannot be written as OGG/OPUS"),
        (["a.wav", "-o", "out.wav", "--exit", "2"], "choose one of [0, 1, 3, 5]"),
        (["a.wav", "-o", "out.wav", "--model", "none"], "no such folder"),
        (["a.wav", "-o", "out.wav", "--model", "nothing"], "config.json"),
        (["a.wav", "-o", "out.wav", "--model", "text.wav"], "is a file, not a folder"),
        (["a.wav", "-o", "out.wav", "--device", "nonsense"], "device nonsense"),
        (["a.wav"], "either -o OUT or --in_place"),
        (["a.wav", "-o", "out.wav", "--in_place"], "either -o OUT or --in_place"),
        (["a.wav", "-o", "out.wav", "--mix", "1.5"], "mix is 1.5"),
        (["a.wav", "-o", "out.wav", "--attenuation_limit_db", "-1"], "attenuation_limit_db is -1.0"),
        (["a.wav", "-o", "out.wav", "--table", "none/t.csv"], "none does not exist"),
        (["a.wav", "-o", "out.wav", "--model", "none.onnx"], "none.onnx: no such file"),
        (["a.wav", "-o", "out.wav", "--model", "none.onnx", "--device", "cuda:0"], "leave --device out"),
        (["nan.wav", "--in_place"], "NaN or infinite"),
    ],
)
def test_bad_input_is_one_line_and_nothing_written(
    folder: Path, enhance: Enhance, arguments: list[str], message: str
) -> None:
    before = listing(folder)
    result = enhance(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert isinstance(result.exception, SystemExit)
    assert listing(folder) == before
    assert not Path("out").exists() and not Path("out.wav").exists()


def test_two_results_of_one_name_are_refused(folder: Path, enhance: Enhance) -> None:
    Path("nothing/a.wav").write_bytes(Path("a.wav").read_bytes())
    result = enhance("a.wav", "nothing/a.wav", "-o", "out")
    assert result.exit_code == 2
    assert "a.wav and nothing/a.wav would both become out/a.wav" in result.stderr
    assert not Path("out").exists() and not Path("out.wav").exists()


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from speechbrain_dynsnet.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_process_ends_with_one_line_and_code_2(folder: Path, known_bundle: Path) -> None:
    done = _run("enhance", "nan.wav", "-o", "out.wav", "--model", str(known_bundle))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: nan.wav: ")
    assert done.stderr.count("\n") == 1


def test_the_choices_are_the_engines() -> None:
    offered = {option.name: getattr(option.type, "choices", None) for option in main.commands["enhance"].params}
    assert tuple(offered["high_band"]) == HIGH_BANDS
    assert tuple(offered["channels"]) == CHANNEL_WAYS


@pytest.mark.parametrize(
    ("options", "gain"),
    [((), 0.5), (("--mix", "0"), 1.0), (("--mix", "0.5"), 0.75), (("--attenuation_limit_db", "3"), 10 ** (-3 / 20))],
)
def test_the_strength_is_the_users(folder: Path, enhance: Enhance, options: tuple[str, ...], gain: float) -> None:
    assert enhance("a.wav", "-o", "out.wav", "--exit", "1", *options).exit_code == 0
    before, after = read_audio("a.wav").samples, read_audio("out.wav").samples
    np.testing.assert_allclose(after[:, 2000:-2000], gain * before[:, 2000:-2000], atol=1e-3)


def test_in_place_replaces_the_file_and_keeps_its_owner_and_permissions(folder: Path, enhance: Enhance) -> None:
    before = read_audio("a.wav").samples
    Path("a.wav").chmod(0o640)
    if os.getuid() == 0:
        os.chown("a.wav", 1234, 5678)  # only root may give files away
    owner = Path("a.wav").stat().st_uid, Path("a.wav").stat().st_gid
    os.link("a.wav", "hard.wav")
    recording = Path("a.wav").read_bytes()
    Path("link.wav").symlink_to("a.wav")
    assert enhance("link.wav", "--in_place", "--exit", "1").exit_code == 0
    np.testing.assert_allclose(read_audio("a.wav").samples[:, 2000:-2000], 0.5 * before[:, 2000:-2000], atol=1e-3)
    found = Path("a.wav").stat()
    assert Path("link.wav").is_symlink() and found.st_mode & 0o777 == 0o640
    assert (found.st_uid, found.st_gid) == owner
    assert Path("hard.wav").read_bytes() == recording


def test_the_model_decides_what_runs_it(known_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_model(None, "cpu").path.name == "whole_file_int8.onnx"
    assert choose_model("mine.onnx", "cpu") == ModelChoice(Path("mine.onnx"))
    assert choose_model(str(known_bundle), "cpu") == ModelChoice(known_bundle)
    assert choose_model(None, "cuda:0") == ModelChoice(SHIPPED_BUNDLE, "cuda:0")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert choose_model(None, "cpu") == ModelChoice(SHIPPED_BUNDLE)


def test_the_shipped_model_needs_no_torch(folder: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from speechbrain_dynsnet.cli import main; main()"
    command = [sys.executable, "-c", code, "enhance", "a.wav", "b.flac", "-o", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_audio("out/b.flac").samples.shape == read_audio("b.flac").samples.shape
