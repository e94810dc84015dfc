"""Resampling chunk by chunk gives what resampling the whole gives."""

from __future__ import annotations

import numpy as np
import pytest

from speechbrain_dynsnet.audio.resample import resample, resampled_length
from speechbrain_dynsnet.audio.stream_resampler import StreamResampler


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8000, 16000), (44100, 16000), (48000, 16000), (16000, 44100)])
@pytest.mark.parametrize("length", [0, 1, 2, 999, 30000])
def test_equals_resampling_the_whole(from_hz: int, to_hz: int, length: int) -> None:
    random = np.random.default_rng(length)
    samples = random.normal(0, 0.1, length).astype(np.float32)
    wanted = resampled_length(length, from_hz, to_hz)
    resampler = StreamResampler(from_hz, to_hz)
    cuts = np.sort(random.integers(0, length + 1, 20))
    results = [resampler.process(chunk) for chunk in np.split(samples, cuts)]
    result = np.concatenate([*results, resampler.finish(wanted)])
    np.testing.assert_allclose(result, resample(samples[np.newaxis], from_hz, to_hz)[0], atol=1e-6)


@pytest.mark.parametrize("length", [15990, 16000, 16010])
def test_the_length_asked_for_is_the_length(length: int) -> None:
    resampler = StreamResampler(48000, 16000)
    first = resampler.process(np.ones(48000, np.float32))
    assert len(first) + len(resampler.finish(length)) == length
