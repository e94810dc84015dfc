"""Files keep all but the noise, appear whole or not at all, and need no more memory when they are longer."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from speechbrain_dynsnet.audio import file_pass, formats, unfinished
from speechbrain_dynsnet.audio.enhancement import Settings, enhance_audio, enhance_file
from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.audio.unfinished import remove_unfinished, unfinished_beside
from speechbrain_dynsnet.errors import InputError
from tests.audio.masks import REMEMBERING, gain

TAGS = {"title": "A title", "artist": "Some one", "comment": "x", "date": "2001"}


def noise(channels: int, frames: int, scale: float = 0.1) -> np.ndarray:
    return (scale * np.random.default_rng(0).standard_normal((channels, frames))).astype(np.float32)


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    write_audio(tmp_path / "noisy.wav", Audio(noise(2, 150_000), 48000, "WAV", "FLOAT"))
    return tmp_path / "noisy.wav"


@pytest.mark.parametrize(
    ("name", "rate", "container", "subtype"),
    [
        ("a.wav", 8000, "WAV", "PCM_16"),
        ("a.wav", 44100, "WAV", "PCM_U8"),
        ("a.wav", 48000, "WAVEX", "PCM_24"),
        ("a.wav", 96000, "RF64", "PCM_32"),
        ("a.wav", 384000, "WAV", "FLOAT"),
        ("a.wav", 16000, "WAV", "DOUBLE"),
        ("a.wav", 8000, "WAV", "ULAW"),
        ("a.flac", 44100, "FLAC", "PCM_16"),
        ("a.flac", 192000, "FLAC", "PCM_24"),
        ("a.ogg", 44100, "OGG", "VORBIS"),
        ("a.opus", 48000, "OGG", "OPUS"),
        ("a.mp3", 44100, "MP3", "MPEG_LAYER_III"),
        ("a.aiff", 48000, "AIFF", "PCM_16"),
        ("a.au", 16000, "AU", "PCM_16"),
        ("a.caf", 48000, "CAF", "ALAC_16"),
        ("a.w64", 48000, "W64", "PCM_24"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_comes_back_as_it_came(
    tmp_path: Path, name: str, rate: int, container: str, subtype: str, channels: int
) -> None:
    source, target = tmp_path / name, tmp_path / f"out{Path(name).suffix}"
    write_audio(source, Audio(noise(channels, 70_001), rate, container, subtype, TAGS))
    facts = enhance_file(gain(0.5), source, target)
    before, after = soundfile.info(source), soundfile.info(target)
    for fact in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(after, fact) == getattr(before, fact)
    assert (facts.rate, facts.channels, facts.frames, facts.format, facts.subtype) == (
        rate,
        channels,
        70_001,
        container,
        subtype,
    )
    assert read_audio(target).tags == read_audio(source).tags
    old, new = read_audio(source).samples, read_audio(target).samples
    correlation = np.fft.irfft(np.fft.rfft(new[0], 2**18) * np.fft.rfft(old[0], 2**18).conj())
    assert correlation.argmax() == 0
    assert abs(facts.rms_out / facts.rms_in - 0.5) < 1e-3


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", "PCM_16"), ("a.wav", "PCM_U8"), ("a.flac", "PCM_16"), ("a.wav", "ULAW")]
)
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_no_change_gives_the_same_samples(tmp_path: Path, name: str, subtype: str, rate: int) -> None:
    source, target = tmp_path / name, tmp_path / f"out_{name}"
    write_audio(source, Audio(noise(2, 30_001, 0.3), rate, subtype=subtype))  # some are clipped
    for settings in (Settings(mix=0), Settings(attenuation_limit_db=0)):
        enhance_file(gain(0.0), source, target, settings)
        np.testing.assert_array_equal(read_audio(target).samples, read_audio(source).samples)


@pytest.mark.parametrize("size", [2000, 2**19])
def test_a_file_and_its_samples_give_the_same(noisy: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = enhance_audio(REMEMBERING, read_audio(noisy)).samples
    monkeypatch.setattr(file_pass, "_BLOCK_SAMPLES", size)
    progress: list[int] = []
    facts = enhance_file(REMEMBERING, noisy, noisy.with_name("out.wav"), progress=progress.append)
    result = read_audio(noisy.with_name("out.wav")).samples
    np.testing.assert_allclose(result, wanted, atol=1e-5)
    assert progress == sorted(progress) and progress[-1] == facts.frames == 150_000
    assert len(progress) > 150_000 * 2 // size
    samples = read_audio(noisy).samples
    assert facts.seconds == 3.125
    np.testing.assert_allclose((facts.peak_in, facts.peak_out), (np.abs(samples).max(), np.abs(result).max()))
    np.testing.assert_allclose(facts.rms_out, np.sqrt(np.square(result.astype(np.float64)).mean()))


def test_integers_never_wrap_and_what_is_clipped_is_counted(tmp_path: Path) -> None:
    loud = noise(2, 9000, 2.0)
    write_audio(tmp_path / "loud.wav", Audio(loud, 48000, "WAV", "FLOAT"))
    facts = enhance_file(gain(1.0), tmp_path / "loud.wav", tmp_path / "out.flac")
    np.testing.assert_allclose(read_audio(tmp_path / "out.flac").samples, loud.clip(-1, 1), atol=1e-5)
    assert facts.clipped == (np.abs(loud) > 1).sum()


@pytest.mark.parametrize(("rate", "channels", "frames"), [(16000, 1, 1), (384_000, 1, 30_000), (48000, 32, 5000)])
def test_odd_files_work(tmp_path: Path, rate: int, channels: int, frames: int) -> None:
    audio = Audio(noise(channels, frames), rate, "WAV", "FLOAT")
    write_audio(tmp_path / "odd.wav", audio)
    enhance_file(gain(1.0), tmp_path / "odd.wav", tmp_path / "out.wav")
    np.testing.assert_allclose(read_audio(tmp_path / "out.wav").samples, audio.samples, atol=1e-5)


def test_any_name_works(tmp_path: Path) -> None:
    for name in ["a b.wav", "'\"\n.wav", "ä.wav", os.fsdecode(b"\xff\xfe.wav"), "x" * 251 + ".wav"]:
        write_audio(tmp_path / name, Audio(noise(1, 999), 48000))
        facts = enhance_file(gain(1.0), tmp_path / name, tmp_path / name, in_place=True)
        assert facts.frames == 999


@pytest.mark.parametrize("through", ["name", "link"])
def test_in_place_replaces_the_file_and_nothing_else(noisy: Path, through: str) -> None:
    noisy.chmod(0o600)
    before = read_audio(noisy).samples
    link = noisy.with_name("link.wav")
    link.symlink_to(noisy.name)
    path = noisy if through == "name" else link
    with pytest.raises(InputError, match="is the input itself"):
        enhance_file(gain(0.5), path, path)
    np.testing.assert_array_equal(read_audio(noisy).samples, before)
    enhance_file(gain(0.5), path, path, in_place=True)
    np.testing.assert_allclose(read_audio(noisy).samples, 0.5 * before, atol=1e-5)
    assert link.is_symlink() and not noisy.is_symlink()
    assert stat.S_IMODE(noisy.stat().st_mode) == 0o600
    assert sorted(path.name for path in noisy.parent.iterdir()) == ["link.wav", "noisy.wav"]


@pytest.mark.parametrize("in_place", [False, True])
def test_a_bad_sample_far_into_the_file_is_named_and_nothing_changes(tmp_path: Path, in_place: bool) -> None:
    samples = noise(2, 900_000)
    samples[1, 800_000] = np.nan
    soundfile.write(tmp_path / "bad.wav", samples.T, 16000, subtype="FLOAT")
    (tmp_path / "out.wav").write_bytes(b"old")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    target = tmp_path / ("bad.wav" if in_place else "out.wav")
    with pytest.raises(InputError, match=r"NaN or infinite, the first at 50.000 s \(frame 800000, channel 1\)"):
        enhance_file(gain(1.0), tmp_path / "bad.wav", target, in_place=in_place)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_cut_short_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "cut.mp3"
    write_audio(source, Audio(noise(1, 300_000), 16000))
    os.truncate(source, source.stat().st_size // 2)
    with pytest.raises(InputError, match="cut short"):
        enhance_file(gain(1.0), source, tmp_path / "out.wav")
    assert list(tmp_path.iterdir()) == [source]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what is written stops half way, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_disk_that_fills_up_leaves_all_as_it_was(noisy: Path, in_place: bool) -> None:
    target = noisy if in_place else noisy.with_name("out.wav")
    target.with_name("earlier.wav").write_bytes(b"earlier")
    before = {path: path.read_bytes() for path in noisy.parent.iterdir()}
    with files_of_at_most(600_000), pytest.raises(InputError, match="MB are free on the disk; make room"):
        enhance_file(gain(1.0), noisy, target, in_place=in_place)
    assert {path: path.read_bytes() for path in noisy.parent.iterdir()} == before


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3", "a.aiff", "a.au", "a.caf", "a.w64"])
def test_not_a_byte_may_be_lost(tmp_path: Path, name: str) -> None:
    """The encoders' last bytes go to the disk when the file is closed."""
    audio = Audio(noise(2, 100_000), 48000)
    write_audio(tmp_path / name, audio)
    size = (tmp_path / name).stat().st_size
    (tmp_path / name).unlink()
    for most in (10, size // 2, size - 1):
        with files_of_at_most(most), pytest.raises(InputError, match="MB are free on the disk; make room"):
            write_audio(tmp_path / name, audio)
        assert not list(tmp_path.iterdir())
    with files_of_at_most(size):
        write_audio(tmp_path / name, audio)


def test_an_interrupt_while_the_disk_is_written_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrives where no error can be raised."""

    class Interrupted(FileIO):
        def write(self, data: bytes) -> int:
            raise KeyboardInterrupt

    monkeypatch.setattr(unfinished, "FileIO", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_audio(tmp_path / "a.wav", Audio(noise(1, 9000), 48000))
    assert not list(tmp_path.iterdir())


def test_alac_is_refused_when_there_is_no_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="ALAC needs up to"):
        write_audio(tmp_path / "a.caf", Audio(noise(1, 251), 48000, "CAF", "ALAC_16"))
    write_audio(tmp_path / "a.caf", Audio(noise(1, 250), 48000, "CAF", "ALAC_16"))


def test_a_kill_leaves_no_half_file_and_the_rest_can_be_removed(noisy: Path) -> None:
    target = noisy.with_name("out.wav")
    code = (
        "import os, signal, sys\n"
        "from speechbrain_dynsnet.audio.enhancement import enhance_file\n"
        "from tests.audio.masks import gain\n"
        "stop = lambda frames: os.kill(os.getpid(), signal.SIGKILL)\n"
        "enhance_file(gain(1.0), sys.argv[1], sys.argv[2], progress=stop)\n"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code, noisy, target], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    assert len(list(noisy.parent.iterdir())) == 2  # the temporary one stayed
    assert remove_unfinished(noisy.parent) == 1
    assert list(noisy.parent.iterdir()) == [noisy]


def test_what_is_being_written_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / ".other.part").touch()
    with unfinished_beside(tmp_path / "a.wav") as (temporary, _):
        assert temporary.suffix not in formats.AUDIO_EXTENSIONS
        assert remove_unfinished(tmp_path) == 0
        assert temporary.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".other.part"]


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    peaks = []
    for seconds in (20, 100):
        write_audio(tmp_path / "in.wav", Audio(noise(2, seconds * 24000), 24000))
        tracemalloc.start()
        enhance_file(REMEMBERING, tmp_path / "in.wav", tmp_path / "out.wav")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 60e6


@pytest.mark.parametrize(
    ("name", "container", "outcome"),
    [("a.wav", "WAV", "RF64"), ("a.wav", "WAVEX", "RF64"), ("a.w64", "W64", "W64"), ("a.flac", "WAV", "FLAC")],
)
def test_a_container_that_would_be_too_small_gives_way(
    tmp_path: Path, name: str, container: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_MOST_BYTES", 4 * 9000 - 1)
    write_audio(tmp_path / name, Audio(noise(2, 9000), 48000, container))
    back = read_audio(tmp_path / name)
    assert (back.format, back.samples.shape) == (outcome, (2, 9000))


@pytest.mark.parametrize("name", ["a.aiff", "a.au"])
def test_a_container_that_cannot_hold_so_much_is_named(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_MOST_BYTES", 4 * 9000 - 1)
    with pytest.raises(InputError, match="ends at 4 GB"):
        write_audio(tmp_path / name, Audio(noise(2, 9000), 48000))
    assert not list(tmp_path.iterdir())


def test_tags_that_a_container_would_garble_are_left_out(tmp_path: Path) -> None:
    tags = {"title": "Ünïcode", "artist": "plain"}
    for name, kept in [("a.flac", tags), ("a.mp3", {"artist": "plain"}), ("a.w64", {})]:
        write_audio(tmp_path / name, Audio(noise(1, 9000), 44100, tags=tags))
        read = read_audio(tmp_path / name).tags
        assert {name: read[name] for name in tags if name in read} == kept
