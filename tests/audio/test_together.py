"""Files that go through side by side come out as they do alone, and one that is bad takes no other along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_dynsnet.audio.enhancement import MaskModel, Settings, enhance_file
from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.audio.together import enhance_together
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime import Enhancer
from tests.audio.masks import REMEMBERING

Files = list[tuple[Path, Path]]


def record(folder: Path, rate: int, lengths: Sequence[int], subtype: str = "FLOAT", channels: int = 1) -> Files:
    """Noise of its own in each file; pairs of a source and a target."""
    files = []
    for number, length in enumerate(lengths):
        noise = np.random.default_rng(number).normal(0.0, 0.2, (channels, length)).clip(-1, 1).astype(np.float32)
        files.append((folder / f"{number}.wav", folder / f"out_{number}.wav"))
        write_audio(files[-1][0], Audio(noise, rate, "WAV", subtype))
    return files


def assert_as_alone(model: MaskModel, files: Files, settings: Settings, atol: float) -> None:
    facts = dict(enhance_together(model, files, settings))
    assert sorted(facts) == list(range(len(files)))
    for index, (source, target) in enumerate(files):
        alone = enhance_file(model, source, target.with_name("alone.wav"), settings)
        result, wanted = read_audio(target), read_audio(target.with_name("alone.wav"))
        np.testing.assert_allclose(result.samples, wanted.samples, rtol=0, atol=atol)
        assert (result.rate, result.format, result.subtype) == (wanted.rate, wanted.format, wanted.subtype)
        levels = ("peak_in", "peak_out", "rms_in", "rms_out")
        assert replace(facts[index], **dict.fromkeys(levels, 0)) == replace(alone, **dict.fromkeys(levels, 0))
        for name in levels:
            assert getattr(facts[index], name) == pytest.approx(getattr(alone, name), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000, 192000])
@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(channels="linked", high_band="drop"),
        Settings(channels="mono", high_band="keep", mix=0.7, attenuation_limit_db=6),
    ],
)
def test_each_is_as_alone_at_any_rate(tmp_path: Path, rate: int, settings: Settings) -> None:
    lengths = [3 * rate + 7, 1, 2 * rate, 2 * rate + 1, 256, rate, 3 * rate + 7]
    assert_as_alone(REMEMBERING, record(tmp_path, rate, lengths), settings, atol=2e-6)


@pytest.mark.parametrize(("rate", "atol"), [(16000, 0), (48000, 1e-6)])
def test_the_shipped_model_gives_the_same(tmp_path: Path, rate: int, atol: float) -> None:
    """To the bit, where nothing is resampled: scales of int8 are of a frame and a channel."""
    lengths = [2 * rate + 311, 5 * rate, 4 * rate - 1]
    assert_as_alone(Enhancer(), record(tmp_path, rate, lengths), Settings(), atol)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("fault", ["nan", "cut", "stereo", "rate", "no folder"])
def test_what_is_wrong_with_one_leaves_all_targets_that_were_not_done(tmp_path: Path, place: int, fault: str) -> None:
    files = record(tmp_path, 16000, [100_000] * 3)
    for _, target in files:
        target.write_bytes(b"before")
    source, target = files[place]
    audio = read_audio(source)
    if fault == "nan":
        audio.samples[0, 90_000] = np.nan
        soundfile.write(source, audio.samples.T, 16000, "FLOAT")
    elif fault == "cut":
        source.write_bytes(source.read_bytes()[:50_000])
    elif fault == "no folder":
        files[place] = source, tmp_path / "none" / "out.wav"
    else:
        write_audio(
            source, Audio(np.tile(audio.samples, (2, 1)), 16000) if fault == "stereo" else Audio(audio.samples, 8000)
        )
    with pytest.raises(InputError):
        list(enhance_together(REMEMBERING, files, Settings()))
    assert all(target.read_bytes() == b"before" for _, target in files if target.parent == tmp_path)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("share", [0.999, 0.9, 0.6])
def test_a_cut_file_within_one_block_is_refused_as_it_is_alone(tmp_path: Path, count: int, share: float) -> None:
    """Of MP3 only reading tells it: the header promises all, and what is missing would come out as silence."""
    files = [(tmp_path / f"{number}.mp3", tmp_path / f"out_{number}.mp3") for number in range(count)]
    noise = np.random.default_rng(0).normal(0.0, 0.1, 48_777)
    for source, target in files:
        soundfile.write(source, noise, 16000)
        target.write_bytes(b"before")
    source = files[0][0]
    source.write_bytes(source.read_bytes()[: int(share * source.stat().st_size)])
    with pytest.raises(InputError, match="cut short"):
        list(enhance_together(REMEMBERING, files, Settings()))
    with pytest.raises(InputError, match="cut short"):
        enhance_file(REMEMBERING, *files[0])
    assert all(target.read_bytes() == b"before" for _, target in files)


@pytest.mark.parametrize("lengths", [[0], [0, 0, 0], [0, 1000], [1000, 0]])
def test_files_without_samples_leave_nothing(tmp_path: Path, lengths: list[int]) -> None:
    files = record(tmp_path, 16000, lengths)
    with pytest.raises(InputError, match="holds no samples"):
        list(enhance_together(REMEMBERING, files, Settings()))
    assert not any(target.exists() for _, target in files)
    assert not list(tmp_path.glob(".*"))


def test_a_file_is_done_when_it_ends_and_a_later_fault_does_not_undo_it(tmp_path: Path) -> None:
    files = record(tmp_path, 16000, [40_000, 200_000, 200_000])
    together = enhance_together(REMEMBERING, files, Settings())
    index, facts = next(together)
    assert (index, facts.frames) == (0, 40_000)
    together.close()
    assert [target.exists() for _, target in files] == [True, False, False]
    assert not list(tmp_path.glob(".*"))


def test_files_of_very_different_lengths_do_not_go_together(tmp_path: Path) -> None:
    files = record(tmp_path, 8000, [8000 * 100, 8000, 8000, 8000])
    with pytest.raises(InputError, match="of about one length"):
        list(enhance_together(REMEMBERING, files, Settings()))
    assert not any(target.exists() for _, target in files)
