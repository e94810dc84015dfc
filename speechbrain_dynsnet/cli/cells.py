"""The trainings of the paper's grid: which ones, in what order, with which seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.configurations import PAPER_CONFIGURATIONS, Configuration
from speechbrain_dynsnet.evaluation.summary import BASELINE

REPEATED = "concat_joint_0135"  # comes first, and is trained with every seed
HALF = "baseline_half"  # what `pretrain` starts from: its hours are in the budget of those cells


@dataclass(frozen=True)
class Cell:
    """One training.

    Arguments
    ---------
    name : str
        Of its folder.
    configuration : Configuration
        What is trained.
    seed : int
        Of weights and data.
    share : float
        Of the budget; the rest goes to
    start : str or None
        the cell whose model it starts from.
    """

    name: str
    configuration: Configuration
    seed: int
    share: float = 1.0
    start: str | None = None

    @property
    def is_row(self) -> bool:
        """Whether it is in the table: all that got the whole budget are."""
        return self.share == 1.0 or self.start is not None


def baseline_cell(cells: Sequence[Cell]) -> Cell:
    """What the others are measured by."""
    return next(cell for cell in cells if cell.is_row and cell.configuration.family == BASELINE)


def read_seeds(text: str | None) -> list[int]:
    """Different whole numbers with commas between; InputError for anything else."""
    words = [] if text is None else text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise InputError(f"--seeds is {text!r}: give whole numbers with commas between, such as 1,2,3")
    return list(dict.fromkeys(map(int, words)))


def make_cells(own_seed: int, seeds: Sequence[int] = ()) -> list[Cell]:
    """All cells, in the order of training.

    A name tells the grid's seed unless it is the recipe's own: a grid can be trained with another beside the first.
    """

    def name(base: str, seed: int) -> str:
        return base if seed == own_seed else f"{base}_seed{seed}"

    seed, *more = seeds or (own_seed,)
    half = name(HALF, seed)
    cells = [Cell(half, PAPER_CONFIGURATIONS[0], seed + 1, 0.5)]  # so that `pretrain` hears other pairs than it did
    for one in sorted(
        PAPER_CONFIGURATIONS, key=lambda one: (one.family != BASELINE, one.slug != REPEATED, one.scheme != "joint")
    ):
        share, start = (0.5, half) if one.family == "pretrain" else (1.0, None)
        cells.append(Cell(name(one.slug, seed), one, seed, share, start))
    repeated = next(one for one in PAPER_CONFIGURATIONS if one.slug == REPEATED)
    return cells + [Cell(name(REPEATED, seed), repeated, seed) for seed in more]


def choose(cells: Sequence[Cell], only: str | None) -> list[Cell]:
    """The cells that are asked for, and those that they start from; InputError for a name that is none."""
    names = [cell.name for cell in cells]
    asked = set(names) if only is None else {name.strip() for name in only.split(",")}
    if unknown := sorted(asked.difference(names)):
        raise InputError(f"--only: no cell is called {unknown[0]!r}; there are {', '.join(names)}")
    asked |= {cell.start for cell in cells if cell.name in asked and cell.start is not None}
    return [cell for cell in cells if cell.name in asked]
