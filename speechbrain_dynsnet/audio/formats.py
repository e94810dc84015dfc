"""Which container and encoding a file name asks for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import soundfile

from speechbrain_dynsnet.errors import InputError

# Containers that an extension may stand for: the first, unless the input was another of them.
_CONTAINERS = {
    ".wav": ("WAV", "WAVEX", "RF64"),
    ".flac": ("FLAC",),
    ".ogg": ("OGG",),
    ".oga": ("OGG",),
    ".opus": ("OGG",),
    ".mp3": ("MP3",),
    ".aif": ("AIFF",),
    ".aiff": ("AIFF",),
    ".au": ("AU",),
    ".caf": ("CAF",),
    ".w64": ("W64",),
}
AUDIO_EXTENSIONS = tuple(_CONTAINERS)

# Encodings that keep any number of frames. The others (the ADPCMs, GSM) round up to whole blocks,
# and so does AIFF with single bytes.
_BYTE_SUBTYPES = {"PCM_S8", "PCM_U8", "ULAW", "ALAW"}
_EXACT_SUBTYPES = _BYTE_SUBTYPES | {
    "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE",
    "VORBIS", "OPUS", "MPEG_LAYER_III",
    "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32",
}  # fmt: skip
_FINER_THAN_16_BITS = {"PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32"}


# What a sample takes in encodings that are not compressed.
BYTES = dict.fromkeys(_BYTE_SUBTYPES, 1) | {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_LARGER = {"WAV": "RF64", "WAVEX": "RF64", "AIFF": None, "AU": None}
_MOST_BYTES = 2**32 - 2**20  # of samples; the rest is for header and tags


def container_for(path: Path, wanted: str = "", subtype: str = "", samples: int = 0) -> str:
    """The container, in libsndfile's words, for a file name.

    Arguments
    ---------
    path : Path
        Its extension decides.
    wanted : str
        The container of the input, kept when the extension allows it.
    subtype : str
        The encoding.
    samples : int
        How many there will be, over all channels: WAV becomes RF64 beyond 4 GB.

    Returns
    -------
    str
        Such as `WAV`, `RF64` or `FLAC`.

    Raises
    ------
    InputError
        For an extension that names no format that can be written, or not so much.
    """
    containers = _CONTAINERS.get(path.suffix.lower())
    if containers is None:
        kind = path.suffix or "a file without an extension"
        raise InputError(f"{path}: cannot write {kind}; use one of {' '.join(AUDIO_EXTENSIONS)}")
    container = wanted if wanted in containers else containers[0]
    if samples * BYTES.get(subtype, 0) <= _MOST_BYTES:
        return container
    larger = _LARGER.get(container, container)
    if larger is None:
        raise InputError(f"{path}: {container} ends at 4 GB; give a name that ends in .wav, .caf or .flac")
    return larger


def native_name(path: Path) -> str | bytes:
    """A file's name as libsndfile's wrapper takes it, with bytes that are no UTF-8 too."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def subtype_for(path: Path, container: str, wanted: str) -> str:
    """The encoding to write: the wanted one where the container has it, else one near to it."""
    if path.suffix.lower() == ".opus":
        return "OPUS"
    available = soundfile.available_subtypes(container)
    keeps_length = wanted in _EXACT_SUBTYPES and not (container == "AIFF" and wanted in _BYTE_SUBTYPES)
    only_read = container == "WAV" and wanted == "MPEG_LAYER_III"
    if wanted in available and keeps_length and not only_read:
        return wanted
    if wanted in _FINER_THAN_16_BITS and "PCM_24" in available:
        return "PCM_24"
    return str(soundfile.default_subtype(container))
