"""Denoise recordings with an exported model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.suppressor import MaskStream, Suppressor
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.format import ANY, FEATURES
from speechbrain_dynsnet.runtime.frames import FrameRunner
from speechbrain_dynsnet.runtime.model import WHOLE_FILE_MODEL, RuntimeModel

if TYPE_CHECKING:
    from speechbrain_dynsnet.audio.enhancement import FileFacts
    from speechbrain_dynsnet.audio.files import Audio

Array = NDArray[np.float32]
_BLOCK = 64000  # samples of 16 kHz


class Enhancer:
    """Whole signals through a model that `dynsnet export` wrote, whatever number of frames a call it takes.

    Files with an open time axis (`--frames any`) are the fastest here. Memory does not grow with a recording's length.

    Arguments
    ---------
    model : str, Path, RuntimeModel or None
        The `.onnx` file, or a loaded one; None is the one in this package for whole files.
    threads : int
        Cores to use, for a file that is not loaded yet.

    Raises
    ------
    InputError
        For a file that `RuntimeModel` refuses, or one with the STFT inside.
    """

    def __init__(self, model: str | Path | RuntimeModel | None = None, threads: int = 1) -> None:
        self.model = (
            model
            if isinstance(model, RuntimeModel)
            else RuntimeModel(WHOLE_FILE_MODEL if model is None else model, threads)
        )
        if self.model.signal != FEATURES:
            raise InputError(f"{self.model.path}: has the STFT inside; export it without --waveform for recordings")

    @property
    def exits(self) -> tuple[int, ...]:
        """The exits in the file, ascending."""
        return self.model.exits

    def check_exit(self, exit: int | None) -> int:
        """The exit (None: the deepest); InputError when it is not in the file."""
        return self.model.check_exit(exit)

    def enhance(self, samples: Array, exit: int | None = None) -> Array:
        """Denoise signals at 16 kHz: (channels, time) float32, to the same shape; each channel by itself."""
        suppressor = Suppressor(self.start(len(samples), self.check_exit(exit)), len(samples))
        blocks = range(0, samples.shape[-1], _BLOCK)
        results = [suppressor.process(samples[:, begin : begin + _BLOCK].T) for begin in blocks]
        enhanced = np.concatenate([result.enhanced for result in (*results, suppressor.finish())])
        return np.ascontiguousarray(enhanced.T)

    def enhance_audio(self, audio: Audio, exit: int | None = None, **choices: Any) -> Audio:
        """Denoise a recording of any rate and number of channels.

        Arguments
        ---------
        audio : Audio
            What `speechbrain_dynsnet.audio.files.read_audio` returns.
        exit : int or None
            One of `exits`; None is the deepest.
        **choices
            The other fields of `speechbrain_dynsnet.audio.enhancement.Settings`, such as `attenuation_limit_db`.

        Returns
        -------
        Audio
            Of the same rate, channels, length and encoding.

        Raises
        ------
        InputError
            For an exit that the file lacks, or a choice that there is not.
        """
        from speechbrain_dynsnet.audio.enhancement import Settings, enhance_audio

        return enhance_audio(self, audio, Settings(exit=exit, **choices))

    def enhance_file(
        self,
        path: str | Path,
        output_filename: str | Path,
        exit: int | None = None,
        *,
        in_place: bool = False,
        progress: Callable[[int], None] | None = None,
        **choices: Any,
    ) -> FileFacts:
        """Denoise a file of any length in little memory: see `speechbrain_dynsnet.audio.enhancement.enhance_file`."""
        from speechbrain_dynsnet.audio.enhancement import Settings, enhance_file

        return enhance_file(self, path, output_filename, Settings(exit=exit, **choices), in_place, progress)

    def start(self, channels: int, exit: int) -> MaskStream:
        """Begin a signal: a function from the next frames' features to their masks, which keeps the states.

        Arguments
        ---------
        channels : int
            How many; each has states of its own.
        exit : int
            One of `exits`.

        Returns
        -------
        callable
            (frames, channels, 257) float32 to the same shape, any number of frames a call.
        """
        exit = self.check_exit(exit)
        if self.model.frames == ANY:
            return _AnyFrames(self.model, channels, exit)
        if self.model.frames == 1:
            return _OneFrame(self.model, channels, exit)
        return _FixedFrames(self.model, channels, exit)


class _AnyFrames:
    """All frames and channels in one call."""

    def __init__(self, model: RuntimeModel, channels: int, exit: int) -> None:
        self._call = _Call(model, exit)
        self._states = list(model.initial_states(channels).values())

    def __call__(self, features: Array) -> Array:
        masks, self._states = self._call(features, self._states)
        return masks


class _OneFrame:
    """Frame by frame; the channels take turns with one runner, block by block."""

    def __init__(self, model: RuntimeModel, channels: int, exit: int) -> None:
        self._runner = FrameRunner(model)
        self._exit = exit
        self._states = [self._runner.states() for _ in range(channels)]

    def __call__(self, features: Array) -> Array:
        masks = np.empty_like(features)
        for channel, states in enumerate(self._states):
            self._runner.set_states(states)
            for frame, mask in zip(features[:, channel], masks[:, channel], strict=True):
                mask[:] = self._runner.run(frame, self._exit)
            self._states[channel] = self._runner.states()
        return masks


class _FixedFrames:
    """So many frames of one channel a call. Fewer are filled up, and come again in front of the next."""

    def __init__(self, model: RuntimeModel, channels: int, exit: int) -> None:
        self._call = _Call(model, exit)
        self._frames = int(model.frames)
        self._states = [list(model.initial_states().values()) for _ in range(channels)]
        self._begun: Array | None = None  # frames of the last call that was not full, from before which the states are

    def __call__(self, features: Array) -> Array:
        waiting = features if self._begun is None else np.concatenate([self._begun, features])
        known = len(waiting) - len(features)
        whole = len(waiting) // self._frames * self._frames
        self._begun = waiting[whole:]
        masks = np.empty_like(waiting)
        for begin in range(0, len(waiting), self._frames):
            block = waiting[begin : begin + self._frames]
            filled = np.pad(block, ((0, self._frames - len(block)), (0, 0), (0, 0)))
            for channel, states in enumerate(self._states):
                mask, new = self._call(filled[:, [channel]], states)
                masks[begin : begin + len(block), channel] = mask[: len(block), 0]
                if begin < whole:
                    self._states[channel] = new
        return masks[known:]


class _Call:
    """One run of a file with a time axis: features and states in, masks and new states out."""

    def __init__(self, model: RuntimeModel, exit: int) -> None:
        self._model = model
        self._choice = {"exit": np.array(exit, np.int64)} if model.has_choice else {}
        self._outputs = ["mask", *model.new_state_names]

    def __call__(self, features: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        inputs = {"features": features, **dict(zip(self._model.state_names, states, strict=True)), **self._choice}
        mask, *new = self._model.session.run(self._outputs, inputs)
        return mask, new
