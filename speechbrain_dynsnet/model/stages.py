"""The stages: what differs between the families.

A stage maps (input, state) to (mask features, features for the next stage, state). The mask features become
gains only when the mask is wanted; the features for the next stage are computed only when there is a next one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.architecture import ADDED_FAMILIES, LAYER_KINDS, Architecture
from speechbrain_dynsnet.model.layers import Layer, LayerState, Recurrent, make_layer, run_side_by_side

StageOutput = tuple[Tensor, Tensor | None, LayerState]


class ChainStage(nn.Module):
    """One layer of nsNet2; its first `bins` features serve as the mask (`baseline`, `pretrain`)."""

    def __init__(self, layer: Layer, bins: int) -> None:
        super().__init__()
        self.layer = layer
        self.bins = bins
        self.state_sizes = layer.state_sizes
        self.mask_macs = layer.macs
        self.onward_macs = 0

    def forward(self, x: Tensor, state: LayerState, onward: bool) -> StageOutput:
        """Run the layer; `onward` says whether the next stage runs too."""
        raw, state = self.layer(x, state)
        return raw[..., : self.bins], self.layer.activate(raw) if onward else None, state

    def to_mask(self, raw: Tensor) -> Tensor:
        """Gains (batch, time, bins) from the mask features."""
        return self.layer.to_mask(raw)

    def mask_parameters(self) -> list[nn.Parameter]:
        """What a mask emitted here depends on, within this stage."""
        return list(self.layer.parameters())


class SplitStage(nn.Module):
    """A mask layer and, before the last stage, a feature layer beside it (`split`, `concat`).

    Arguments
    ---------
    mask_layer : Layer
        Phi_i: reads the whole input.
    feature_layer : Layer or None
        Phi*_i: reads the input from feature `skip` on. None in the last stage.
    skip : int
        How many leading features the feature layer does not see: the mask features of the stage before in
        `split`, none in `concat` and in stage 0.

    Raises
    ------
    InputError
        When the two layers are not of one kind with one activation.
    """

    def __init__(self, mask_layer: Layer, feature_layer: Layer | None, skip: int) -> None:
        super().__init__()
        if feature_layer is not None and _kind(mask_layer) != _kind(feature_layer):
            raise InputError(
                f"the mask layer of a stage is {_kind(mask_layer)}, its feature layer {_kind(feature_layer)}: "
                "make both alike"
            )
        self.mask_layer = mask_layer
        self.feature_layer = feature_layer
        self.skip = skip
        self.state_sizes = mask_layer.state_sizes + (feature_layer.state_sizes if feature_layer else ())
        self.mask_macs = mask_layer.macs
        self.onward_macs = feature_layer.macs if feature_layer else 0

    def forward(self, x: Tensor, state: LayerState, onward: bool) -> StageOutput:
        """Run the mask layer and, only if the next stage runs too, the feature layer."""
        if not onward:
            own = len(self.mask_layer.state_sizes)
            raw, mask_state = self.mask_layer(x, state[:own])
            return raw, None, mask_state + state[own:]
        assert self.feature_layer is not None, "the last stage has no next one"
        inputs = [x, x[..., self.skip :]]
        if isinstance(self.mask_layer, Recurrent) and isinstance(self.feature_layer, Recurrent):
            (raw, feature_raw), state = run_side_by_side([self.mask_layer, self.feature_layer], inputs, state)
        else:
            raw, feature_raw = self.mask_layer(inputs[0], ())[0], self.feature_layer(inputs[1], ())[0]
        features = self.mask_layer.activate(raw), self.feature_layer.activate(feature_raw)
        return raw, torch.cat(features, dim=-1), state

    def to_mask(self, raw: Tensor) -> Tensor:
        """Gains (batch, time, bins) from the mask features."""
        return self.mask_layer.to_mask(raw)

    def mask_parameters(self) -> list[nn.Parameter]:
        """What a mask emitted here depends on, within this stage."""
        return list(self.mask_layer.parameters())


Stage = ChainStage | SplitStage


def _kind(layer: Layer) -> str:
    return "gru" if isinstance(layer, Recurrent) else "fc" if layer.activation else "fc without activation"


def make_stages(architecture: Architecture) -> list[Stage]:
    """The stages 0..deepest exit of an architecture."""
    make = ADDED_FAMILIES.get(architecture.family, _chain_stage if architecture.is_chain else _split_stage)
    return [make(architecture, index) for index in range(architecture.deepest + 1)]


def _chain_stage(a: Architecture, index: int) -> ChainStage:
    widths = (
        a.bins,
        a.hidden_size,
        a.hidden_size,
        a.hidden_size,
        a.dense_size,
        a.dense_size,
        a.bins,
    )
    activation = index > 0 or a.fc1_activation == "relu"
    return ChainStage(make_layer(LAYER_KINDS[index], widths[index], widths[index + 1], activation), a.bins)


def _split_stage(a: Architecture, index: int) -> SplitStage:
    inputs = a.bins if index == 0 else a.bins + a.feature_size
    skip = a.bins if a.family == "split" and index > 0 else 0
    kind = LAYER_KINDS[index]
    feature_layer = make_layer(kind, inputs - skip, a.feature_size) if index < a.deepest else None
    return SplitStage(make_layer(kind, inputs, a.bins), feature_layer, skip)
