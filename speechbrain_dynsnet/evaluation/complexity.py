"""What each exit costs, worked out from the architecture."""

from __future__ import annotations

from dataclasses import dataclass

from speechbrain_dynsnet.audio.constants import PAPER_FRAMES_PER_SECOND
from speechbrain_dynsnet.model.architecture import LAST_STAGE, Architecture
from speechbrain_dynsnet.model.network import DynamicNsNet2


@dataclass(frozen=True)
class ExitCost:
    """Multiply-accumulates of the weights, leaving at one exit.

    Arguments
    ---------
    exit : int
        The stage.
    macs_per_frame : int
        Biases, activations and the STFT are not counted, as in the paper.
    share_of_deepest, share_of_baseline : float
        Against this model's deepest exit, and against nsNet2 as it is (2,777,000).
    """

    exit: int
    macs_per_frame: int
    share_of_deepest: float
    share_of_baseline: float

    @property
    def macs_per_second(self) -> int:
        """For a second of audio, by the paper's count of 63 frames."""
        return self.macs_per_frame * PAPER_FRAMES_PER_SECOND


def exit_costs(network: DynamicNsNet2) -> list[ExitCost]:
    """The cost of each exit of a network, shallow to deep (arXiv 2308.16678, Table 1)."""
    deepest = network.macs_per_frame()
    baseline = DynamicNsNet2(Architecture("baseline", (LAST_STAGE,))).macs_per_frame()
    return [
        ExitCost(exit, macs, macs / deepest, macs / baseline)
        for exit in network.exits
        for macs in [network.macs_per_frame(exit)]
    ]
