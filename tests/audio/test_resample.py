"""Resampling keeps time, length, silence, and everything that fits into the new band."""

from __future__ import annotations

import numpy as np
import pytest

from speechbrain_dynsnet.audio.resample import resample, resampled_length

RATES_HZ = [8000, 11025, 22050, 44100, 48000]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("length", [1, 2, 3, 255, 12347])
def test_lengths_are_exact_there_and_back(rate_hz: int, length: int) -> None:
    there = resample(np.ones((2, length), dtype=np.float32), rate_hz, 16000)
    back = resample(there, 16000, rate_hz, length)
    assert there.shape == (2, resampled_length(length, rate_hz, 16000))
    assert back.shape == (2, length)
    assert there.dtype == back.dtype == np.float32
    assert there.shape[1] / 16000 >= length / rate_hz > (there.shape[1] - 1) / 16000


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_tone_keeps_its_phase_and_level(rate_hz: int) -> None:
    def tone(hz: int) -> np.ndarray:
        return np.sin(2 * np.pi * 1000 * np.arange(hz // 2) / hz)[None].astype(np.float32)

    error = resample(tone(rate_hz), rate_hz, 16000) - tone(16000)
    assert np.abs(error[:, 500:-500]).max() < 1e-5


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_click_stays_where_it_is(rate_hz: int) -> None:
    click = np.zeros((1, rate_hz), dtype=np.float32)
    click[0, rate_hz // 4] = 1
    assert abs(int(resample(click, rate_hz, 16000).argmax()) - 4000) <= 1


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_silence_stays_silence(rate_hz: int) -> None:
    assert not resample(np.zeros((1, 5000), dtype=np.float32), rate_hz, 16000).any()


def test_channels_do_not_mix() -> None:
    both = np.random.default_rng(0).standard_normal((2, 4000)).astype(np.float32)
    alone = [resample(channel[None], 48000, 16000)[0] for channel in both]
    np.testing.assert_allclose(resample(both, 48000, 16000), np.stack(alone), atol=1e-6)


def test_equal_rates_change_nothing() -> None:
    samples = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    np.testing.assert_array_equal(resample(samples, 16000, 16000), samples)
