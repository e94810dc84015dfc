"""The STFT of a stream is that of the whole signal, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

from speechbrain_dynsnet.audio.constants import BINS, HOP
from speechbrain_dynsnet.audio.pcm import from_int16, to_int16, without_bad_samples
from speechbrain_dynsnet.audio.stft import istft, log_power, stft
from speechbrain_dynsnet.audio.streaming import StreamingStft

HOPS = 20


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, HOPS * HOP).astype(np.float32)


def run(streaming: StreamingStft, samples: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features of all hops, and the output: the first hop of it lies before the signal."""
    output = np.empty((len(masks), HOP), np.float32)
    features = []
    for hop, mask, out in zip(samples.reshape(-1, HOP), masks, output, strict=True):
        features.append(streaming.analyse(hop).copy())
        streaming.synthesise(mask, out)
    return np.stack(features), output.reshape(-1)[HOP:]


def test_features_and_output_are_those_of_the_whole_signal(noise: np.ndarray) -> None:
    masks = np.random.default_rng(1).random((HOPS + 1, BINS)).astype(np.float32)
    spectrum = stft(noise[np.newaxis])
    padded = np.concatenate([noise, np.zeros(HOP, np.float32)])
    features, output = run(StreamingStft(), padded, masks)
    np.testing.assert_allclose(features, log_power(spectrum)[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(output, istft(spectrum * masks, len(noise))[0], atol=1e-6)


def test_a_reset_forgets_all(noise: np.ndarray) -> None:
    streaming, masks = StreamingStft(), np.ones((HOPS, BINS), np.float32)
    first = run(streaming, noise, masks)
    streaming.reset()
    for before, after in zip(first, run(streaming, noise, masks), strict=True):
        np.testing.assert_array_equal(before, after)


def test_int16_goes_to_float_and_back_unchanged() -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    floats = from_int16(every)
    assert floats.dtype == np.float32 and floats.min() == -1 and floats.max() < 1
    np.testing.assert_array_equal(to_int16(floats), every)


def test_int16_clips_and_rounds_and_never_wraps() -> None:
    floats = np.array([1.0, 7.0, -1.0, -9.0, 1.4 / 32768, 1.6 / 32768, -1.6 / 32768], np.float32)
    np.testing.assert_array_equal(to_int16(floats), [32767, 32767, -32768, -32768, 1, 2, -2])


def test_bad_samples_become_zero_and_are_counted(noise: np.ndarray) -> None:
    assert without_bad_samples(noise)[0] is noise
    spoilt = noise.copy()
    spoilt[[3, 50, 700, 701]] = [np.nan, np.inf, -np.inf, 2e9]
    clean, bad = without_bad_samples(spoilt)
    assert bad == 4 and np.flatnonzero(clean != noise).tolist() == [3, 50, 700, 701]
    assert not clean[[3, 50, 700, 701]].any() and np.isnan(spoilt[3])


def test_loud_but_possible_samples_stay() -> None:
    loud = np.full(HOP, 9e8, np.float32)  # so many that their energy alone does not tell
    np.testing.assert_array_equal(without_bad_samples(loud)[0], loud)
    assert np.isfinite(StreamingStft().analyse(loud)).all()
