"""A file that is cut short is refused; one that does not say how long it is, or carries more than samples, is read."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.errors import InputError
from tests.audio import rich

FRAMES = 30_001
KINDS = {
    **{name: kind[:2] for name, kind in rich.KINDS.items()},
    "pcm.w64": ("W64", "PCM_24"),
    "float.w64": ("W64", "FLOAT"),
    "pcm.au": ("AU", "PCM_16"),
}


def write(path: Path) -> bytes:
    return rich.encode(path, *KINDS[path.name], FRAMES)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("cut", [1500, 0.2, 0.5, 0.9])
def test_a_file_that_is_cut_is_refused(name: str, cut: float, tmp_path: Path) -> None:
    path = tmp_path / name
    content = write(path)
    path.write_bytes(content[: len(content) - int(cut if cut > 1 else cut * len(content))])
    with pytest.raises(InputError, match="cut short|damaged") as caught:
        read_audio(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["pcm.wav", "float.wav", "large.wav", "pcm.aiff", "pcm.au", "pcm.w64", "vorbis.ogg"])
def test_a_byte_is_missed_and_counted(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    content = write(path)
    path.write_bytes(content[:-3])  # two may be there to make its length even
    with pytest.raises(InputError, match="is cut short, [0-9,]+ of [0-9,]+ bytes of .* are there"):
        read_audio(path)


# Where a file says how long its samples are, and what programs write there that do not know it.
STREAMS = [
    ("pcm.wav", b"data", 4, "<I", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000, 0x7FFF_F000, 0xFFFF_FFDB]),
    ("float.wav", b"data", 4, "<I", [0xFFFF_FFFF]),
    ("pcm.aiff", b"SSND", 4, ">I", [0xFFFF_FFFF, 0x7F00_0008]),
    ("pcm.au", b".snd", 8, ">I", [0xFFFF_FFFF]),
    ("pcm.w64", b"data", 16, "<Q", [2**63 - 1]),
]


@pytest.mark.parametrize(
    ("name", "chunk", "behind", "kind", "length"),
    [(*facts, length) for *facts, lengths in STREAMS for length in lengths],
)
def test_a_stream_of_unknown_length_is_read(
    name: str, chunk: bytes, behind: int, kind: str, length: int, tmp_path: Path
) -> None:
    path = tmp_path / name
    content = bytearray(write(path))
    samples = read_audio(path).samples
    struct.pack_into(kind, content, content.index(chunk) + behind, length)
    path.write_bytes(content)
    with soundfile.SoundFile(path) as file:  # what there is to read: libsndfile goes on to the end
        wanted = file.read(dtype="float32", always_2d=True).T
    read = read_audio(path).samples
    np.testing.assert_array_equal(read, wanted)
    np.testing.assert_array_equal(read[:, :FRAMES], samples)


def test_a_recording_of_a_stream_without_a_marked_end_is_read(tmp_path: Path) -> None:
    write(path := tmp_path / "vorbis.ogg")
    pages = rich.pages(path.read_bytes())
    pages[-1] = rich.sealed(pages[-1][:5] + b"\0" + pages[-1][6:], len(pages) - 1)
    path.write_bytes(b"".join(pages))
    assert read_audio(path).samples.shape[1] == FRAMES


def test_what_is_behind_the_samples_is_not_heard(tmp_path: Path) -> None:
    """In W64, libsndfile takes it for samples."""
    content = write(path := tmp_path / "pcm.w64")
    samples = read_audio(path).samples
    guid = b"bext" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
    chunk = guid + struct.pack("<Q", 24 + len(rich.BEXT)) + rich.BEXT
    path.write_bytes(content + bytes(-len(content) % 8) + chunk)
    np.testing.assert_array_equal(read_audio(path).samples, samples)


@pytest.mark.parametrize("filler", [b"\0", b"x", b"abcd\0\0\0\0", b"data\0\0\0\0"])
def test_a_header_of_many_nothings_takes_no_time(filler: bytes, tmp_path: Path) -> None:
    """It would be walked for hours."""
    content = write(path := tmp_path / "pcm.wav")
    path.write_bytes(content[:36] + filler * (4_000_000 // len(filler)) + content[36:])
    try:
        read_audio(path)
    except InputError as error:
        assert str(path) in str(error)
