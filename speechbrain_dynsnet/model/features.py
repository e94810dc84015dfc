"""From waveform to spectrum to features, and back.

Our readings where the paper is silent: a periodic square-root Hann window, for analysis and for synthesis;
centred frames with constant zero padding, so that frames can stream; 1e-8 inside the logarithm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechbrain_dynsnet.audio.constants import HOP, POWER_FLOOR, WINDOW


def stft(waveform: Tensor) -> Tensor:
    """Centred spectrum of a waveform, zero-padded to a whole number of hops.

    Arguments
    ---------
    waveform : Tensor
        (batch, samples), 16 kHz, any length.

    Returns
    -------
    Tensor
        Complex, (batch, 1 + ceil(samples / 256), 257).
    """
    # A tail that is no whole hop would be covered by one falling window slope only, and resynthesis would
    # divide by that slope; padded, every output sample lies under two windows.
    padded = nn.functional.pad(waveform, (0, -waveform.shape[-1] % HOP))
    spectrum = torch.stft(
        padded,
        WINDOW,
        HOP,
        window=_window(waveform.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.transpose(-1, -2)


def istft(spectrum: Tensor, length: int) -> Tensor:
    """The inverse of `stft`: (batch, time, 257) complex -> (batch, length)."""
    window = _window(spectrum.device)
    hops = HOP * (spectrum.shape[-2] - 1)
    waveform = torch.istft(spectrum.transpose(-1, -2), WINDOW, HOP, window=window, center=True, length=hops)
    return waveform[..., :length]


def log_power(spectrum: Tensor) -> Tensor:
    """Features: natural log of the power spectrum, `log(|X|^2 + 1e-8)`, of the spectrum's shape."""
    return torch.log(spectrum.real.square() + spectrum.imag.square() + POWER_FLOOR)


def _window(device: torch.device) -> Tensor:
    return torch.hann_window(WINDOW, periodic=True, device=device).sqrt()
