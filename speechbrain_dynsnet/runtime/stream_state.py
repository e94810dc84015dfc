"""Where a stream is in its signal, as plain values, and the check of one that comes from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import HOP, WINDOW
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.fade import FADE_FRAMES

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)  # two arrays have no one answer to whether they are equal
class StreamState:
    """What `Stream.save_state` returns."""

    fingerprint: str  # of the model
    dtype: str | None  # of the signal; None before its first sample
    started: bool
    bad_before: int  # bad samples of the hop before
    last_exit: int | None
    pending: Array  # samples that are no whole hop yet
    delayed: Array | None  # samples that a fixed delay holds back
    history: Array
    overlap: Array
    mask: Array
    held: Array
    fade_frame: int
    network: tuple[Array, ...]


def check_state(state: Any, own: StreamState, exits: tuple[int, ...]) -> None:
    """InputError for a state that a stream of this model cannot go on from.

    Arguments
    ---------
    state : StreamState
        The one to check.
    own : StreamState
        Of the stream that is to load it: its arrays have the right shapes.
    exits : tuple of int
        Of the model.
    """
    if not isinstance(state, StreamState) or state.fingerprint != own.fingerprint:
        raise InputError("the state is not of this model; load one that a stream of it saved")
    if (state.delayed is None) != (own.delayed is None):
        raise InputError(f"the state is of a stream with fixed_delay={own.delayed is None}; make this one so too")
    is_whole = (
        state.dtype in (None, "float32", "int16")
        and isinstance(state.started, bool)
        and state.bad_before in range(HOP + 1)
        and (state.last_exit is None or state.last_exit in exits)
        and state.fade_frame in range(FADE_FRAMES + 1)
        and _is_array(state.pending)  # as they came: they may well be NaN
        and state.pending.shape in ((size,) for size in range(HOP))
        and (state.delayed is None or _is_like(state.delayed, np.empty(WINDOW - _on_the_way(state))))
        and isinstance(state.network, tuple)
        and len(state.network) == len(own.network)
        and all(_is_like(one, wanted) for one, wanted in zip(state.network, own.network, strict=True))
        and all(_is_like(getattr(state, name), getattr(own, name)) for name in ("history", "overlap", "mask", "held"))
    )
    if not is_whole:
        raise InputError("the state is damaged: a shape, a type or a value is not what a stream saves; save it again")


def _on_the_way(state: StreamState) -> int:
    """Samples that went in and did not come out of the frames."""
    return len(state.pending) + HOP * state.started


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float32


def _is_like(value: Any, wanted: NDArray[Any]) -> bool:
    return _is_array(value) and value.shape == wanted.shape and bool(np.isfinite(value).all())
