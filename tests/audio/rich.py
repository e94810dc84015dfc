"""Files that carry all that their kind can: hand-made bytes around samples that libsndfile encoded."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile

RANDOM = np.random.default_rng(1).bytes(200_000)
PICTURE = b"\x89PNG" + RANDOM
TEXT = "Ünïcode – 録音"
BEXT = (
    b"A scene".ljust(256, b"\0") + b"Recorder".ljust(64, b"\0") + b"2024-05-0112:00:00" + struct.pack("<Q", 172_800_000)
)
BEXT += b"\1\0" + RANDOM[:64] + struct.pack("<5h", -2300, 700, -100, -1500, -1800) + bytes(180) + b"A=PCM,F=48000 \r\n"
CUE = struct.pack("<I", 1) + struct.pack("<II4sIII", 7, 1000, b"data", 0, 0, 1000)

WAV_CHUNKS = {
    b"bext": BEXT,
    b"iXML": f"<BWFXML><NOTE>{TEXT}</NOTE></BWFXML>".encode() + b" ",  # an odd number of bytes
    b"cue ": CUE,
    b"smpl": struct.pack("<9I", 0, 0, 20833, 60, 0, 0, 0, 0, 0),
    b"acid": RANDOM[100:124],
    b"id3 ": b"ID3\3\0\0\0\0\1\0" + RANDOM[200:328],
    b"LIST": b"adtllabl" + struct.pack("<II", 11, 7) + b"Marker\0\0",
}
INFO = b"INFO" + b"INAM" + struct.pack("<I", 8) + "Tïtle".encode("cp1252") + b"\0\0\0" + b"IENG\4\0\0\0Ann\0"
AIFF_CHUNKS = {
    b"NAME": "Ünïcode".encode("mac_roman"),
    b"AUTH": b"Somebody",
    b"(c) ": b"1999",
    b"ANNO": b"one note",
    b"MARK": struct.pack(">HHI", 1, 1, 1000) + b"\x05Begin",
    b"ID3 ": b"ID3\3\0\0\0\0\1\0" + RANDOM[200:328],
}


def encode(path: Path, container: str, subtype: str, frames: int = 30_001, rate: int = 48000) -> bytes:
    samples = 0.1 * np.random.default_rng(0).standard_normal((frames, 2))
    soundfile.write(path, samples, rate, subtype, format=container)
    return path.read_bytes()


def wav(content: bytes) -> tuple[bytes, list[bytes]]:
    """Some of the chunks are before the samples."""
    chunks, content = _around_samples(content, 4)
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:], chunks


def rf64(content: bytes) -> tuple[bytes, list[bytes]]:
    """The first chunk alone is before the samples: libsndfile loses its way at odd ones."""
    chunks, content = _around_samples(content, 1)
    return content[:20] + struct.pack("<Q", len(content) - 8) + content[28:], chunks


def _around_samples(content: bytes, before: int) -> tuple[list[bytes], bytes]:
    chunks = [_chunk("<4sI", name, body) for name, body in [*WAV_CHUNKS.items(), (b"LIST", INFO)]]
    data = content.index(b"data")
    content += bytes(-len(content) % 2)
    return chunks, content[:data] + b"".join(chunks[:before]) + content[data:] + b"".join(chunks[before:])


def aiff(content: bytes) -> tuple[bytes, list[bytes]]:
    chunks = [_chunk(">4sI", name, body) for name, body in AIFF_CHUNKS.items()]
    samples = content.index(b"SSND")
    content = content[:samples] + b"".join(chunks[:3]) + content[samples:] + b"".join(chunks[3:])
    return content[:4] + struct.pack(">I", len(content) - 8) + content[8:], chunks


def caf(content: bytes) -> tuple[bytes, list[bytes]]:
    bodies = {b"info": struct.pack(">I", 1) + b"title\0" + TEXT.encode() + b"\0", b"uuid": RANDOM[:99]}
    chunks = [_chunk(">4sq", name, body, step=1) for name, body in bodies.items()]
    return content[:52] + b"".join(chunks) + content[52:], chunks  # behind `desc`


def flac(content: bytes) -> tuple[bytes, list[bytes]]:
    comments = b"".join(_with_length(text.encode()) for text in [f"TITLE={TEXT}", "MOOD=odd", f"COMPOSER={TEXT}"])
    picture = struct.pack(">II", 3, 9) + b"image/png" + struct.pack(">I", 0) + bytes(16)
    cues = bytes(128) + struct.pack(">QB", 0, 0) + bytes(258) + b"\1" + struct.pack(">QB", 30_001, 255) + bytes(27)
    bodies = {
        4: _with_length(b"a vendor") + struct.pack("<I", 3) + comments,
        6: picture + struct.pack(">I", len(PICTURE)) + PICTURE,
        5: cues,
        2: b"riff" + RANDOM[:500],
        1: bytes(4000),
    }
    blocks = [bytes([kind]) + len(body).to_bytes(3, "big") + body for kind, body in bodies.items()]
    blocks[-1] = bytes([blocks[-1][0] | 0x80]) + blocks[-1][1:]
    place = 4
    while not content[place] & 0x80:
        place += 4 + int.from_bytes(content[place + 1 : place + 4], "big")
    sound = content[place + 4 + int.from_bytes(content[place + 1 : place + 4], "big") :]
    return b"fLaC" + bytes([content[4] & 0x7F]) + content[5:42] + b"".join(blocks) + sound, blocks


def mp3(content: bytes) -> tuple[bytes, list[bytes]]:
    bodies = {b"TIT2": b"\1" + TEXT.encode("utf-16"), b"APIC": b"\0image/png\0\3\0" + PICTURE}
    frames = b"".join(name + struct.pack(">IH", len(body), 0) + body for name, body in bodies.items()) + bytes(500)
    size = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
    item = struct.pack("<II", 4, 0) + b"MP3GAIN\0" + b"1234"
    footer = b"APETAGEX" + struct.pack("<IIII", 2000, 32 + len(item), 1, 0) + bytes(8)
    tags = [b"ID3\3\0\0" + size + frames, item + footer, b"TAG" + RANDOM[:125]]
    return tags[0] + content + tags[1] + tags[2], tags


def ogg(content: bytes) -> tuple[bytes, list[bytes]]:
    """Comments of more than a page; all pages are made anew, with checksums byte by byte."""
    texts = [f"TITLE={TEXT}", "MOOD=odd", "METADATA_BLOCK_PICTURE=" + PICTURE.hex()]
    body = _with_length(b"a vendor") + struct.pack("<I", 3) + b"".join(_with_length(text.encode()) for text in texts)
    first, *others = pages(content)
    opus = b"OpusHead" in first
    comments = b"OpusTags" + body if opus else b"\x03vorbis" + body + b"\1"
    old = []
    while others[0][6:14] in (bytes(8), b"\xff" * 8):  # no sound has ended there
        old.append(others.pop(0))
    setup = b"" if opus else unpaged(old)[unpaged(old).index(b"\x05vorbis") :]
    packets = [packet for packet in (comments, setup) if packet]
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    made, rest = [first], comments + setup
    for begin in range(0, len(lacing), 255):
        part = lacing[begin : begin + 255]
        continued = begin > 0 and lacing[begin - 1] == 255
        granule = bytes(8) if min(part) < 255 else b"\xff" * 8
        header = b"OggS\0" + bytes([continued]) + granule + first[14:18] + bytes(8) + bytes([len(part)]) + part
        made.append(header + rest[: sum(part)])
        rest = rest[sum(part) :]
    return b"".join(sealed(page, number) for number, page in enumerate(made + others)), [body]


def pages(content: bytes) -> list[bytes]:
    """Those of an Ogg file."""
    result = []
    while content:
        end = 27 + content[26] + sum(content[27 : 27 + content[26]])
        result.append(content[:end])
        content = content[end:]
    return result


def unpaged(some: list[bytes]) -> bytes:
    """What pages hold."""
    return b"".join(page[27 + page[26] :] for page in some)


def sealed(page: bytes, number: int) -> bytes:
    """With this number and the checksum of RFC 3533."""
    page = page[:18] + struct.pack("<I", number) + bytes(4) + page[26:]
    remainder = 0
    for byte in page:
        remainder = remainder << 8 & 0xFFFF_FFFF ^ _REMAINDERS[remainder >> 24 ^ byte]
    return page[:22] + struct.pack("<I", remainder) + page[26:]


def _remainder(value: int) -> int:
    for _ in range(8):
        value = value << 1 ^ (0x1_04C1_1DB7 if value & 0x8000_0000 else 0)
    return value


_REMAINDERS = [_remainder(byte << 24) for byte in range(256)]


def _chunk(header: str, name: bytes, body: bytes, step: int = 2) -> bytes:
    return struct.pack(header, name, len(body)) + body + bytes(-len(body) % step)


def _with_length(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text


# Container, encoding, and what makes it rich, by name.
KINDS = {
    "pcm.wav": ("WAV", "PCM_16", wav),
    "float.wav": ("WAV", "FLOAT", wav),
    "odd.wav": ("WAV", "PCM_24", wav),
    "extensible.wav": ("WAVEX", "FLOAT", wav),
    "large.wav": ("RF64", "PCM_16", rf64),
    "pcm.aiff": ("AIFF", "PCM_16", aiff),
    "float.aiff": ("AIFF", "FLOAT", aiff),
    "pcm.caf": ("CAF", "PCM_24", caf),
    "alac.caf": ("CAF", "ALAC_16", caf),
    "a.flac": ("FLAC", "PCM_16", flac),
    "a.mp3": ("MP3", "MPEG_LAYER_III", mp3),
    "vorbis.ogg": ("OGG", "VORBIS", ogg),
    "opus.ogg": ("OGG", "OPUS", ogg),
    "a.opus": ("OGG", "OPUS", ogg),
}


def make(path: Path, frames: int = 30_001) -> list[bytes]:
    """Write the file of `KINDS` that `path` names; what it carries, each part with its header."""
    container, subtype, enrich = KINDS[path.name]
    content, carried = enrich(encode(path, container, subtype, frames))
    path.write_bytes(content)
    return carried
