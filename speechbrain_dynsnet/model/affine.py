"""A fixed affine on the features while training, folded away when the model is saved."""

from __future__ import annotations

import torch
from torch import nn

from speechbrain_dynsnet.model.network import DynamicNsNet2


@torch.no_grad()
def fold_affine(network: DynamicNsNet2, shift: float, scale: float) -> None:
    """Fold `scale * (features + shift)` into the first layers, in place.

    A network trained on normalised features then gives the same masks from the plain ones, so that nothing
    but weights needs to travel. `fold_affine(network, -shift * scale, 1 / scale)` undoes it.
    """
    stage = network.typed_stages()[0]
    for layer in stage.children():
        linear = layer.linear
        assert isinstance(linear, nn.Linear)
        linear.bias.add_(linear.weight.sum(dim=1), alpha=scale * shift)
        linear.weight.mul_(scale)
