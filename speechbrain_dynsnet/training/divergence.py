"""What tells that training has diverged where no number is infinite: it is worse than before its first step."""

from __future__ import annotations

import math
from pathlib import Path

from speechbrain.utils.checkpoints import mark_as_loader, mark_as_saver, register_checkpoint_hooks

from speechbrain_dynsnet.errors import InputError

GRACE = 3  # epochs that a phase has to get better than it began
_WORSE = 1.1


class Diverged(InputError):
    """Training that goes nowhere."""


@register_checkpoint_hooks
class LossBefore:
    """The validation loss of the weights that a phase begins with; it is kept with the checkpoints.

    Attributes
    ----------
    loss : float
        NaN until it is known.
    """

    def __init__(self) -> None:
        self.loss = math.nan

    def is_exceeded(self, loss: float) -> bool:
        """Whether a loss is clearly above it."""
        return loss > _WORSE * self.loss

    @mark_as_saver  # type: ignore[untyped-decorator]
    def save(self, path: Path) -> None:
        """Write the number."""
        path.write_text(repr(self.loss), encoding="utf-8")

    @mark_as_loader  # type: ignore[untyped-decorator]
    def load(self, path: Path, end_of_epoch: bool) -> None:
        """Read it."""
        self.loss = float(path.read_text(encoding="utf-8"))
