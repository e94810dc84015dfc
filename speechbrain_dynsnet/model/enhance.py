"""From noisy to enhanced waveforms: the one place where a mask meets a spectrum."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from speechbrain_dynsnet.model.features import istft, log_power, stft
from speechbrain_dynsnet.model.network import DynamicNsNet2


def enhance(network: DynamicNsNet2, noisy: Tensor, exits: Sequence[int]) -> tuple[Tensor, ...]:
    """Denoise waveforms at several exits, in one pass.

    Arguments
    ---------
    network : DynamicNsNet2
        Of any family.
    noisy : Tensor
        (batch, samples), float32, 16 kHz.
    exits : sequence of int
        Where to leave.

    Returns
    -------
    tuple of Tensor
        (batch, samples), one an exit.

    Raises
    ------
    InputError
        For an exit that the network lacks.
    """
    spectrum = stft(noisy)
    masks, _ = network(log_power(spectrum), exit=exits)
    return tuple(istft(spectrum * mask.float(), noisy.shape[-1]) for mask in masks)
