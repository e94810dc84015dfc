"""What a file carries besides samples comes back byte for byte."""

from __future__ import annotations

import logging
import resource
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_dynsnet.audio.enhancement import enhance_file
from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.audio.metadata import metadata_of
from speechbrain_dynsnet.audio.settings import Settings
from speechbrain_dynsnet.errors import InputError
from tests.audio import rich
from tests.audio.masks import gain

LOSSLESS = [name for name, (_, subtype, _) in rich.KINDS.items() if subtype not in ("MPEG_LAYER_III", "VORBIS", "OPUS")]
NO_CHANGE = Settings(mix=0)


def enhance(source: Path, name: str = "out") -> Path:
    target = source.with_name(name + source.suffix)
    enhance_file(gain(1.0), source, target, NO_CHANGE)
    return target


def names_of_chunks(content: bytes) -> list[bytes]:
    """Those of RIFF, RF64 and FORM; each has to begin where the one before ended, and the last has to end the file."""
    header = ">4sI" if content.startswith(b"FORM") else "<4sI"
    names, place = [], 12
    while place < len(content):
        name, length = struct.unpack_from(header, content, place)
        if content.startswith(b"RF64") and name == b"data":
            length = struct.unpack_from("<Q", content, 28)[0]
        names.append(name)
        place += 8 + length + length % 2
    assert place == len(content)
    return names


