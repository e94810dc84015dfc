"""Files come back as they were written, and bad ones are named before anything is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_dynsnet.audio.files import Audio, check_output, read_audio, write_audio
from speechbrain_dynsnet.errors import InputError


def noise(channels: int = 1, frames: int = 12347) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal((channels, frames))).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("name", "subtype", "step"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "FLOAT", 1e-9),
        ("a.flac", "PCM_16", 2**-15),
        ("a.aiff", "PCM_16", 2**-15),
        ("A.WAV", "PCM_U8", 2**-7),
    ],
)
def test_lossless_files_come_back(
    tmp_path: Path, name: str, subtype: str, step: float, channels: int, rate: int
) -> None:
    audio = Audio(noise(channels), rate, "WAV", subtype)
    write_audio(tmp_path / name, audio)
    back = read_audio(tmp_path / name)
    assert (back.rate, back.subtype) == (rate, subtype)
    assert back.samples.dtype == np.float32
    np.testing.assert_allclose(back.samples, audio.samples, atol=step)
    assert back.samples.flags.c_contiguous


@pytest.mark.parametrize("frames", [1, 511, 65536, 131073])
@pytest.mark.parametrize(
    ("name", "rate", "subtype"),
    [
        ("a.ogg", 44100, "VORBIS"),
        ("a.opus", 48000, "OPUS"),
        ("a.opus", 8000, "OPUS"),
        ("a.mp3", 44100, "MPEG_LAYER_III"),
    ],
)
def test_lossy_files_keep_rate_channels_and_length(
    tmp_path: Path, name: str, rate: int, subtype: str, frames: int
) -> None:
    write_audio(tmp_path / name, Audio(noise(2, frames), rate))
    back = read_audio(tmp_path / name)
    assert (back.rate, back.samples.shape, back.subtype) == (rate, (2, frames), subtype)


@pytest.mark.parametrize(
    ("name", "container", "subtype", "written"),
    [
        ("a.wav", "WAV", "IMA_ADPCM", "PCM_16"),  # would round the length up to a block
        ("a.wav", "OGG", "OPUS", "PCM_16"),
        ("a.ogg", "OGG", "OPUS", "OPUS"),
        ("a.ogg", "WAV", "PCM_16", "VORBIS"),
        ("a.flac", "WAV", "FLOAT", "PCM_24"),
        ("a.wav", "MP3", "MPEG_LAYER_III", "PCM_16"),
        ("a.flac", "WAV", "PCM_U8", "PCM_16"),
        ("a.aiff", "WAV", "ULAW", "PCM_16"),  # AIFF pads odd byte counts
        ("a.wav", "WAV", "ULAW", "ULAW"),
    ],
)
def test_encoding_is_kept_or_near(tmp_path: Path, name: str, container: str, subtype: str, written: str) -> None:
    write_audio(tmp_path / name, Audio(noise(), 48000, container, subtype))
    info = soundfile.info(tmp_path / name)
    assert (info.subtype, info.frames) == (written, 12347)


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
def test_the_kind_of_wav_is_kept(tmp_path: Path, container: str) -> None:
    write_audio(tmp_path / "a.wav", Audio(noise(), 48000, container))
    assert read_audio(tmp_path / "a.wav").format == container


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_a_part_equals_that_part_of_the_whole(tmp_path: Path, name: str) -> None:
    write_audio(tmp_path / name, Audio(noise(2), 16000))
    whole = read_audio(tmp_path / name).samples
    np.testing.assert_array_equal(read_audio(tmp_path / name, 1000, 500).samples, whole[:, 1000:1500])
    np.testing.assert_array_equal(read_audio(tmp_path / name, 12000).samples, whole[:, 12000:])
    assert read_audio(tmp_path / name, 12000, 9999).samples.shape == (2, 347)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"])
def test_beyond_full_scale_clips_and_never_wraps(tmp_path: Path, subtype: str) -> None:
    loud = np.array([[1.7, -1.7, 1.0, -1.0, 0.5, 40.0]], dtype=np.float32)
    write_audio(tmp_path / "a.wav", Audio(loud, 16000, "WAV", subtype))
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav").samples, loud.clip(-1, 1), atol=0.03)


def test_float_files_keep_what_is_beyond_full_scale(tmp_path: Path) -> None:
    loud = np.array([[1.7, -40.0]], dtype=np.float32)
    write_audio(tmp_path / "a.wav", Audio(loud, 16000, "WAV", "FLOAT"))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").samples, loud)


def _missing(folder: Path) -> Path:
    return folder / "none.wav"


def _directory(folder: Path) -> Path:
    return folder


def _empty(folder: Path) -> Path:
    (folder / "bad.wav").touch()
    return folder / "bad.wav"


def _text(folder: Path) -> Path:
    (folder / "bad.wav").write_text("this is no audio\n" * 99)
    return folder / "bad.wav"


def _raw(folder: Path) -> Path:
    (folder / "bad.raw").write_bytes(bytes(999))
    return folder / "bad.raw"


def _no_frames(folder: Path) -> Path:
    soundfile.write(folder / "bad.wav", np.zeros((0, 1)), 16000)
    return folder / "bad.wav"


def _cut(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_audio(folder / name, Audio(noise(1, 150000), 16000))
        os.truncate(folder / name, (folder / name).stat().st_size // 2)
        return folder / name

    return make


def _with_sample(value: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        samples = noise(2)
        samples[1, 4000] = samples[0, 5000] = value
        soundfile.write(folder / "bad.wav", samples.T, 16000, subtype="FLOAT")
        return folder / "bad.wav"

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_missing, "no such file"),
        (_directory, "is a folder"),
        (_empty, "is empty"),
        (_text, "not audio"),
        (_raw, "raw samples"),
        (_no_frames, "holds no samples"),
        (_cut("bad.flac"), "damaged"),
        (_cut("bad.mp3"), "cut short"),
        (
            _with_sample(np.nan),
            r"holds samples that are NaN .* at 0.250 s \(frame 4000, channel 1\)",
        ),
        (_with_sample(np.inf), "holds samples that are NaN or infinite"),
        (_with_sample(1e30), "holds samples that are absurdly large"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_position_of_a_bad_sample_counts_from_the_start_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frame 4000"):
        read_audio(_with_sample(np.nan)(tmp_path), start=3000, frames=1500)


@pytest.mark.parametrize("start", [-1, 12348])
def test_a_start_outside_the_file_is_named(tmp_path: Path, start: int) -> None:
    write_audio(tmp_path / "a.wav", Audio(noise(), 16000))
    with pytest.raises(InputError, match="cannot start at"):
        read_audio(tmp_path / "a.wav", start=start)


@pytest.mark.parametrize(
    ("name", "audio", "message"),
    [
        ("a.txt", Audio(noise(), 16000), r"cannot write \.txt"),
        ("a", Audio(noise(), 16000), "without an extension"),
        ("none/a.wav", Audio(noise(), 16000), "does not exist"),
        ("file/a.wav", Audio(noise(), 16000), "does not exist"),
        ("folder.wav", Audio(noise(), 16000), "is a folder"),
        ("a.opus", Audio(noise(), 44100), "cannot be written as OGG/OPUS"),
        ("a.mp3", Audio(noise(7), 16000), "7 channel"),
        ("a.wav", Audio(np.full((1, 9), np.nan, dtype=np.float32), 16000), "NaN"),
    ],
)
def test_bad_output_is_named_and_leaves_nothing(tmp_path: Path, name: str, audio: Audio, message: str) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=message) as caught:
        write_audio(tmp_path / name, audio)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.wav"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="not writable"):
        write_audio(tmp_path / "a.wav", Audio(noise(), 16000))


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (OSError(28, "No space left on device"), InputError),
        (soundfile.LibsndfileError(2), InputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    raised: type[BaseException],
) -> None:
    (tmp_path / "a.wav").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(soundfile.SoundFile, "write", fail)
    with pytest.raises(raised):
        write_audio(tmp_path / "a.wav", Audio(noise(), 16000))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == b"old"


def test_the_input_is_not_an_output(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", Audio(noise(), 16000))
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    for output in ("a.wav", "link.wav"):
        with pytest.raises(InputError, match="is the input itself"):
            check_output(tmp_path / output, source=tmp_path / "a.wav")
    check_output(tmp_path / "b.wav", source=tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("name", "subtype", "bits"),
    [("a.wav", "PCM_U8", 8), ("a.wav", "PCM_16", 16), ("a.wav", "PCM_24", 24), ("a.flac", "PCM_16", 16)],
)
def test_integers_are_rounded_to_the_nearest_step(tmp_path: Path, name: str, subtype: str, bits: int) -> None:
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (1, 20000)).astype(np.float32)
    samples[0, :3] = (1.0, -1.0, 2.0)
    write_audio(tmp_path / name, Audio(samples, 16000, subtype=subtype))
    step = 2.0 ** (1 - bits)
    written = read_audio(tmp_path / name).samples[0]
    error = (written - samples[0]).astype(np.float64)[3:] / step
    assert np.abs(error).max() <= 0.5 + 2.0 ** (bits - 24)  # float32 itself has 24 bits
    assert abs(error.mean()) < 0.02
    np.testing.assert_allclose(written[:3], (1 - step, -1, 1 - step), atol=1e-9)
