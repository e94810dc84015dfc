"""What each exit costs, worked out from the architecture, and checked against torch's own count."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_dynsnet.audio.constants import PAPER_FRAMES_PER_SECOND
from speechbrain_dynsnet.model.architecture import LAST_STAGE, Architecture
from speechbrain_dynsnet.model.network import DynamicNsNet2

BYTES_PER_WEIGHT = 4  # float32
FLOPS_PER_MAC = 2


@dataclass(frozen=True)
class ExitCost:
    """Multiply-accumulates of the weights, and the weights themselves, leaving at one exit.

    Arguments
    ---------
    exit : int
        The stage.
    macs_per_frame : int
        Biases, activations and the STFT are not counted, as in the paper.
    share_of_deepest, share_of_baseline : float
        Of the MACs: against this model's deepest exit, and against nsNet2 as it is (2,777,000).
    parameters : int
        Weights and biases that the mask of this exit depends on.
    parameters_in_all : int
        Those of the whole network.
    """

    exit: int
    macs_per_frame: int
    share_of_deepest: float
    share_of_baseline: float
    parameters: int
    parameters_in_all: int

    @property
    def macs_per_second(self) -> int:
        """For a second of audio, by the paper's count of 63 frames (the hop alone makes 62.5)."""
        return self.macs_per_frame * PAPER_FRAMES_PER_SECOND

    @property
    def flops_per_second(self) -> int:
        """For a second of audio; a multiply-accumulate is two."""
        return self.macs_per_second * FLOPS_PER_MAC

    @property
    def weight_bytes(self) -> int:
        """Size of the parameters on the path in float32: what a frame reads, each of them once."""
        return self.parameters * BYTES_PER_WEIGHT


def exit_costs(network: DynamicNsNet2) -> list[ExitCost]:
    """The cost of each exit of a network, shallow to deep (arXiv 2308.16678, Table 1)."""
    deepest = network.macs_per_frame()
    baseline = baseline_macs_per_frame()
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    return [
        ExitCost(
            exit=exit,
            macs_per_frame=macs,
            share_of_deepest=macs / deepest,
            share_of_baseline=macs / baseline,
            parameters=sum(sizes[name] for name in network.path_parameters(exit)),
            parameters_in_all=sum(sizes.values()),
        )
        for exit in network.exits
        for macs in [network.macs_per_frame(exit)]
    ]


def baseline_macs_per_frame() -> int:
    """Those of nsNet2 as it is: 2,777,000."""
    return DynamicNsNet2(Architecture("baseline", (LAST_STAGE,))).macs_per_frame()


def check_flops(network: DynamicNsNet2) -> None:
    """Run a frame at each exit under torch's FLOP counter, and compare with the architecture's MACs.

    Raises
    ------
    RuntimeError
        When they differ: then the formulas, or the exits, are wrong.
    """
    frame = torch.zeros(1, 1, network.architecture.bins)
    for exit in network.exits:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(frame, exit=exit)
        counted, expected = counter.get_total_flops(), FLOPS_PER_MAC * network.macs_per_frame(exit)
        if counted != expected:
            raise RuntimeError(f"exit {exit}: torch counts {counted} FLOPs a frame, the architecture says {expected}")
