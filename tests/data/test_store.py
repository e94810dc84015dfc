"""Every readable file becomes 16 kHz mono that can be cut anywhere; every other one is named."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.files import Audio, write_audio
from speechbrain_dynsnet.data.manifest import Source
from speechbrain_dynsnet.data.store import open_tracks, read_segment
from speechbrain_dynsnet.data.tracks import Track
from speechbrain_dynsnet.errors import InputError

SECONDS = 1.0


def tone(rate_hz: int, channels: int = 1) -> NDArray[np.float32]:
    """440 Hz at level 0.4, and louder and softer in further channels, whose mean is 0.4 again."""
    wave = np.sin(2 * np.pi * 440 * np.arange(round(SECONDS * rate_hz)) / rate_hz)
    gains = np.linspace(0.2, 0.6, channels)[:, None] if channels > 1 else np.full((1, 1), 0.4)
    return (gains * wave).astype(np.float32)


def open_one(path: Path, group: str = "anna") -> Track:
    (track,) = open_tracks([Source(path, "clean", group)], path.parent / "decoded")
    return track


@pytest.mark.parametrize(
    ("name", "rate_hz", "channels", "subtype", "tolerance"),
    [
        ("a.wav", 16000, 1, "PCM_16", 1e-4),
        ("a.flac", 16000, 1, "PCM_24", 1e-4),
        ("a.wav", 16000, 1, "FLOAT", 1e-7),
        ("a.wav", 16000, 3, "PCM_16", 1e-4),
        ("a.wav", 44100, 2, "PCM_16", 1e-3),
        ("a.flac", 48000, 2, "PCM_24", 1e-3),
        ("a.wav", 8000, 1, "PCM_16", 1e-3),
        ("a.opus", 48000, 1, "OPUS", 0.05),
        ("a.ogg", 44100, 2, "VORBIS", 0.05),
        ("a.mp3", 44100, 1, "MPEG_LAYER_III", 0.05),
    ],
)
def test_any_file_becomes_16_khz_mono(
    tmp_path: Path, name: str, rate_hz: int, channels: int, subtype: str, tolerance: float
) -> None:
    write_audio(tmp_path / name, Audio(tone(rate_hz, channels), rate_hz, "WAV", subtype))
    track = open_one(tmp_path / name)
    assert (track.samples, track.group) == (16000, "anna")
    info = soundfile.info(track.path)
    assert (info.samplerate, info.channels, info.frames) == (16000, 1, 16000)
    inner = slice(500, -500)  # resampling rings at the cut ends of a tone
    np.testing.assert_allclose(read_segment(track.path, 0, 16000)[inner], tone(16000)[0, inner], atol=tolerance)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_what_can_be_cut_as_it_is_is_not_copied(tmp_path: Path, name: str) -> None:
    write_audio(tmp_path / name, Audio(tone(16000), 16000))
    assert open_one(tmp_path / name).path == str(tmp_path / name)
    assert not any((tmp_path / "decoded").iterdir())


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.opus"])
def test_a_segment_is_that_part_of_the_whole(tmp_path: Path, name: str) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 16000)).astype(np.float32)
    write_audio(tmp_path / name, Audio(noise, 16000))
    track = open_one(tmp_path / name)
    whole = read_segment(track.path, 0, track.samples)
    assert whole.dtype == np.float32
    for start, samples in ((0, 1), (1, 999), (12345, 3000), (15999, 1)):
        np.testing.assert_array_equal(read_segment(track.path, start, samples), whole[start : start + samples])


def test_quiet_float_recordings_keep_their_detail(tmp_path: Path) -> None:
    faint = 1e-5 * tone(48000)
    soundfile.write(tmp_path / "rir.wav", faint.T, 48000, subtype="FLOAT")
    track = open_one(tmp_path / "rir.wav")
    inner = slice(500, -500)
    np.testing.assert_allclose(read_segment(track.path, 0, 16000)[inner], 1e-5 * tone(16000)[0, inner], atol=1e-8)


def test_a_file_is_decoded_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, Audio(tone(44100), 44100))
    first = open_one(path)
    written = os.stat(first.path).st_mtime_ns
    assert open_one(path) == first
    assert os.stat(first.path).st_mtime_ns == written
    write_audio(path, Audio(0.5 * tone(44100), 44100))
    os.utime(path, ns=(1, 1))
    second = open_one(path)
    assert second.path != first.path
    assert np.abs(read_segment(second.path, 500, 15000)).max() == pytest.approx(0.2, abs=0.01)


def test_files_of_the_same_name_are_kept_apart(tmp_path: Path) -> None:
    for folder, gain in (("x", 1.0), ("y", 0.5)):
        (tmp_path / folder).mkdir()
        write_audio(tmp_path / folder / "a.wav", Audio(gain * tone(44100), 44100))
    sources = [Source(tmp_path / folder / "a.wav", "clean", folder) for folder in ("x", "y")]
    tracks = open_tracks(sources, tmp_path / "decoded")
    assert [track.group for track in tracks] == ["x", "y"]
    peaks = [np.abs(read_segment(track.path, 500, 15000)).max() for track in tracks]
    assert peaks == pytest.approx([0.4, 0.2], abs=0.01)


def make_bad(folder: Path) -> dict[str, Path]:
    paths = {name: folder / name for name in ("text.wav", "empty.wav", "none.wav", "raw.raw", "no_samples.wav")}
    paths["text.wav"].write_text("this is no audio\n" * 99)
    paths["empty.wav"].touch()
    paths["raw.raw"].write_bytes(bytes(999))
    soundfile.write(paths["no_samples.wav"], np.zeros((0, 1)), 16000)
    for name in ("cut.flac", "cut_44100.flac"):
        paths[name] = folder / name
        rate_hz = 44100 if "44100" in name else 16000
        noise = 0.1 * np.random.default_rng(0).standard_normal((1, 100_000)).astype(np.float32)
        write_audio(paths[name], Audio(noise, rate_hz))
        os.truncate(paths[name], paths[name].stat().st_size // 2)
    for value in (np.nan, np.inf):
        paths[f"{value}.wav"] = folder / f"{value}.wav"
        bad = tone(16000)[0]
        bad[7] = value
        soundfile.write(paths[f"{value}.wav"], bad, 16000, subtype="FLOAT")
    return paths


def test_unreadable_files_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = make_bad(tmp_path)
    good = [tmp_path / "good_1.wav", tmp_path / "good_2.flac"]
    for path in good:
        write_audio(path, Audio(tone(16000), 16000))
    order = [good[0], *bad.values(), good[1]]
    with caplog.at_level(logging.WARNING):
        tracks = open_tracks([Source(path, "noise", path.stem) for path in order], tmp_path / "decoded")
    assert [track.path for track in tracks] == [str(path) for path in good]
    (record,) = caplog.records
    assert f"{len(bad)} of {len(order)} audio files left out" in record.getMessage()
    assert all(str(path) in record.getMessage() for path in bad.values())


def test_not_one_readable_file_is_an_error(tmp_path: Path) -> None:
    bad = make_bad(tmp_path)
    with pytest.raises(InputError, match=f"none of {len(bad)} audio files can be read; the first: .*text.wav"):
        open_tracks([Source(path, "noise", "n") for path in bad.values()], tmp_path / "decoded")


def test_no_sources_are_no_tracks(tmp_path: Path) -> None:
    assert open_tracks([], tmp_path / "decoded") == []


def test_a_file_that_shrinks_while_in_use_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, Audio(tone(16000), 16000))
    track = open_one(path)
    write_audio(path, Audio(tone(16000)[:, :9000], 16000))
    with pytest.raises(InputError, match="a.wav: ends before the length"):
        read_segment(track.path, 8000, 2000)


def test_a_decoded_copy_that_a_power_cut_left_empty_is_made_again(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", Audio(tone(16000), 44100))
    source = Source(tmp_path / "a.wav", "clean", "anna")
    (first,) = open_tracks([source], tmp_path / "decoded")
    Path(first.path).write_bytes(b"")
    assert open_tracks([source], tmp_path / "decoded") == [first]
    assert read_segment(first.path, 0, first.samples).any()


def test_a_room_is_heard_by_one_microphone_and_a_voice_by_all(tmp_path: Path) -> None:
    taps = np.zeros((2, 4000), np.float32)
    taps[[0, 1], [100, 140]] = 0.8
    write_audio(tmp_path / "two.wav", Audio(taps, 16000))
    for kind, expected in (("impulse_responses", [0.8, 0.0]), ("clean", [0.4, 0.4])):
        (track,) = open_tracks([Source(tmp_path / "two.wav", kind, "x")], tmp_path / kind)
        np.testing.assert_allclose(read_segment(track.path, 0, 4000)[[100, 140]], expected, atol=1e-4)
