"""Denoise a signal while it arrives: chunks of any length in, what is ready out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import BINS, HOP, SAMPLE_RATE, WINDOW
from speechbrain_dynsnet.audio.pcm import from_int16, to_int16, without_bad_samples
from speechbrain_dynsnet.audio.stft import fill_empty_bins
from speechbrain_dynsnet.audio.streaming import StreamingStft
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.arguments import is_number
from speechbrain_dynsnet.runtime.chunk_guard import ChunkGuard
from speechbrain_dynsnet.runtime.fade import MaskFade
from speechbrain_dynsnet.runtime.frame_times import FrameTimes, StreamStats
from speechbrain_dynsnet.runtime.frames import FrameRunner
from speechbrain_dynsnet.runtime.governor import Governor
from speechbrain_dynsnet.runtime.model import RuntimeModel
from speechbrain_dynsnet.runtime.stream_state import StreamState, check_state

Array = NDArray[np.float32]
Samples = NDArray[Any]  # float32 or int16


class Surroundings(Protocol):
    """A stream that another one runs inside, as at another rate."""

    @property
    def empty_from(self) -> int:
        """The first bin in which the signal has nothing: see `first_empty_bin`."""

    def bad_samples(self, hop: int) -> int:
        """So many samples of 16 kHz stand for bad ones in the hop of this number; each is asked for once, in turn."""

    def take_mask(self, mask: Array) -> None:
        """The mask of the next frame, (257,) float32, valid until the next one."""


class Stream:
    """One signal at 16 kHz, one channel; several streams can share a loaded model.

    A stream belongs to one thread at a time; streams of one model may run in several. After an exception in the middle
    of a chunk (Ctrl-C) it takes no more until `reset` or `load_state`.

    The output is that of the whole signal, in step with the input: `process` returns what is ready, `flush` the rest,
    and together they are as long as the input. A sample comes out at the latest when the 511th after it goes in
    (`latency_samples` is 512, 32 ms).

    NaN, infinite and absurd samples (beyond 1e9) are taken as 0 and counted. A frame of which they are half or more
    does not reach the network, which has never seen the like: states and mask stay as they are until it is over.
    The network then lacks what it would have heard meanwhile, and its memory is longer than a second: of speech that
    peaks at 0.24, at the deepest exit, what is left of a burst of 0.1 s is 0.002 a second later (median; the most of 21
    places is 0.015) and of one of 1 s 0.009 (0.022); three seconds later it is at most 0.003 and 0.007. Frames of
    silence instead would leave 0.024 after either.

    When the exit changes, masks are cross-faded over 4 frames (see `MaskFade`), and recurrent states of stages that do
    not run stay as they are.

    Arguments
    ---------
    model : str, Path, RuntimeModel or None
        An exported file of one frame a call, or one that is loaded already. None is the model in this package.
    exit : int or None
        Where to leave the model; None is the deepest exit in the file. With a budget, the deepest to use.
    attenuation_limit_db : float or None
        No frequency is turned down by more than this; 0 leaves the signal as it is. None sets no limit.
    budget_ms : float or None
        Time for a frame, of the 16 ms that it has: when one takes longer, earlier exits run for a while (see
        `Governor`).
    fixed_delay : bool
        For audio callbacks: `process` returns as many samples as it takes, the signal delayed by exactly
        `latency_samples`; what it holds back comes with `flush`.
    clock : callable
        Seconds, from any start.

    Raises
    ------
    InputError
        For a file that `RuntimeModel` refuses or that takes more than a frame a call, an exit that is not in it, or a
        limit or budget out of range.

    Example
    -------
    >>> stream = Stream()
    >>> for chunk in np.split(np.zeros(16000, np.float32), 10):
    ...     enhanced = stream.process(chunk)
    >>> rest = stream.flush()
    """

    latency_samples = WINDOW
    latency_ms = 1000 * WINDOW / SAMPLE_RATE

    def __init__(
        self,
        model: str | Path | RuntimeModel | None = None,
        exit: int | None = None,
        attenuation_limit_db: float | None = None,
        budget_ms: float | None = None,
        fixed_delay: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.model = _model(model)
        self._exit = self.model.check_exit(exit)
        self._floor = None if attenuation_limit_db is None else _gain(attenuation_limit_db)
        self._governor = None if budget_ms is None else Governor(self.model.macs_per_frame, budget_ms, self._exit)
        self._fixed_delay = fixed_delay
        self._clock = clock
        self._runner = FrameRunner(self.model)
        self._stft = StreamingStft()
        self._surroundings: Surroundings | None = None
        self._guard = ChunkGuard()
        self._fade = MaskFade()
        self._times = FrameTimes(self.model.exits, math.inf if budget_ms is None else budget_ms / 1000)
        self._bad_samples = 0
        self._pending = np.zeros(HOP, np.float32)
        self._dtype: np.dtype[Any] | None  # of the signal, once a sample came
        self.reset()

    @property
    def exit(self) -> int:
        """Where to leave the model from the next frame on; the deepest to use, with a budget."""
        return self._exit

    @exit.setter
    def exit(self, exit: int | None) -> None:
        self._exit = self.model.check_exit(exit)
        if self._governor is not None:
            self._governor.ceiling = self._exit

    @property
    def current_exit(self) -> int:
        """Where the next frame leaves: `exit`, or an earlier one to stay within the budget."""
        return self._exit if self._governor is None else self._governor.exit

    @property
    def stats(self) -> StreamStats:
        """Times and counts since the stream was made."""
        return self._times.stats(self._bad_samples)

    def process(self, samples: Samples) -> Samples:
        """Take in the next chunk, of any length.

        Arguments
        ---------
        samples : array
            (time,) float32, full scale 1, or int16; of one type from the first chunk to the flush.

        Returns
        -------
        array
            (time,) of the same type: what is ready, which can be nothing; with a fixed delay, as many as went in.

        Raises
        ------
        InputError
            For anything else; the stream is then as it was.
        """
        self._check(samples)
        with self._guard.chunk():
            if len(samples):
                self._dtype = samples.dtype
            floats = from_int16(samples) if samples.dtype == np.int16 else samples
            return self._deliver(self._advance(floats), len(samples), samples.dtype)

    def flush(self) -> Samples:
        """End the signal: the samples that are still to come, of the type that went in. Then the stream begins anew."""
        with self._guard.chunk():
            left = self._filled + HOP * (self._hops > 0)
            padding = -self._filled % HOP + HOP if left else 0
            ready = self._advance(np.zeros(padding, np.float32))[:left]
            rest = self._deliver(ready, self.latency_samples, self._dtype)
        self.reset()
        return rest

    def reset(self) -> None:
        """Forget the signal and begin a new one. Exit, budget and statistics stay."""
        self._guard.reset()
        self._dtype = None
        self._filled = 0  # samples of `_pending`
        self._hops = 0
        self._bad_before = 0  # bad samples of the hop before
        self._last_exit: int | None = None
        self._delayed = np.zeros(self.latency_samples, np.float32) if self._fixed_delay else None
        self._stft.reset()
        self._fade.stop()
        self._runner.reset()

    def save_state(self) -> StreamState:
        """Where the stream is in its signal, to go on exactly from there: later, or in another stream of this model."""
        with self._guard.chunk():
            return self._state()

    def load_state(self, state: StreamState) -> None:
        """Go on from there. The exit, the limit and the budget are this stream's own.

        Raises
        ------
        InputError
            For a state of another model, of a stream that differs in `fixed_delay`, or a damaged one; this stream is
            then as it was.
        """
        check_state(state, self._state(), self.model.exits)
        self._guard.reset()
        with self._guard.chunk():
            self._load(state)

    def _load(self, state: StreamState) -> None:
        self._dtype = None if state.dtype is None else np.dtype(state.dtype)
        self._hops = int(state.started)  # whether there were some is all that matters
        self._bad_before = state.bad_before
        self._last_exit = state.last_exit
        self._filled = len(state.pending)
        self._pending[: self._filled] = state.pending
        self._delayed = None if state.delayed is None else state.delayed.copy()
        self._stft.history[:] = state.history
        self._stft.overlap[:] = state.overlap
        self._runner.mask[:] = state.mask
        self._runner.set_states(state.network)
        self._fade.held, self._fade.frame = state.held.copy(), state.fade_frame

    def put_into(self, surroundings: Surroundings) -> None:
        """Let this stream run inside another one from now on; InputError when it is not at its start."""
        if self._fixed_delay:
            raise InputError("the stream has a fixed delay of its own: ask the outer one for it, fixed_delay=True")
        if self._filled or self._hops or self._surroundings is not None:
            raise InputError("the stream is in use: give one that has not begun")
        self._surroundings = surroundings

    def _state(self) -> StreamState:
        return StreamState(
            fingerprint=self.model.fingerprint,
            dtype=None if self._dtype is None else self._dtype.name,
            started=self._hops > 0,
            bad_before=self._bad_before,
            last_exit=self._last_exit,
            pending=self._pending[: self._filled].copy(),
            delayed=None if self._delayed is None else self._delayed.copy(),
            history=self._stft.history.copy(),
            overlap=self._stft.overlap.copy(),
            mask=self._runner.mask.copy(),
            held=self._fade.held.copy(),
            fade_frame=self._fade.frame,
            network=tuple(self._runner.states()),
        )

    def _check(self, samples: Samples) -> None:
        """InputError for samples that are not as they must be."""
        if not isinstance(samples, np.ndarray):
            raise InputError(f"samples are a {type(samples).__name__}: give a numpy array of float32 or int16")
        if samples.ndim != 1:
            raise InputError(f"samples have the shape {samples.shape}: give one channel, of shape (time,)")
        if samples.dtype not in (np.float32, np.int16):
            raise InputError(f"samples are {samples.dtype}: give float32, as by `.astype(np.float32)`, or int16")
        if self._dtype not in (None, samples.dtype):
            raise InputError(f"samples are {samples.dtype} after {self._dtype}: flush before you change the type")

    def _advance(self, samples: Array) -> Array:
        """Run the frames that these samples complete; the samples that become ready."""
        hops = (self._filled + len(samples)) // HOP
        before_start = HOP if hops and not self._hops else 0
        ready = np.empty((hops, HOP), np.float32)
        position = 0
        for out in ready:
            if self._filled:
                position = HOP - self._filled
                self._pending[self._filled :] = samples[:position]
                self._filled = 0
                self._run_frame(self._pending, out)
            else:
                self._run_frame(samples[position : position + HOP], out)
                position += HOP
        if position < len(samples):
            left = len(samples) - position
            self._pending[self._filled : self._filled + left] = samples[position:]
            self._filled += left
        return ready.reshape(-1)[before_start:]

    def _run_frame(self, hop: Array, out: Array) -> None:
        """One hop in, the one before it out."""
        start = self._clock()
        exit = self.current_exit
        around = self._surroundings
        hop, bad = without_bad_samples(hop)
        if around is not None:
            bad = around.bad_samples(self._hops)
        features = self._stft.analyse(hop)
        is_audio = bad + self._bad_before < HOP
        if is_audio:
            fill_empty_bins(features, BINS if around is None else around.empty_from)
            self._update_mask(features, exit)
        self._stft.synthesise(self._runner.mask, out)
        if around is not None:
            around.take_mask(self._runner.mask)
        self._hops += 1
        self._bad_samples += bad
        self._bad_before = bad
        seconds = self._clock() - start
        self._times.record(exit, seconds)
        if self._governor is not None and is_audio:
            self._governor.update(1000 * seconds)

    def _update_mask(self, features: Array, exit: int) -> None:
        """The mask of this frame, in the runner's buffer: there the next switch and a bad frame find the last one."""
        if exit != self._last_exit:
            if self._last_exit is not None:
                self._fade.start(self._runner.mask)
            self._last_exit = exit
        mask = self._runner.run(features, exit)
        if self._floor is not None:
            np.maximum(mask, self._floor, out=mask)
        self._fade.apply(mask)

    def _deliver(self, ready: Array, count: int, dtype: np.dtype[Any] | None) -> Samples:
        """Ready samples, or `count` of those that a fixed delay holds back, as the type that went in."""
        if self._delayed is not None:
            waiting = np.concatenate([self._delayed, ready])
            # A copy: a view would keep all of a long chunk in memory.
            ready, self._delayed = waiting[:count], waiting[count:].copy()
        return to_int16(ready) if dtype == np.int16 else ready


def _model(model: Any) -> RuntimeModel:
    """A loaded model as it is, or the one of this path."""
    if isinstance(model, RuntimeModel):
        return model
    if not isinstance(model, str | Path | None):
        raise InputError(f"model is a {type(model).__name__}: give a path, a RuntimeModel, or None")
    return RuntimeModel(model)


def _gain(attenuation_limit_db: float) -> float:
    """The lowest gain, for a limit in dB."""
    if not is_number(attenuation_limit_db) or not 0 <= attenuation_limit_db < math.inf:
        raise InputError(f"attenuation_limit_db is {attenuation_limit_db!r}: give decibels of at least 0")
    return float(10.0 ** (-attenuation_limit_db / 20.0))
