"""Spectra and features are numpy's, and resynthesis is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from speechbrain_dynsnet.model.features import istft, log_power, stft

LENGTHS = [1, 2, 255, 256, 257, 511, 512, 513, 4000, 16000]


def signal(samples: int, batch: int = 2) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples))


def numpy_stft(waveform: np.ndarray) -> np.ndarray:
    """256 zeros before, zeros behind, a frame every 256 samples under a periodic square-root Hann window."""
    window = np.sin(np.pi * np.arange(512) / 512)  # the root of (1 - cos(2 pi n / 512)) / 2
    hops = -(-len(waveform) // 256)
    padded = np.concatenate([np.zeros(256), waveform, np.zeros(256 * hops - len(waveform) + 256)])
    return np.stack([np.fft.rfft(window * padded[256 * t : 256 * t + 512]) for t in range(hops + 1)])


@pytest.mark.parametrize("samples", LENGTHS)
def test_the_spectrum_is_that_of_numpy(samples: int) -> None:
    waveform = signal(samples)
    expected = np.stack([numpy_stft(clip) for clip in waveform.double().numpy()])
    spectrum = stft(waveform)
    assert spectrum.shape == (2, 1 + -(-samples // 256), 257)
    np.testing.assert_allclose(spectrum.numpy(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("samples", LENGTHS)
def test_resynthesis_is_exact_at_any_length(samples: int) -> None:
    waveform = signal(samples)
    back = istft(stft(waveform), samples)
    assert back.shape == waveform.shape
    torch.testing.assert_close(back, waveform, rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 300, 4000])
def test_a_gain_on_the_spectrum_is_that_gain_on_the_signal_up_to_its_ends(samples: int) -> None:
    waveform = signal(samples)
    torch.testing.assert_close(istft(0.25 * stft(waveform), samples), 0.25 * waveform, rtol=0, atol=1e-6)


def test_features_are_the_natural_log_of_the_power() -> None:
    spectrum = stft(signal(4000))
    expected = np.log(np.abs(spectrum.numpy().astype(np.complex128)) ** 2 + 1e-8)
    np.testing.assert_allclose(log_power(spectrum).numpy(), expected, rtol=0, atol=1e-4)
    assert log_power(spectrum).shape == spectrum.shape


def test_features_of_silence_are_finite() -> None:
    features = log_power(stft(torch.zeros(1, 1000)))
    torch.testing.assert_close(features, torch.full_like(features, float(np.log(1e-8))))


def test_features_of_a_prefix_are_a_prefix_of_the_features() -> None:
    waveform = signal(2048)
    whole, part = log_power(stft(waveform)), log_power(stft(waveform[:, :1024]))
    torch.testing.assert_close(part[:, :-1], whole[:, :4], rtol=0, atol=1e-5)
