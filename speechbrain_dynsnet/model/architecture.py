"""What a Dynamic nsNet2 is, as data: enough to rebuild the network that a weight file belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from speechbrain_dynsnet.audio.constants import BINS, HOP, POWER_FLOOR, SAMPLE_RATE, WINDOW
from speechbrain_dynsnet.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dynsnet.model.stages import Stage

FAMILIES = ("baseline", "pretrain", "split", "concat")
ADDED_FAMILIES: dict[str, Callable[[Architecture, int], Stage]] = {}  # by `register_family`
LAYER_KINDS = ("fc", "gru", "gru", "fc", "fc", "fc")  # stage 0..5 of nsNet2
FC1_ACTIVATIONS = ("relu", "none")
LAST_STAGE = len(LAYER_KINDS) - 1
_SIZES = ("hidden_size", "dense_size", "feature_size", "sample_rate", "window", "hop", "bins")
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Architecture:
    """The family, the exits, the sizes and the STFT of one network.

    Arguments
    ---------
    family : str
        `baseline`, `pretrain`, `split`, `concat`, or one that `register_family` added.
    exits : sequence of int
        Stages (0..5) whose mask may be the output, ascending. The stages after the last one are not built.
    fc1_activation : str
        `relu`, or `none` for public nsNet2 weights, which have no activation after the first layer.
        Only the chain families (`baseline`, `pretrain`) know `none`.
    hidden_size, dense_size : int
        Width of stages 0..2 and of stages 3..4 of the chain families.
    feature_size : int
        Width of the feature layers of `split` and `concat`.
    sample_rate, window, hop, bins : int
        The STFT that the network was trained with (Hz, samples, samples, frequency bins).
    power_floor : float
        The constant inside the logarithm of the features.

    Raises
    ------
    InputError
        For a family, exit or activation that does not exist, or sizes that make no network.
    """

    family: str
    exits: tuple[int, ...]
    fc1_activation: str = "relu"
    hidden_size: int = 400
    dense_size: int = 600
    feature_size: int = 128
    sample_rate: int = SAMPLE_RATE
    window: int = WINDOW
    hop: int = HOP
    bins: int = BINS
    power_floor: float = POWER_FLOOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "exits", check_exits(self.exits))
        if self.family not in (known := (*FAMILIES, *ADDED_FAMILIES)):
            raise InputError(
                f"no family {self.family!r}: choose one of {', '.join(known)}, or register yours first; a newer "
                "version of this package may have more"
            )
        if self.fc1_activation not in FC1_ACTIVATIONS:
            raise InputError(f"fc1_activation is {self.fc1_activation!r}: choose relu or none")
        if self.fc1_activation == "none" and not self.is_chain:
            raise InputError(f"fc1_activation: none is for baseline and pretrain, not {self.family}")
        if self.family == "baseline" and self.exits != (LAST_STAGE,):
            raise InputError(
                f"the baseline has the one exit [{LAST_STAGE}], not {list(self.exits)}: "
                "choose pretrain, split or concat for more"
            )
        for name in _SIZES:
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r}: give a whole number of at least 1")
        if self.is_chain and min(self.hidden_size, self.dense_size) < self.bins:
            raise InputError(
                f"hidden_size {self.hidden_size} and dense_size {self.dense_size}: the mask is the first "
                f"{self.bins} features of a stage, give at least that many"
            )

    @property
    def is_chain(self) -> bool:
        """Whether every stage is one layer (`baseline`, `pretrain`), not a mask and a feature layer."""
        return self.family in ("baseline", "pretrain")

    @property
    def deepest(self) -> int:
        """The last exit, and so the last stage that is built."""
        return self.exits[-1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML."""
        return asdict(self) | {"exits": list(self.exits)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """The inverse of `to_dict`; an unknown or missing name raises InputError."""
        if not isinstance(values, Mapping):
            raise InputError(f"the architecture is {values!r}: it must map names to values; fetch the model again")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(
                f"the architecture has unknown entries {unknown}: it is of a newer version, update the package"
            )
        if missing := sorted(known - set(values)):
            raise InputError(f"the architecture lacks {missing}")
        return cls(**values)


def register_family(name: str, make_stage: Callable[[Architecture, int], Stage]) -> None:
    """Add a family of your own, for as long as this process runs.

    Whoever loads a bundle of that family must have registered it before; an exported file needs nothing.

    Arguments
    ---------
    name : str
        What `family` is then called, in lower case. A name that was registered before gets the new stages.
    make_stage : callable
        (architecture, stage number 0..deepest exit) to the stage, as `model.stages` has them. Stage 0 reads the
        `bins` features, and every stage emits `bins` mask features.

    Raises
    ------
    InputError
        For the name of a family of this package, or one that is no lower-case word.
    """
    if name in FAMILIES:
        raise InputError(f"the family {name!r} is there already: give yours another name")
    if not (name.isidentifier() and name.islower()):
        raise InputError(f"{name!r} names no family: give a word in lower case")
    ADDED_FAMILIES[name] = make_stage


def check_exits(exits: Sequence[int]) -> tuple[int, ...]:
    """`exits` as an ascending tuple; raises InputError for an empty, repeated or impossible set."""
    if not isinstance(exits, Sequence) or not all(type(exit) is int for exit in exits):
        raise InputError(f"exits is {exits!r}: give a list of stage numbers, such as [0, 1, 3, 5]")
    if not exits or len(set(exits)) < len(exits) or not set(exits) <= set(range(LAST_STAGE + 1)):
        raise InputError(f"exits is {list(exits)}: give each stage number from 0 to {LAST_STAGE} at most once")
    return tuple(sorted(exits))
