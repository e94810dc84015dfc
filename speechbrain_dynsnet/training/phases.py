"""Training schemes as data: a list of phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from speechbrain_dynsnet.model.architecture import check_exits
from speechbrain_dynsnet.model.network import DynamicNsNet2


@dataclass(frozen=True)
class Phase:
    """One step of a training scheme.

    Arguments
    ---------
    exits : tuple of int
        The exits in the loss.
    frozen : tuple of int
        Exits of earlier phases: what their masks depend on no longer trains.
    max_epochs : int
        The cap; early stopping may end the phase sooner.
    exit_weights : tuple of float
        alpha_i of each exit in the loss.
    """

    exits: tuple[int, ...]
    frozen: tuple[int, ...]
    max_epochs: int
    exit_weights: tuple[float, ...]

    @property
    def name(self) -> str:
        """Short and unique within a scheme; names the phase's folder."""
        return "exits_" + "_".join(map(str, self.exits))

    def trainable(self, network: DynamicNsNet2) -> set[str]:
        """Names of the parameters that train: on the path to a mask in the loss, and to no earlier one."""
        return _paths(network, self.exits) - _paths(network, self.frozen)


def joint(exits: Sequence[int], max_epochs: int = 400, exit_weights: Sequence[float] | None = None) -> list[Phase]:
    """All exits at once, everything trains (arXiv 2308.16678, section 3.2 and equation 4).

    Arguments
    ---------
    exits : sequence of int
        The exits of the network.
    max_epochs : int
        The paper: 400.
    exit_weights : sequence of float or None
        alpha_i, one an exit; None is 1 each.

    Returns
    -------
    list of Phase
        One.
    """
    exits = check_exits(exits)
    weights = tuple(exit_weights) if exit_weights is not None else (1.0,) * len(exits)
    if len(weights) != len(exits):
        raise ValueError(f"{len(weights)} exit weights for the {len(exits)} exits {list(exits)}")
    return [Phase(exits, (), max_epochs, weights)]


def layerwise(exits: Sequence[int], max_epochs: int = 50, growing: bool = True) -> list[Phase]:
    """One phase an exit; what earlier ones trained is frozen (arXiv 2308.16678, section 3.2).

    Arguments
    ---------
    exits : sequence of int
        The exits of the network.
    max_epochs : int
        Cap of a phase; the paper: 50.
    growing : bool
        Whether the cap is `max_epochs * (stage + 1)`, as the paper has it for `split` and `concat`.

    Returns
    -------
    list of Phase
        In the order of the exits.
    """
    exits = check_exits(exits)
    return [
        Phase((exit,), exits[:index], max_epochs * (exit + 1 if growing else 1), (1.0,))
        for index, exit in enumerate(exits)
    ]


def _paths(network: DynamicNsNet2, exits: Sequence[int]) -> set[str]:
    return set().union(*(network.path_parameters(exit) for exit in exits))
