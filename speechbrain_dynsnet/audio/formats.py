"""Which container and encoding a file name asks for."""

from __future__ import annotations

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


def container_for(path: Path, wanted: str = "") -> str:
    """The container, in libsndfile's words, for a file name.

    Arguments
    ---------
    path : Path
        Its extension decides.
    wanted : str
        The container of the input, kept when the extension allows it.

    Raises
    ------
    InputError
        For an extension that names no format that can be written.
    """
    containers = _CONTAINERS.get(path.suffix.lower())
    if containers is None:
        kind = path.suffix or "a file without an extension"
        raise InputError(f"{path}: cannot write {kind}; use one of {' '.join(AUDIO_EXTENSIONS)}")
    return wanted if wanted in containers else containers[0]


def subtype_for(path: Path, container: str, wanted: str) -> str:
    """The encoding to write: the wanted one where the container has it, else one near to it."""
    if path.suffix.lower() == ".opus":
        return "OPUS"
    available = soundfile.available_subtypes(container)
    keeps_length = wanted in _EXACT_SUBTYPES and not (container == "AIFF" and wanted in _BYTE_SUBTYPES)
    if wanted in available and keeps_length:
        return wanted
    if wanted in _FINER_THAN_16_BITS and "PCM_24" in available:
        return "PCM_24"
    return str(soundfile.default_subtype(container))
