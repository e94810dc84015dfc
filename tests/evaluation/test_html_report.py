"""A report shows what was done, plays it, survives any name, and appears whole or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speechbrain_dynsnet.audio.enhancement import MaskStream, Settings
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation import html_report
from speechbrain_dynsnet.evaluation.excerpt_scores import score_excerpts
from speechbrain_dynsnet.evaluation.html_report import ReportedFile, masks_of_model, write_report
from speechbrain_dynsnet.evaluation.metrics import dnsmos_scores
from tests.evaluation.reported import Array, Page, make_file, noise

HALF = 32  # of 64 shades, for a gain of 0.5
ONE_PIECE_S = 4.56  # the shortest that DNSMOS hears in one piece, and so the quickest to score


class KnownModel:
    """Its mask is the number of the channel, from 1, over 10; it notes how many channels it was asked for."""

    exits = (1, 5)

    def __init__(self) -> None:
        self.started: list[tuple[int, int]] = []

    def check_exit(self, exit: int | None) -> int:
        return 5 if exit is None else exit

    def start(self, channels: int, exit: int) -> MaskStream:
        self.started.append((channels, exit))
        gains = (1 + np.arange(channels, dtype=np.float32))[:, None] / 10
        return lambda features: np.broadcast_to(gains, features.shape)


def write(path: Path, *files: ReportedFile, **choices: Any) -> Page:
    write_report(files, path, **{"model_name": "known", "settings": Settings(), **choices})
    return Page(path)


def test_the_table_has_the_facts_of_each_file(tmp_path: Path) -> None:
    files = [
        make_file(tmp_path, "a.wav", noise(2), gain=0.1),
        replace(make_file(tmp_path, "b.wav", noise(70, 8000, 2), 8000), took_s=None),
    ]
    page = write(tmp_path / "page.html", *files, settings=Settings(1, 12.0, 0.9, "keep", "each"), model_name="<m>")
    assert "a.wav 2 s 16,000 1 WAV FLOAT −26.0 −46.0 −20.0" in page.text
    assert "b.wav 1:10 8,000 2 WAV FLOAT" in page.text
    assert "All 1:12 0 10" in page.text  # seconds, clipped samples, and times real time of what was timed
    assert f"Folder {tmp_path}/noisy Model <m> Exit 5 Attenuation limit 12 dB" in page.text
    assert "Mix 90 % enhanced Above 8 kHz keep: as it was Channels each" in page.text
    assert [name for name, _ in page.elements].count("section") == 2
    assert len(page.all("audio", "src")) == 4
    assert len(page.all("img", "src")) == 6
    assert all(page.all("img", "alt")) and all(page.all("audio", "aria-label"))


def test_nothing_in_the_page_is_elsewhere(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", make_file(tmp_path, "a.wav", noise(1)))
    sources = [
        *page.all("img", "src"),
        *page.all("audio", "src"),
        *page.all("link", "href"),
        *page.all("script", "src"),
    ]
    assert all(source.startswith("data:") for source in sources)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {target.removeprefix("#") for target in page.all("a", "href")} <= set(ids)
    assert "http" not in (tmp_path / "page.html").read_text().replace("http-equiv", "")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)<_script>.wav", "<script>alert(1)<_script>.wav"),
        ("\"><img src=x onerror='alert(1)'>.wav", "\"><img src=x onerror='alert(1)'>.wav"),
        ("two\nlines\r\t.wav", "two\\nlines\\r\\t.wav"),
        ("&lt; {{ 7 * 7 }} {% raw %}.wav", "&lt; {{ 7 * 7 }} {% raw %}.wav"),
        (os.fsdecode(b"bytes \xff\xfe.wav"), "bytes \\xff\\xfe.wav"),
        ("right-to-left \u202e gpj.wav", "right-to-left \\u202e gpj.wav"),
        ("日本語 é.wav", "日本語 é.wav"),
    ],
)
def test_any_name_is_text(name: str, shown: str, tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", make_file(tmp_path, name, noise(1)))
    assert page.texts.count(shown) == 2  # in the table, and above the pictures
    assert f"{tmp_path / 'noisy' / shown} → {tmp_path / 'enhanced' / shown}" in page.texts
    assert page.all("audio", "aria-label") == [f"Before: {shown}", f"After: {shown}"]
    names = [tag for tag, _ in page.elements]
    assert (names.count("script"), names.count("img")) == (1, 3)
    assert not any(attribute.startswith("on") for _, attributes in page.elements for attribute in attributes)


def test_players_hold_the_samples(tmp_path: Path) -> None:
    samples = noise(2, 44100, 2)
    page = write(tmp_path / "page.html", make_file(tmp_path, "a.wav", samples, 44100, gain=0.25))
    (before, rate), (after, _) = page.players()
    assert rate == 44100
    np.testing.assert_allclose(before, samples, atol=2**-15)
    np.testing.assert_allclose(after, 0.25 * samples, atol=2**-15)


def test_of_a_long_file_the_beginning_is_played_and_the_length_told(tmp_path: Path) -> None:
    samples = noise(31.5, 8000)
    page = write(tmp_path / "page.html", make_file(tmp_path, "a.wav", samples, 8000))
    assert [len(played) for played, _ in page.players()] == [30 * 8000] * 2
    assert "31.5 s, 8,000 Hz, 1 channel" in page.text
    assert "Shown and played: the first 30 s of 31.5 s." in page.text


def test_players_get_what_browsers_play(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", make_file(tmp_path, "a.wav", noise(1, 192000, 12), 192000))
    assert [(played.shape, rate) for played, rate in page.players()] == [((48000, 2), 48000)] * 2
    assert "Players: the first 2 channels. Pictures and players: resampled to 48,000 Hz." in page.text


@pytest.mark.parametrize("peak", [4.0, 2.0**31])
def test_samples_beyond_full_scale_are_played_lower_before_and_after(peak: float, tmp_path: Path) -> None:
    samples = noise(1)
    samples *= peak / np.abs(samples).max()
    page = write(tmp_path / "page.html", make_file(tmp_path, "a.wav", samples, gain=0.5))
    (before, _), (after, _) = page.players()
    np.testing.assert_allclose(before, samples / peak, atol=2**-14)
    np.testing.assert_allclose(after, 0.5 * samples / peak, atol=2**-14)
    assert f"Players: both −{20 * np.log10(peak):.1f} dB" in page.text


def test_one_sample_and_silence_have_a_place(tmp_path: Path) -> None:
    files = [make_file(tmp_path, "one.wav", noise(1)[:1]), make_file(tmp_path, "silence.wav", 0 * noise(1))]
    page = write(tmp_path / "page.html", *files, masks=masks_of_model(KnownModel(), Settings()))
    assert [len(played) for played, _ in page.players()] == [1, 1, 16000, 16000]
    assert "silence.wav 1 s 16,000 1 WAV FLOAT −∞ −∞ –" in page.text
    silent = page.pictures()[3]
    assert not silent.any()


@pytest.mark.parametrize(
    ("channels", "settings", "started", "shade"),
    [
        (1, Settings(), (1, 5), 0.1),
        (1, Settings(exit=1), (1, 1), 0.1),
        (1, Settings(attenuation_limit_db=6.0), (1, 5), 0.5),
        (2, Settings(), (2, 5), 0.2),
        (2, Settings(channels="mono"), (1, 5), 0.1),
        (4, Settings(), (4, 5), 0.3),
    ],
)
def test_the_mask_is_that_of_the_loudest_channel(
    channels: int, settings: Settings, started: tuple[int, int], shade: float, tmp_path: Path
) -> None:
    samples = noise(1, 16000, channels)
    samples[:, 2 if channels > 2 else 0] *= 2  # the first of two: its own mask would be 0.1
    model = KnownModel()
    page = write(tmp_path / "page.html", make_file(tmp_path, "a.wav", samples), masks=masks_of_model(model, settings))
    assert model.started == [started]
    _, mask, _ = page.pictures()
    assert mask.shape[0] == 257
    np.testing.assert_array_equal(mask, round(63 * shade))


def test_without_a_model_the_gain_is_shown(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", make_file(tmp_path, "a.wav", noise(1), gain=0.5))
    np.testing.assert_array_equal(page.pictures()[1], HALF)
    assert "Gain: ratio of the spectra" in page.text


def test_before_and_after_are_drawn_on_one_scale(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", make_file(tmp_path, "a.wav", noise(1), gain=0.1))
    before, _, after = (picture.astype(float) for picture in page.pictures())
    assert before.max() == 63
    seen = after > 0
    assert seen.mean() > 0.9
    np.testing.assert_allclose((before - after)[seen], 20 / 80 * 63, atol=1.01)  # 20 dB of the 80


def test_dnsmos_is_that_of_the_signals(tmp_path: Path) -> None:
    tones = 0.1 * np.sin(np.arange(int(ONE_PIECE_S * 16000), dtype=np.float32) ** 1.2)[:, None]
    files = [make_file(tmp_path, "a.wav", tones, gain=0.2), make_file(tmp_path, "b.wav", 0 * tones)]
    page = write(tmp_path / "page.html", *files, dnsmos=True)
    (p808, sig, bak, ovrl), (p808_after, *_, ovrl_after) = (
        dnsmos_scores(gain * tones[:, 0]) for gain in (np.float32(1.0), np.float32(0.2))
    )
    in_table = f"{p808:.2f} {p808_after:.2f} {ovrl:.2f} {ovrl_after:.2f}"
    assert f"10 {in_table}" in page.text
    assert f"All; DNSMOS: means 9.12 s 0 10 {in_table}" in page.text  # of the one that has scores
    assert f"Before {p808:.2f} {sig:.2f} {bak:.2f} {ovrl:.2f}" in page.text
    assert "DNSMOS P.808 DNSMOS P.835 SIG DNSMOS P.835 BAK DNSMOS P.835 OVRL" in page.text
    assert "Not scored: the estimate is silent" in page.text


def test_dnsmos_does_not_depend_on_the_number_of_jobs(tmp_path: Path) -> None:
    files = [make_file(tmp_path, f"{seed}.wav", noise(ONE_PIECE_S, seed=seed)) for seed in range(2)]
    pairs = [(file.noisy, file.enhanced, file.facts) for file in files]
    one = score_excerpts(pairs)
    assert one == score_excerpts(pairs, jobs=2)
    assert one[0] != one[1]


def test_a_file_that_is_gone_or_changed_does_not_stop_the_page(tmp_path: Path) -> None:
    files = [make_file(tmp_path, f"{name}.wav", noise(ONE_PIECE_S)) for name in "abc"]
    files[0].noisy.unlink()
    make_file(tmp_path, "b.wav", noise(2))
    files[1].noisy.write_bytes((tmp_path / "noisy" / "c.wav").read_bytes())
    page = write(tmp_path / "page.html", *files, dnsmos=True)
    assert f"Cannot be shown: {files[0].noisy}: no such file" in page.text
    assert f"Cannot be shown: {files[1].enhanced}: has changed since it was enhanced" in page.text
    assert len(page.all("audio", "src")) == 2
    assert page.text.count("Not scored:") == 2


def test_a_large_page_has_the_last_files_in_the_table_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [make_file(tmp_path, f"{number}.wav", noise(1)) for number in range(4)]
    write(tmp_path / "one.html", files[0])
    size = (tmp_path / "one.html").stat().st_size
    monkeypatch.setattr(html_report, "PAGE_BYTES", 2 * size)
    page = write(tmp_path / "page.html", *files)
    assert len(page.all("audio", "src")) == 4
    assert page.all("a", "href") == ["#file-1", "#file-2"]
    assert page.texts.count("3.wav") == 1
    assert "The first 2 files have pictures and players" in page.text


def test_an_error_leaves_the_old_page(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def fail(clip: Array, rate: int) -> Array:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        write(path, make_file(tmp_path, "a.wav", noise(1)), masks=fail)
    assert path.read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["enhanced", "noisy", "page.html"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_file(tmp_path, "a.wav", noise(1))
    opened = Path.open

    def open_full(path: Path, *args: Any, **kwargs: Any) -> Any:
        return opened(path if path.suffix != ".html" else Path("/dev/full"), *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(InputError, match=r"page\.html: cannot be written \(No space left on device\)"):
        write_report([file], tmp_path / "page.html", model_name="known", settings=Settings())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["enhanced", "noisy"]


@pytest.mark.parametrize(
    ("name", "message"), [("page.txt", r"ends in \.html"), ("no/page.html", "does not exist"), (".html", r"in \.html")]
)
def test_a_page_that_cannot_be_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        write(tmp_path / name, make_file(tmp_path, "a.wav", noise(1)))


def test_no_files_are_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no files were enhanced"):
        write(tmp_path / "page.html")