@pytest.mark.parametrize("name", rich.KINDS)
def test_every_byte_of_it_is_there_once(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    carried = rich.make(source)
    content = enhance(source).read_bytes()
    if rich.KINDS[name][0] == "OGG":
        content = rich.unpaged(rich.pages(content))
    assert [content.count(part) for part in carried] == [1] * len(carried)
    assert soundfile.info(tmp_path / f"out{source.suffix}").frames == 30_001


@pytest.mark.parametrize("name", ["vorbis.ogg", "opus.ogg"])
def test_pages_are_numbered_and_their_checksums_right(name: str, tmp_path: Path) -> None:
    rich.make(source := tmp_path / name, frames=200_001)
    pages = rich.pages(enhance(source).read_bytes())
    assert len(pages) > 8  # of comments, setup and sound
    for number, page in enumerate(pages):
        assert page == rich.sealed(page, number)


@pytest.mark.parametrize("name", LOSSLESS)
def test_the_samples_stay_where_they_are(name: str, tmp_path: Path) -> None:
    rich.make(source := tmp_path / name)
    np.testing.assert_array_equal(read_audio(enhance(source)).samples, read_audio(source).samples)


@pytest.mark.parametrize("name", rich.KINDS)
def test_a_result_carries_as_much_to_the_next(name: str, tmp_path: Path) -> None:
    """What is written is found again, and texts are those that were there."""
    rich.make(source := tmp_path / name)
    first = enhance(source, "first")
    second = enhance(first, "second")
    assert read_audio(first).tags == read_audio(source).tags
    found = [metadata_of(path, *rich.KINDS[name][:2]) for path in (source, first, second)]
    assert [metadata.problem for metadata in found] == [""] * 3
    assert [metadata.size for metadata in found] == [found[0].size] * 3
    assert [part.length for part in found[1].parts] == [part.length for part in found[2].parts]


@pytest.mark.parametrize("name", [name for name in rich.KINDS if name.endswith(("wav", "aiff"))])
def test_chunks_are_whole_and_the_header_says_how_long_the_file_is(name: str, tmp_path: Path) -> None:
    rich.make(source := tmp_path / name)
    content = enhance(source).read_bytes()
    before, after = names_of_chunks(source.read_bytes()), names_of_chunks(content)
    assert sorted(before) == sorted(after)
    at, kind = (20, "<Q") if content.startswith(b"RF64") else (4, ">I" if name.endswith("aiff") else "<I")
    assert struct.unpack_from(kind, content, at)[0] == len(content) - 8


def test_the_beginning_of_a_recording_and_its_markers_stay_true(tmp_path: Path) -> None:
    rich.make(source := tmp_path / "pcm.wav")
    content = enhance(source).read_bytes()
    bext, cue = content.index(b"bext") + 8, content.index(b"cue ") + 8
    assert struct.unpack_from("<Q", content, bext + 338)[0] == 172_800_000  # samples since midnight: an hour
    assert struct.unpack_from("<I", content, cue + 4 + 20)[0] == 1000


def test_what_describes_the_old_samples_is_left_out(tmp_path: Path) -> None:
    content = rich.encode(tmp_path / "a.wav", "WAV", "PCM_16", 1000)
    for name in (b"PEAK", b"levl", b"MD5 ", b"JUNK"):
        content += name + struct.pack("<II", 24, 1) + bytes(20)
    (tmp_path / "a.wav").write_bytes(content)
    assert names_of_chunks(enhance(tmp_path / "a.wav").read_bytes()) == [b"fmt ", b"data"]


@pytest.mark.parametrize(
    ("name", "other"), [("pcm.wav", "out.flac"), ("a.flac", "out.wav"), ("vorbis.ogg", "out.opus")]
)
def test_another_kind_of_file_gets_the_texts(name: str, other: str, tmp_path: Path) -> None:
    rich.make(source := tmp_path / name)
    enhance_file(gain(1.0), source, tmp_path / other)
    assert read_audio(source).tags["title"] == read_audio(tmp_path / other).tags["title"]


def test_it_can_be_done_in_place(tmp_path: Path) -> None:
    carried = rich.make(source := tmp_path / "a.flac")
    samples = read_audio(source).samples
    enhance_file(gain(1.0), source, source, NO_CHANGE, in_place=True)
    assert all(part in source.read_bytes() for part in carried)
    np.testing.assert_array_equal(read_audio(source).samples, samples)
    assert list(tmp_path.iterdir()) == [source]


def test_the_bit_rate_is_that_of_the_sound_alone(tmp_path: Path) -> None:
    """A large picture in a short file is not sound."""
    rich.make(source := tmp_path / "a.mp3")
    assert enhance(source).stat().st_size == pytest.approx(source.stat().st_size, rel=0.1)


@pytest.mark.parametrize("name", ["pcm.wav", "pcm.aiff", "a.mp3", "pcm.caf"])
def test_a_damaged_end_is_left_out_and_said(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    carried = rich.make(source := tmp_path / name)
    content = bytearray(source.read_bytes())
    samples = read_audio(source).samples
    if name == "a.mp3":  # an APE tag that would begin before the file
        content[-128 - 20 : -128 - 16] = b"\xff\xff\xff\x7f"
    elif name == "pcm.caf":
        content += b"uuid" + struct.pack(">q", 2**40) + b"x"
    else:
        content += b"junk\xff\xff\xff\x0fx" if name == "pcm.wav" else b"APPL\x0f\xff\xff\xffx"
    source.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        target = enhance(source)
    assert [record.getMessage().partition(": not all")[0] for record in caplog.records] == [str(source)]
    assert carried[0] in target.read_bytes()
    assert read_audio(target).samples.shape == samples.shape


def test_a_wav_file_that_would_end_beyond_4_gb_goes_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rich.make(source := tmp_path / "pcm.wav")
    target = tmp_path / "huge.wav"
    with target.open("wb") as file:  # takes no room on the disk
        length = 2**32 - 1000
        file.write(b"RIFF" + struct.pack("<I", length + 36) + b"WAVEfmt \x10\0\0\0" + bytes(16) + b"data")
        file.write(struct.pack("<I", length))
        file.truncate(44 + length)
    metadata = metadata_of(source, "WAV", "PCM_16")
    with metadata.open() as opened, caplog.at_level(logging.WARNING):
        metadata.copy(opened, target)
    assert target.stat().st_size == 44 + length
    assert "larger than its kind can be" in caplog.text


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "pcm.wav"])
def test_memory_does_not_grow_with_the_file(name: str, tmp_path: Path) -> None:
    rich.make(source := tmp_path / name)
    target = tmp_path / "out"
    container, subtype, _ = rich.KINDS[name]
    rich.encode(target, container, subtype)
    with target.open("ab") as file:
        file.truncate(100_000_000)
    metadata = metadata_of(source, container, subtype)
    tracemalloc.start()
    with metadata.open() as opened:
        metadata.copy(opened, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert target.stat().st_size > (100_000_000 if name != "pcm.wav" else 0)


@pytest.mark.parametrize("name", ["pcm.wav", "a.flac", "a.mp3", "vorbis.ogg"])
def test_a_disk_that_fills_up_meanwhile_leaves_nothing(name: str, tmp_path: Path) -> None:
    rich.make(source := tmp_path / name)
    target = enhance(source)
    size = target.stat().st_size
    target.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, limits[1]))
    try:
        with pytest.raises(InputError, match="MB are free on the disk; make room"):
            enhance(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [source]


def test_a_source_that_somebody_cuts_meanwhile_is_an_error(tmp_path: Path) -> None:
    rich.make(source := tmp_path / "a.mp3")
    metadata = metadata_of(source, "MP3", "MPEG_LAYER_III")
    rich.encode(target := tmp_path / "target.mp3", "MP3", "MPEG_LAYER_III")
    source.write_bytes(source.read_bytes()[:1000])
    with metadata.open() as opened, pytest.raises(InputError, match="became shorter while it was read"):
        metadata.copy(opened, target)
