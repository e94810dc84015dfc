"""The trial set: whole or absent, the same every time, and worth training on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import stft

from speechbrain_dynsnet.data import trial
from speechbrain_dynsnet.data.trial import make_trial_set
from speechbrain_dynsnet.errors import InputError

SMALL: dict[str, Any] = {
    "speakers": 3,
    "clips_per_speaker": 2,
    "clip_s": 4.0,
    "noises": 8,
    "noise_s": 4.0,
    "impulse_responses": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trial_set(tmp_path_factory.mktemp("trial") / "set", **SMALL)


def read(path: Path) -> NDArray[np.float64]:
    rate, samples = wavfile.read(path)
    assert (rate, samples.dtype, samples.ndim) == (16000, np.int16, 1)
    return np.asarray(samples / 32768.0)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def syllabic_share(signal: NDArray[np.float64]) -> float:
    """The share of the envelope's modulation, 0.5 to 40 Hz, that lies where syllables are."""
    envelope = np.abs(signal)[: len(signal) // 160 * 160].reshape(-1, 160).mean(axis=1)
    power = np.abs(np.fft.rfft(envelope * np.hanning(envelope.size))) ** 2
    frequency_hz = np.fft.rfftfreq(envelope.size, 0.01)
    depth = power / (envelope.mean() * envelope.size) ** 2  # relative to the mean level
    return float(depth[(frequency_hz >= 2) & (frequency_hz <= 10)].sum())


def test_layout_is_that_of_dns_2020(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.txt",
        "clean",
        "impulse_responses",
        "noise",
    ]
    assert [path.name for path in sorted((folder / "clean").iterdir())] == [
        f"book_0000{speaker}_chp_0001_reader_0000{speaker}_{clip}.wav" for speaker in (1, 2, 3) for clip in (0, 1)
    ]
    assert len({path.stem[:-4] for path in (folder / "noise").iterdir()}) == 8  # of every kind one
    assert len(list((folder / "impulse_responses").iterdir())) == 3
    assert "not usable" in (folder / "README.txt").read_text()


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    assert content(make_trial_set(tmp_path / "again", **SMALL)) == content(folder)


def test_another_seed_gives_other_signals(folder: Path, tmp_path: Path) -> None:
    other = content(make_trial_set(tmp_path / "other", seed=1, **SMALL))
    assert other.keys() == content(folder).keys()
    assert all(other[name] != data for name, data in content(folder).items())


def test_a_file_does_not_depend_on_how_many_there_are(folder: Path, tmp_path: Path) -> None:
    fewer = content(make_trial_set(tmp_path / "fewer", **{**SMALL, "speakers": 1, "noises": 2}))
    whole = content(folder)
    assert all(whole[name] == data for name, data in fewer.items() if name != "README.txt")


def test_levels_are_sane_and_nothing_clips(folder: Path) -> None:
    for path in sorted(folder.rglob("*.wav")):
        signal = read(path)
        assert np.max(np.abs(signal)) <= trial.PEAK + 1e-4
        if path.parent.name != "impulse_responses":
            assert signal.size == 4 * 16000
            level_db = 10 * np.log10(np.mean(signal**2))
            assert -40 < level_db < -20, path.name


def test_speech_is_modulated_at_the_rate_of_syllables(folder: Path) -> None:
    speech = [syllabic_share(read(path)) for path in (folder / "clean").iterdir()]
    steady = [syllabic_share(read(next((folder / "noise").glob(f"{kind}_*.wav")))) for kind in ("white", "pink", "hum")]
    assert min(speech) > 5 * max(steady)


def test_speech_has_pauses_and_moving_formants(folder: Path) -> None:
    for path in (folder / "clean").iterdir():
        power = np.abs(stft(read(path), 16000, nperseg=512)[2]) ** 2
        level_db = 10 * np.log10(power.sum(axis=0) + 1e-12)
        quiet = np.mean(level_db < level_db.max() - 40)
        assert 0.03 < quiet < 0.6, path.name
        loud = power[:, level_db > level_db.max() - 25]
        centroid_hz = (np.arange(257) * 31.25) @ loud / loud.sum(axis=0)
        assert np.std(centroid_hz) > 150, path.name


def test_speakers_differ_in_pitch(folder: Path) -> None:
    """Each clip is nearer to its speaker's other clip than the speakers are spread."""

    def pitch_hz(path: Path) -> float:
        signal = read(path)
        frames = np.lib.stride_tricks.sliding_window_view(signal, 800)[::400]
        loud = frames[np.mean(frames**2, axis=1) > np.mean(signal**2)]
        correlation = np.fft.irfft(np.abs(np.fft.rfft(loud, 2048)) ** 2)[:, 53:230]
        return float(16000 / (53 + np.median(correlation.argmax(axis=1))))

    clips = sorted((folder / "clean").iterdir())
    pitches = np.log([[pitch_hz(clip) for clip in clips[i : i + 2]] for i in (0, 2, 4)])
    assert np.ptp(pitches.mean(axis=1)) > np.ptp(pitches, axis=1).mean()


def test_reverberation_decays_as_the_name_says(folder: Path) -> None:
    for path in sorted((folder / "impulse_responses").iterdir()):
        response = read(path)
        assert np.argmax(np.abs(response)) < 64  # the direct path is first, and strongest
        left_db = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] + 1e-12)
        tail_db = left_db - left_db[800]  # Schroeder's decay, past the early reflections
        reached = [np.flatnonzero(tail_db < -drop)[0] / 16000 for drop in (5, 25)]
        t60_s = 3 * (reached[1] - reached[0])
        assert t60_s == pytest.approx(float(path.stem.split("_")[-1].rstrip("s")), rel=0.15)


def test_a_complete_set_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_write", lambda *_: pytest.fail("written again"))
    assert make_trial_set(folder, **SMALL) == folder


def test_an_interrupted_set_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    def interrupt_the_fourth(*args: Any) -> None:
        nonlocal written
        written += 1
        if written == 4:
            raise KeyboardInterrupt
        write(*args)

    write = wavfile.write
    monkeypatch.setattr(wavfile, "write", interrupt_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        make_trial_set(tmp_path / "set", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_at_once_leave_one_set(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "set"

    def lose_the_race(*args: Any) -> None:
        write(*args)
        with monkeypatch.context() as patch:
            patch.setattr(trial, "_write", write)
            make_trial_set(target, **SMALL)

    write = trial._write
    monkeypatch.setattr(trial, "_write", lose_the_race)
    make_trial_set(target, **SMALL)
    assert content(target) == content(folder)
    assert list(tmp_path.iterdir()) == [target]


def test_anything_else_in_the_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="choose another folder"):
        make_trial_set(tmp_path, **SMALL)
    assert content(tmp_path) == {"mine.txt": b"mine"}


def test_a_set_of_another_seed_is_not_taken_for_this_one(folder: Path) -> None:
    with pytest.raises(InputError, match="choose another folder"):
        make_trial_set(folder, seed=1, **SMALL)
