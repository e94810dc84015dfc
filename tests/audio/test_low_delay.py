"""The filter passes what it must, stops what it must, and waits no longer than it says."""

from __future__ import annotations

import numpy as np
import pytest

from speechbrain_dynsnet.audio.low_delay import LowDelayResampler
from speechbrain_dynsnet.audio.resample import resample, resampled_length

RATES = [(48000, 16000), (16000, 48000), (44100, 16000), (16000, 44100), (8000, 16000), (16000, 8000), (384000, 16000)]


def whole(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    resampler = LowDelayResampler(from_hz, to_hz)
    return np.concatenate([resampler.process(samples), resampler.finish()])


def tone(hz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    """With soft ends, in float32."""
    time = np.arange(int(seconds * rate)) / rate
    return (np.sin(np.pi * time / seconds) ** 4 * np.sin(2 * np.pi * hz * time + 1)).astype(np.float32)


@pytest.mark.parametrize(("from_hz", "to_hz"), [*RATES, (44099, 16000), (16000, 44056), (15999, 16000)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.88])
def test_what_is_below_the_edge_passes_in_step(from_hz: int, to_hz: int, share: float) -> None:
    """A tone at one rate becomes that tone at the other; the last three have too small a common factor."""
    hz = share * min(from_hz, to_hz) / 2
    result = whole(tone(hz, from_hz), from_hz, to_hz)
    wanted = tone(hz, to_hz)
    error = 20 * np.log10(np.abs(result[: len(wanted)] - wanted[: len(result)]).max())
    assert error < (-80 if (from_hz, to_hz) in RATES else -68)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_what_the_lower_rate_cannot_hold_is_gone(from_hz: int, to_hz: int) -> None:
    if to_hz < from_hz:  # what is above would come back as something else
        result = whole(tone(0.53 * to_hz, from_hz), from_hz, to_hz)
    else:  # what is below would come back above
        result = whole(tone(0.4 * from_hz, from_hz), from_hz, to_hz) - tone(0.4 * from_hz, to_hz)
    assert 20 * np.log10(np.abs(result).max()) < -75


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_soxr_gives_the_same_but_at_the_edge(from_hz: int, to_hz: int) -> None:
    lower = min(from_hz, to_hz)
    random = np.random.default_rng(0)
    noise = resample(random.normal(0, 0.1, (1, lower // 4)).astype(np.float32), lower // 2, from_hz)
    np.testing.assert_allclose(whole(noise[0], from_hz, to_hz), resample(noise, from_hz, to_hz)[0], atol=2e-3)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("length", [0, 1, 2, 999, 30000])
def test_chunks_give_what_the_whole_gives(from_hz: int, to_hz: int, length: int) -> None:
    random = np.random.default_rng(length)
    samples = random.normal(0, 0.1, length).astype(np.float32)
    resampler = LowDelayResampler(from_hz, to_hz)
    cuts = np.sort(random.integers(0, length + 1, 20))
    results = [resampler.process(chunk) for chunk in np.split(samples, cuts)]
    result = np.concatenate([*results, resampler.finish()])
    assert result.dtype == np.float32 and len(result) == resampled_length(length, from_hz, to_hz)
    np.testing.assert_allclose(result, whole(samples, from_hz, to_hz), atol=1e-6)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_the_delay_is_what_it_says_and_no_longer(from_hz: int, to_hz: int) -> None:
    resampler = LowDelayResampler(from_hz, to_hz)
    longest = given = 0.0
    for taken in range(1, 3000):
        given += len(resampler.process(np.zeros(1, np.float32)))
        # The next sample of the result is at this time, and has not come.
        longest = max(longest, taken / from_hz - given / to_hz)
    assert resampler.delay_s - 1.1 / from_hz <= longest <= resampler.delay_s
    assert resampler.delay_s < 105 / min(from_hz, to_hz)


@pytest.mark.parametrize("length", [15990, 16000, 16010])
def test_the_length_asked_for_is_the_length(length: int) -> None:
    resampler = LowDelayResampler(48000, 16000)
    first = resampler.process(np.ones(48000, np.float32))
    assert len(first) + len(resampler.finish(length)) == length
