"""Spectra and features are numpy's, resynthesis is exact, and a folded affine changes no mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from speechbrain_dynsnet.model.affine import fold_affine
from speechbrain_dynsnet.model.features import istft, log_power, stft
from speechbrain_dynsnet.model.network import make_network

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


@torch.no_grad()
@pytest.mark.parametrize(("shift", "scale"), [(8.0, 0.25), (-3.0, 2.0), (0.0, 1.0), (5.0, -0.5)])
@pytest.mark.parametrize(
    ("family", "exits"),
    [("baseline", (5,)), ("pretrain", (0, 1, 3, 5)), ("split", (0, 3)), ("concat", (0, 1, 3, 5)), ("concat", (0,))],
)
def test_a_folded_affine_changes_no_mask(family: str, exits: tuple[int, ...], shift: float, scale: float) -> None:
    torch.manual_seed(0)
    network = make_network(family, exits, bins=9, hidden_size=12, dense_size=14, feature_size=5).double()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    features = 3 * torch.randn(2, 6, 9, dtype=torch.float64) - 8
    expected, _ = network(scale * (features + shift), exit=exits)
    fold_affine(network, shift, scale)
    for mask, other in zip(network(features, exit=exits)[0], expected, strict=True):
        torch.testing.assert_close(mask, other, rtol=0, atol=1e-12)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert all(name.startswith("stages.0.") for name in changed)
    assert bool(changed) == ((shift, scale) != (0.0, 1.0))
    fold_affine(network, -shift * scale, 1 / scale)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-12)
