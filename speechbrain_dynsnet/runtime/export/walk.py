"""Walks the stages of a network and writes them as nodes, with a way out at every exit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.layers import Dense, Layer, Recurrent
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.model.stages import ChainStage, SplitStage, Stage
from speechbrain_dynsnet.runtime.export.graph import Graph, Shape, floats
from speechbrain_dynsnet.runtime.export.layers import Axes, Precision, joined_linear

States = Mapping[int, str]  # by number; the name of each one's value after this frame
EXIT = "exit"  # the input that says where to leave


@dataclass(frozen=True)
class _Slot:
    """A layer, and where its state is kept (None: it has none)."""

    layer: Layer
    name: str
    state: int | None

    @property
    def outputs(self) -> int:
        return self.layer.gru.hidden_size if isinstance(self.layer, Recurrent) else self.layer.linear.out_features


@dataclass(frozen=True)
class _Stage:
    stage: Stage
    mask: _Slot
    features: _Slot | None  # beside the mask layer, in `split` and `concat`

    @property
    def slots(self) -> list[_Slot]:
        return [self.mask] if self.features is None else [self.mask, self.features]


class Walk:
    """The stages of a network up to the deepest of some exits.

    With one exit the stages follow each other. With several, each one but the last is an `If` on the input `exit`, and
    what lies beyond is inside its else branch, weights too: what is not needed does not run, and costs nothing.

    Arguments
    ---------
    network : DynamicNsNet2
        Of any family.
    exits : sequence of int
        Some of its exits, ascending.
    precision : Precision
        How layers are computed.
    axes : Axes
        Of the graph.
    """

    def __init__(self, network: DynamicNsNet2, exits: Sequence[int], precision: Precision, axes: Axes) -> None:
        self._bins = network.architecture.bins
        self._exits = exits
        self._precision = precision
        self._axes = axes
        self._sizes: list[int] = []
        self._stages = [
            self._place(index, stage, is_last=index == exits[-1])
            for index, stage in enumerate(network.typed_stages()[: exits[-1] + 1])
        ]

    @property
    def state_shapes(self) -> dict[str, Shape]:
        """Of every input state, in the order of the layers: the mask layer of a stage before its feature layer."""
        return {_state(number): self._precision.state_shape(size) for number, size in enumerate(self._sizes)}

    @property
    def has_choice(self) -> bool:
        """Whether the graph has an input `exit`."""
        return len(self._exits) > 1

    def write(self, graph: Graph, features: str) -> tuple[str, list[str]]:
        """The nodes from the features to the mask; its name, and those of the new states."""
        mask, states = self._from(graph, 0, features, self._axes_rank)
        return mask, [states[number] for number in range(len(self._sizes))]

    @property
    def _axes_rank(self) -> int:
        return len(self._axes.frames(1))

    def _place(self, index: int, stage: Stage, is_last: bool) -> _Stage:
        if type(stage) not in (ChainStage, SplitStage):  # one derived from them may compute something else
            raise InputError(
                f"stage {index} is a {type(stage).__name__}: the export writes ChainStage and SplitStage only; "
                "build the family of these"
            )
        if isinstance(stage, ChainStage):
            return _Stage(stage, self._slot(stage.layer, f"stage_{index}"), None)
        mask = self._slot(stage.mask_layer, f"stage_{index}.mask")
        if is_last:
            return _Stage(stage, mask, None)
        assert stage.feature_layer is not None
        return _Stage(stage, mask, self._slot(stage.feature_layer, f"stage_{index}.features"))

    def _slot(self, layer: Layer, name: str) -> _Slot:
        if not isinstance(layer, Recurrent):
            return _Slot(layer, name, None)
        self._sizes.append(layer.gru.hidden_size)
        return _Slot(layer, name, len(self._sizes) - 1)

    def _from(self, graph: Graph, index: int, x: str, rank: int) -> tuple[str, States]:
        """Mask and new states of this stage and all after it; `x` has `rank` dimensions."""
        stage = self._stages[index]
        x, rank = self._as_rank(graph, x, rank, self._rank_of(stage))
        is_last = index == self._exits[-1]
        if not is_last and index not in self._exits and self._joins(stage):
            onward, new = self._run(graph, x, stage.slots)
            onward = self._activated(graph, stage, onward)
            mask, later = self._from(graph, index + 1, onward, rank)
            return mask, {**new, **later}
        raw, new = self._run(graph, x, [stage.mask])
        if is_last:
            return self._mask(graph, stage, raw, rank), new
        if index not in self._exits:
            mask, later = self._beyond(graph, index, x, raw, rank)
            return mask, {**new, **later}
        return self._choose(graph, index, x, raw, rank, new)

    def _beyond(self, graph: Graph, index: int, x: str, raw: str, rank: int) -> tuple[str, States]:
        """The rest of this stage, and all after it."""
        stage = self._stages[index]
        new: States = {}
        if stage.features is not None:
            skip = cast(SplitStage, stage.stage).skip
            features, new = self._run(graph, self._slice(graph, x, skip, None) if skip else x, [stage.features])
            raw = graph.add("Concat", [raw, features], axis=-1)
        mask, later = self._from(graph, index + 1, self._activated(graph, stage, raw), rank)
        return mask, {**new, **later}

    def _choose(self, graph: Graph, index: int, x: str, raw: str, rank: int, new: States) -> tuple[str, States]:
        """Leave here, or go on: an `If`. The states of what does not run pass through."""
        leaving, going = graph.subgraph(), graph.subgraph()
        mask_here = self._mask(leaving, self._stages[index], raw, rank)
        mask_beyond, states_beyond = self._beyond(going, index, x, raw, rank)
        pending = sorted(states_beyond)
        kept = [leaving.add("Identity", [_state(number)]) for number in pending]
        state_shapes = [self._precision.state_shape(self._sizes[number]) for number in pending]
        shapes = [self._axes.frames(self._bins), *state_shapes]
        branches = {
            "then_branch": leaving.build(f"leave_{index}", [], _values([mask_here, *kept], shapes)),
            "else_branch": going.build(
                f"beyond_{index}", [], _values([mask_beyond, *(states_beyond[number] for number in pending)], shapes)
            ),
        }
        is_here = graph.add("Equal", [EXIT, graph.weight(np.array(index, np.int64), "exit_here")])
        mask, *states = graph.add_many("If", [is_here], 1 + len(pending), **branches)
        return mask, {**new, **dict(zip(pending, states, strict=True))}

    def _joins(self, stage: _Stage) -> bool:
        """Whether the mask and the feature layer can run as one, for they read the same."""
        if stage.features is None or cast(SplitStage, stage.stage).skip:
            return False
        return self._precision.joins_grus or not isinstance(stage.mask.layer, Recurrent)

    def _run(self, graph: Graph, x: str, slots: Sequence[_Slot]) -> tuple[str, States]:
        """The linear or GRU output of layers of one kind, side by side, and their new states."""
        names = [slot.name for slot in slots]
        if isinstance(slots[0].layer, Dense):
            weight, bias = joined_linear([cast(Dense, slot.layer) for slot in slots])
            return self._precision.linear(graph, x, weight, bias, "+".join(names)), {}
        numbers = [cast(int, slot.state) for slot in slots]
        layers = [cast(Recurrent, slot.layer) for slot in slots]
        output, new = self._precision.gru(graph, x, layers, [_state(number) for number in numbers], names)
        return output, dict(zip(numbers, new, strict=True))

    @staticmethod
    def _activated(graph: Graph, stage: _Stage, raw: str) -> str:
        """What the next stage reads; the layers of a stage have the same activation."""
        layer = stage.mask.layer
        return raw if isinstance(layer, Recurrent) or not layer.activation else graph.add("Relu", [raw])

    def _mask(self, graph: Graph, stage: _Stage, raw: str, rank: int) -> str:
        if stage.mask.outputs > self._bins:  # a layer of nsNet2, which the mask is the beginning of
            raw = self._slice(graph, raw, 0, self._bins)
        if isinstance(stage.mask.layer, Recurrent):
            doubled = graph.add("Add", [raw, graph.number(1.0)])
            mask = graph.add("Mul", [doubled, graph.number(0.5)])
        else:
            mask = graph.add("Sigmoid", [raw])
        return self._as_rank(graph, mask, rank, self._axes_rank)[0]

    def _rank_of(self, stage: _Stage) -> int:
        return self._precision.gru_rank if isinstance(stage.mask.layer, Recurrent) else self._precision.dense_rank

    @staticmethod
    def _as_rank(graph: Graph, x: str, rank: int, wanted: int) -> tuple[str, int]:
        """With or without the axis of the one frame."""
        if rank != wanted:
            x = graph.add("Squeeze" if rank > wanted else "Unsqueeze", [x, graph.integers(0)])
        return x, wanted

    @staticmethod
    def _slice(graph: Graph, x: str, start: int, end: int | None) -> str:
        bounds = (start, np.iinfo(np.int64).max if end is None else end, -1)
        return graph.add("Slice", [x, *(graph.integers(bound) for bound in bounds)])


def _values(names: Sequence[str], shapes: Sequence[Shape]) -> list[onnx.ValueInfoProto]:
    return [floats(name, shape) for name, shape in zip(names, shapes, strict=True)]


def _state(number: int) -> str:
    return f"state_{number}"
