"""What the writer and the readers of an exported file agree on: the words in its metadata, and its seal."""

from __future__ import annotations

import hashlib

FORMAT_VERSION = 2
FP32, INT8 = "fp32", "int8"  # precision
ANY = "any"  # frames and channels a call, when the file leaves them open
FEATURES, WAVEFORM = "features", "waveform"  # signal
SEAL = "content_sha256"  # names the fingerprint of the file, with zeros in that fingerprint's place
OPEN_SEAL = "0" * 64


def seal(content: bytes) -> bytes:
    """The content of a file with its fingerprint in it.

    Arguments
    ---------
    content : bytes
        With `OPEN_SEAL` in its metadata, and nowhere else.

    Returns
    -------
    bytes
        As long as `content`.
    """
    assert content.count(OPEN_SEAL.encode()) == 1
    return content.replace(OPEN_SEAL.encode(), hashlib.sha256(content).hexdigest().encode())


def is_whole(content: bytes, sealed: str) -> bool:
    """Whether a file is as it was written, by the fingerprint in its metadata."""
    return hashlib.sha256(content.replace(sealed.encode(), OPEN_SEAL.encode())).hexdigest() == sealed
