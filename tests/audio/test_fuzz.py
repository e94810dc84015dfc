"""Damaged files are enhanced, or end in an InputError: never in a crash, a hang, another exception or a leftover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechbrain_dynsnet.audio.enhancement import enhance_file
from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.errors import InputError
from tests.audio.masks import gain

NAMES = ("a.wav", "a.flac", "a.ogg", "a.opus", "a.aiff", "a.au", "a.caf", "a.w64", "a.mp3")


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite a few bytes, most of them in the header; sometimes cut the end off."""
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        reach = len(damaged) if rng.random() < 0.3 else min(len(damaged), 128)
        damaged[int(rng.integers(reach))] = int(rng.integers(256))
    return bytes(damaged[: int(rng.integers(len(damaged) + 1))] if rng.random() < 0.3 else damaged)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_are_enhanced_or_refused(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole, target = tmp_path / name, tmp_path / "out.wav"
    write_audio(whole, Audio(rng.normal(0, 0.1, (2, 4000)).astype(np.float32), 48000))
    content = whole.read_bytes()
    read = refused = 0
    for _ in range(1200):
        whole.write_bytes(mutate(content, rng))
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
    assert read and refused
    assert list(tmp_path.iterdir()) == [whole]
