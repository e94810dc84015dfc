"""What a user chooses for a recording, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from speechbrain_dynsnet.errors import InputError

HIGH_BANDS = ("follow", "drop", "keep")
CHANNEL_WAYS = ("each", "linked", "mono")


@dataclass(frozen=True)
class Settings:
    """What a user chooses for a recording.

    Arguments
    ---------
    exit : int or None
        Where to leave the model; None is the deepest exit.
    attenuation_limit_db : float or None
        Nothing is lowered by more than this, at any frequency: a floor under the mask. None is no limit.
    mix : float
        Share of the enhanced signal in the result, 0 to 1; the rest is the input.
    high_band : str
        What happens above 8 kHz, which the model does not see: `follow` (the gain of the model's highest bands),
        `drop` or `keep`.
    channels : str or None
        `each` by itself, `linked` (one mask for all, so that nothing moves from side to side) or `mono` (the average of
        all, in every channel). None is linked for two channels and each otherwise.

    Raises
    ------
    InputError
        For a value out of its range.
    """

    exit: int | None = None
    attenuation_limit_db: float | None = None
    mix: float = 1.0
    high_band: str = "follow"
    channels: str | None = None

    def __post_init__(self) -> None:
        limit = self.attenuation_limit_db
        if limit is not None and not (isinstance(limit, Real) and math.isfinite(limit) and limit >= 0):
            raise InputError(
                f"attenuation_limit_db is {limit!r}: give decibels of at least 0, or leave it out for no limit"
            )
        if not (isinstance(self.mix, Real) and 0 <= self.mix <= 1):  # NaN is not either
            raise InputError(f"mix is {self.mix!r}: give the share of the enhanced signal, 0 to 1")
        if self.high_band not in HIGH_BANDS:
            raise InputError(f"high_band is {self.high_band!r}: choose one of {', '.join(HIGH_BANDS)}")
        if self.channels is not None and self.channels not in CHANNEL_WAYS:
            raise InputError(f"channels is {self.channels!r}: choose one of {', '.join(CHANNEL_WAYS)}")

    @property
    def floor(self) -> float:
        """The least gain, from the limit."""
        return 0.0 if self.attenuation_limit_db is None else 10.0 ** (-self.attenuation_limit_db / 20)

    def way_of(self, channels: int) -> str:
        """What is done with so many channels: one of `CHANNEL_WAYS`."""
        return self.channels or ("linked" if channels == 2 else "each")
