"""Whitened features while training, folded away when the model is saved."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.layers import Dense
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.model.stages import ChainStage, SplitStage

# Of a variance. The log-power of plain noise has one of pi^2 / 6 in each bin: less is found where a bin has hardly any
# signal, and is not blown up.
_FLOOR = 0.5


class Whitening(nn.Module):
    """`(features - mean) @ matrix`: less correlated than the features are.

    Bins rise and fall together: in their log-powers the loudness of a frame varies forty times as much as the fine
    structure by which voices are told from noise. An optimiser that scales each weight by itself, such as Adam, learns
    the latter much sooner from features without most of that correlation.

    A network trained on them gives the same masks from the plain features once this is folded into its first layers, so
    that nothing but weights needs to travel.

    Arguments
    ---------
    mean : Tensor
        (bins,).
    matrix : Tensor
        (bins, bins), symmetric and positive definite.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)

    @classmethod
    def fit(cls, features: Tensor, strength: float) -> Whitening:
        """For features like these, one that leaves bins where they are (ZCA; Kessy, Lewin and Strimmer 2018).

        Arguments
        ---------
        features : Tensor
            (frames, bins).
        strength : float
            Variances along the principal directions become their power `1 - strength`: with 0 features are only
            centred and scaled, with 1 nothing of their correlation is left. That of a bin is 1 on average.

        Returns
        -------
        Whitening
            In float32.
        """
        features = features.double()
        variances, directions = torch.linalg.eigh(torch.cov(features.T))
        variances = variances.clamp(min=_FLOOR)
        gains = variances ** (-0.5 * strength)
        gains /= (variances * gains**2).mean().sqrt()
        return cls(features.mean(dim=0).float(), ((directions * gains) @ directions.T).float())

    def forward(self, features: Tensor) -> Tensor:
        """(..., bins) -> (..., bins)."""
        return (features - self.mean) @ self.matrix

    @torch.no_grad()
    def fold(self, network: DynamicNsNet2) -> None:
        """Make a network that reads whitened features one that reads the plain ones, in place.

        Raises
        ------
        InputError
            When stage 0, of a family that was added, has other layers than fully connected ones that read the features.
        """
        mean, matrix = self.mean.double(), self.matrix.double()
        for linear in _first_layers(network):
            weight = linear.weight.double() @ matrix
            linear.bias.copy_(linear.bias.double() - weight @ mean)
            linear.weight.copy_(weight)

    @torch.no_grad()
    def unfold(self, network: DynamicNsNet2) -> None:
        """Undo `fold`, in place: to train on whitened features what reads the plain ones; InputError as there."""
        mean, inverse = self.mean.double(), torch.linalg.inv(self.matrix.double())
        for linear in _first_layers(network):
            weight = linear.weight.double()
            linear.bias.copy_(linear.bias.double() + weight @ mean)
            linear.weight.copy_(weight @ inverse)


def check_whitening(network: DynamicNsNet2) -> None:
    """InputError when a whitening could not be folded into a network; see `Whitening.fold`."""
    _first_layers(network)


def _first_layers(network: DynamicNsNet2) -> list[nn.Linear]:
    """What reads the features: the layers of stage 0."""
    stage = network.typed_stages()[0]
    layers = [layer.linear for layer in stage.children() if isinstance(layer, Dense)]
    if type(stage) not in (ChainStage, SplitStage) or len(layers) < len(list(stage.children())):
        raise InputError(
            f"stage 0 of the family {network.architecture.family} cannot take the whitening of the features: make it a "
            "ChainStage or SplitStage of fc layers, or give --whitening null"
        )
    return layers
