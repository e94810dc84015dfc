"""A moving average of the weights: as good as a learning rate that falls to nothing, with no end to be planned."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from speechbrain_dynsnet.model.network import DynamicNsNet2

Tensors = tuple[Tensor, ...] | list[Tensor]


def make_average(network: DynamicNsNet2, decay: float) -> AveragedModel:
    """An average that starts as the network; call its `update_parameters(network)` after each step.

    Arguments
    ---------
    network : DynamicNsNet2
        What is trained.
    decay : float
        Below 1; the average reaches about 1 / (1 - decay) steps back. In the first steps it reaches back a tenth of
        the way only, for fresh weights are worth nothing.

    Returns
    -------
    AveragedModel
        Of torch; its `module` is the averaged network.
    """

    @torch.no_grad()
    def move(average: Tensors, current: Tensors, steps: Tensor | int) -> None:
        share = max(1.0 - decay, 9.0 / (10.0 + float(steps)))
        for kept, new in zip(average, current, strict=True):
            kept.lerp_(new, share)

    return AveragedModel(network, multi_avg_fn=move)


def kept_network(network: DynamicNsNet2, average: AveragedModel | None, files: Mapping[str, Path]) -> DynamicNsNet2:
    """What was validated when a checkpoint was saved.

    Arguments
    ---------
    network : DynamicNsNet2
        Stays as it is.
    average : AveragedModel or None
        Its average, which stays too; None when there is none.
    files : mapping of str to Path
        Of the checkpoint: `network` and `average`.

    Returns
    -------
    DynamicNsNet2
        A new one.
    """
    copy = deepcopy(network if average is None else average)
    device = next(network.parameters()).device
    copy.load_state_dict(torch.load(files["network" if average is None else "average"], map_location=device))
    return cast(DynamicNsNet2, copy if average is None else copy.module)
