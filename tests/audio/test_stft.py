"""The numpy STFT is torch's, and its inverse undoes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speechbrain_dynsnet.audio import stft as numpy_stft
from speechbrain_dynsnet.model import features


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 511, 512, 5000, 16000])
def test_equals_torch_and_inverts(samples: int) -> None:
    waveform = np.random.default_rng(samples).normal(0, 0.1, (2, samples)).astype(np.float32)
    spectrum = numpy_stft.stft(waveform)
    expected = features.stft(torch.from_numpy(waveform))
    np.testing.assert_allclose(spectrum, expected.numpy(), atol=2e-6)
    np.testing.assert_allclose(numpy_stft.istft(spectrum, samples), waveform, atol=1e-6)


def test_features_equal_torch() -> None:
    spectrum = np.array([[[0, 1e-6, 1 + 1j, -100]]], np.complex64)
    expected = features.log_power(torch.from_numpy(spectrum)).numpy()
    np.testing.assert_allclose(numpy_stft.log_power(spectrum), expected, rtol=1e-6)
