"""Reads and enhances damaged files, in a process of its own: one that crashes or hangs ends it, and the file is kept.

python -m tests.audio.fuzz NAME FOLDER CASES
"""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path

import numpy as np

from speechbrain_dynsnet.audio.enhancement import enhance_file
from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.errors import InputError
from tests.audio.masks import gain

CASE_S = 20.0
"""How long a case may take; the longest takes a tenth of a second on an idle machine."""


def fuzz(name: str, folder: Path, cases: int) -> None:
    """Mutate a file so often; AssertionError, or any other, when a mutation is neither enhanced nor refused."""
    rng = np.random.default_rng(0)
    whole, target = folder / name, folder / "out.wav"
    write_audio(whole, Audio(rng.normal(0, 0.1, (2, 4000)).astype(np.float32), 48000))
    content = whole.read_bytes()
    read = refused = 0
    for _ in range(cases):
        whole.write_bytes(mutate(content, rng))
        # A thread of C: it also ends what never comes back to Python, and says where that is.
        faulthandler.dump_traceback_later(CASE_S, exit=True)
        try:
            audio = read_audio(whole)
            facts = enhance_file(gain(1.0), whole, target)
        except InputError as error:
            assert "\n" not in str(error)
            assert not target.exists()
            refused += 1
        else:
            assert np.isfinite(audio.samples).all() and audio.samples.size and audio.rate > 0
            assert (facts.channels, facts.frames) == audio.samples.shape
            assert read_audio(target).samples.shape == audio.samples.shape
            target.unlink()
            read += 1
    faulthandler.cancel_dump_traceback_later()
    assert read and refused
    assert list(folder.iterdir()) == [whole]


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite a few bytes, most of them in the header; sometimes cut the end off."""
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        reach = len(damaged) if rng.random() < 0.3 else min(len(damaged), 128)
        damaged[int(rng.integers(reach))] = int(rng.integers(256))
    return bytes(damaged[: int(rng.integers(len(damaged) + 1))] if rng.random() < 0.3 else damaged)


if __name__ == "__main__":
    faulthandler.enable()
    fuzz(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
