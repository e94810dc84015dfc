"""What several tests of streams share: ways to cut a signal, and a clock that is told the time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from speechbrain_dynsnet.runtime.stream import Stream


def cut(samples: np.ndarray, seed: int, longest: int) -> Iterator[np.ndarray]:
    """Chunks of 0 to `longest` samples."""
    random = np.random.default_rng(seed)
    position = 0
    while position < len(samples):
        size = int(random.integers(0, longest + 1))
        yield samples[position : position + size]
        position += size


def run(stream: Stream, samples: np.ndarray, seed: int = 0, longest: int = 2000) -> np.ndarray:
    """The whole signal, in chunks of random length."""
    return np.concatenate([*(stream.process(chunk) for chunk in cut(samples, seed, longest)), stream.flush()])


class Clock:
    """Each second reading is later by what the frame took."""

    def __init__(self) -> None:
        self.frame_s = 0.0
        self._now, self._readings = 0.0, 0

    def __call__(self) -> float:
        self._readings += 1
        if self._readings % 2 == 0:
            self._now += self.frame_s
        return self._now
