"""Dynamic nsNet2: a chain of stages that can be left at any exit (arXiv 2308.16678, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, overload

import torch
from torch import Tensor, nn

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.architecture import Architecture, check_exits
from speechbrain_dynsnet.model.layers import LayerState
from speechbrain_dynsnet.model.stages import Stage, make_stages

State = tuple[LayerState, ...]


class DynamicNsNet2(nn.Module):
    """One network for all families: log-power features in, a mask out, at a chosen exit.

    Arguments
    ---------
    architecture : Architecture
        Family, exits and sizes.

    Example
    -------
    >>> import torch
    >>> network = DynamicNsNet2(Architecture(family="concat", exits=(0, 1, 3, 5)))
    >>> mask, state = network(torch.randn(1, 10, 257), exit=1)
    >>> mask.shape
    torch.Size([1, 10, 257])
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.stages = nn.ModuleList(make_stages(architecture))

    @property
    def exits(self) -> tuple[int, ...]:
        """The stages at which this network may be left, ascending."""
        return self.architecture.exits

    @overload
    def forward(
        self, features: Tensor, state: State | None = None, exit: int | None = None
    ) -> tuple[Tensor, State]: ...
    @overload
    def forward(
        self, features: Tensor, state: State | None = None, *, exit: Sequence[int]
    ) -> tuple[tuple[Tensor, ...], State]: ...

    def forward(
        self,
        features: Tensor,
        state: State | None = None,
        exit: int | Sequence[int] | None = None,
    ) -> tuple[Tensor | tuple[Tensor, ...], State]:
        """The mask at an exit, for a whole signal or for the next frames of one.

        Only the stages up to the exit run. A frame and a file are the same to this function: a file is many
        frames, and a stream hands the returned state to the next call.

        Arguments
        ---------
        features : Tensor
            (batch, time, bins), natural log of the power spectrum.
        state : State or None
            What the call before returned; None starts from silence.
        exit : int, sequence of int, or None
            Where to leave. None is the deepest exit. A sequence asks for the masks of several exits in one pass.

        Returns
        -------
        mask : Tensor, or tuple of Tensor for a sequence of exits
            (batch, time, bins), gains in [0, 1].
        state : State
            To carry on with. Recurrent states of layers that did not run come back unchanged.

        Raises
        ------
        InputError
            For an exit that this network does not have.
        """
        wanted = (exit if exit is not None else self.exits[-1],) if not isinstance(exit, Sequence) else exit
        if not wanted:
            raise InputError(f"no exit asked for: choose some of {list(self.exits)}")
        for one in wanted:
            self.check_exit(one)
        if state is None:
            state = self.initial_state(features.shape[0], features.device, features.dtype)
        last = max(wanted)
        masks: dict[int, Tensor] = {}
        new_state = list(state)
        x: Tensor | None = features
        for index, stage in enumerate(self.typed_stages()[: last + 1]):
            raw, x, new_state[index] = stage(x, state[index], onward=index < last)
            if index in wanted:
                masks[index] = stage.to_mask(raw)
        result = tuple(masks[one] for one in wanted)
        return (result if isinstance(exit, Sequence) else result[0]), tuple(new_state)

    def initial_state(self, batch: int, device: Any = None, dtype: torch.dtype = torch.float32) -> State:
        """Zero states: one tuple a stage, of one (batch, size) tensor a recurrent layer."""
        return tuple(
            tuple(torch.zeros(batch, size, device=device, dtype=dtype) for size in stage.state_sizes)
            for stage in self.typed_stages()
        )

    def check_exit(self, exit: int) -> int:
        """`exit` itself, or InputError with the exits that there are."""
        if exit not in self.exits:
            raise InputError(f"this model has no exit {exit}: choose one of {list(self.exits)}")
        return exit

    def typed_stages(self) -> list[Stage]:
        """The stages, with their type."""
        return [cast(Stage, stage) for stage in self.stages]

    def path_parameters(self, exit: int) -> set[str]:
        """Names of the parameters that the mask at `exit` depends on.

        For `split` and `concat` that leaves out the feature layer of the exit's own stage.
        """
        self.check_exit(exit)
        on_path = {id(parameter) for stage in self.stages[:exit] for parameter in stage.parameters()} | {
            id(parameter) for parameter in self.typed_stages()[exit].mask_parameters()
        }
        return {name for name, parameter in self.named_parameters() if id(parameter) in on_path}

    def macs_per_frame(self, exit: int | None = None) -> int:
        """Multiply-accumulates of the weights for one frame, leaving at `exit` (None: the deepest)."""
        exit = self.exits[-1] if exit is None else self.check_exit(exit)
        stages = self.typed_stages()
        return sum(stage.mask_macs + stage.onward_macs for stage in stages[:exit]) + stages[exit].mask_macs


def make_network(family: str, exits: Sequence[int], **sizes: Any) -> DynamicNsNet2:
    """A network with fresh weights, from plain values: what the YAML files call.

    Arguments
    ---------
    family : str
        `baseline`, `pretrain`, `split` or `concat`.
    exits : sequence of int
        Stage numbers.
    **sizes
        The other fields of `Architecture`.

    Returns
    -------
    DynamicNsNet2
        On the CPU.
    """
    return DynamicNsNet2(Architecture(family=family, exits=check_exits(exits), **sizes))
