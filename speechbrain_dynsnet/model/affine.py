"""A fixed affine on the features while training, folded away when the model is saved."""

from __future__ import annotations

import torch
from torch import nn

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.layers import Dense
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.model.stages import ChainStage, SplitStage


@torch.no_grad()
def fold_affine(network: DynamicNsNet2, shift: float, scale: float) -> None:
    """Fold `scale * (features + shift)` into the first layers, in place.

    A network trained on normalised features then gives the same masks from the plain ones, so that nothing
    but weights needs to travel. `fold_affine(network, -shift * scale, 1 / scale)` undoes it.

    Raises
    ------
    InputError
        When stage 0, of a family that was added, has other layers than fully connected ones that read the features.
    """
    if (shift, scale) == (0.0, 1.0):
        return
    stage = network.typed_stages()[0]
    layers = list(stage.children())
    if type(stage) not in (ChainStage, SplitStage) or not all(isinstance(layer, Dense) for layer in layers):
        raise InputError(
            f"stage 0 of the family {network.architecture.family} cannot take the normalisation of the features: make "
            "it a ChainStage or SplitStage of fc layers, or give --feature_shift 0 --feature_scale 1"
        )
    for layer in layers:
        linear = layer.linear
        assert isinstance(linear, nn.Linear)
        linear.bias.add_(linear.weight.sum(dim=1), alpha=scale * shift)
        linear.weight.mul_(scale)
