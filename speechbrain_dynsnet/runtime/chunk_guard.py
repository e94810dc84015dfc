"""Chunks that happen wholly, or are known not to have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from speechbrain_dynsnet.errors import InputError


class ChunkGuard:
    """For a stream, which after half a chunk (Ctrl-C, or two threads) would go on with nonsense."""

    def __init__(self) -> None:
        self._inside = False

    @contextmanager
    def chunk(self) -> Iterator[None]:
        """What happens inside happens wholly; InputError when the one before did not."""
        if self._inside:
            raise InputError("the stream was stopped in the middle of a chunk, or another thread uses it: reset() it")
        self._inside = True
        yield
        self._inside = False

    def reset(self) -> None:
        """Begin anew."""
        self._inside = False
