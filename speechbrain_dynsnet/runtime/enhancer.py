"""Denoise recordings with an exported model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.stft import istft, log_power, stft
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.format import ANY, FEATURES
from speechbrain_dynsnet.runtime.frames import FrameRunner
from speechbrain_dynsnet.runtime.model import RuntimeModel

if TYPE_CHECKING:
    from speechbrain_dynsnet.audio.files import Audio

Array = NDArray[np.float32]


class Enhancer:
    """Whole signals through a model that `dynsnet export` wrote, whatever number of frames a call it takes.

    Files with an open time axis (`--frames any`) are the fastest here: one call a signal.

    Arguments
    ---------
    model : str, Path, RuntimeModel or None
        The `.onnx` file, or a loaded one; None is the one in this package.
    threads : int
        Cores to use, for a file that is not loaded yet.

    Raises
    ------
    InputError
        For a file that `RuntimeModel` refuses, or one with the STFT inside.
    """

    def __init__(self, model: str | Path | RuntimeModel | None = None, threads: int = 1) -> None:
        self.model = model if isinstance(model, RuntimeModel) else RuntimeModel(model, threads)
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
        spectrum = stft(samples)
        return istft(spectrum * self.masks(log_power(spectrum), exit), samples.shape[-1])

    def masks(self, features: Array, exit: int | None = None) -> Array:
        """Gains for features, both (channels, frames, 257); every channel begins with zero states."""
        exit = self.check_exit(exit)
        if self.model.frames == ANY:
            return self._in_one_call(features, exit)
        if self.model.frames == 1:
            runner = FrameRunner(self.model)
            return np.stack([_frame_by_frame(runner, channel, exit) for channel in features])
        return np.stack([self._in_blocks(channel, exit, int(self.model.frames)) for channel in features])

    def enhance_audio(self, audio: Audio, exit: int | None = None) -> Audio:
        """Denoise a recording of any rate, each channel by itself.

        Arguments
        ---------
        audio : Audio
            What `speechbrain_dynsnet.audio.files.read_audio` returns.
        exit : int or None
            One of `exits`; None is the deepest.

        Returns
        -------
        Audio
            Of the same rate, channels, length and encoding.
        """
        from speechbrain_dynsnet.audio.resample import process_at

        exit = self.check_exit(exit)
        samples = process_at(SAMPLE_RATE, lambda at_16k: self.enhance(at_16k, exit), audio.samples, audio.rate)
        return replace(audio, samples=samples)

    def _in_one_call(self, features: Array, exit: int) -> Array:
        states = self.model.initial_states(channels=len(features))
        (masks,) = self._call(["mask"], np.ascontiguousarray(features.transpose(1, 0, 2)), states, exit)
        return np.ascontiguousarray(masks.transpose(1, 0, 2))

    def _in_blocks(self, features: Array, exit: int, frames: int) -> Array:
        """One channel, (frames, 257): so many frames a call. What the last block lacks is filled up, and cut off."""
        states = self.model.initial_states()
        blocks = np.pad(features, ((0, -len(features) % frames), (0, 0))).reshape(-1, frames, 1, features.shape[-1])
        masks = np.empty_like(blocks)
        names = ["mask", *self.model.new_state_names]
        for number, block in enumerate(blocks):
            masks[number], *new = self._call(names, block, states, exit)
            states = dict(zip(states, new, strict=True))
        return masks.reshape(-1, features.shape[-1])[: len(features)]

    def _call(self, outputs: list[str], features: Array, states: dict[str, Array], exit: int) -> list[Array]:
        choice = {"exit": np.array(exit, np.int64)} if self.model.has_choice else {}
        results: list[Array] = self.model.session.run(outputs, {"features": features, **states, **choice})
        return results


def _frame_by_frame(runner: FrameRunner, features: Array, exit: int) -> Array:
    """The masks of one channel, (frames, 257)."""
    runner.reset()
    masks = np.empty_like(features)
    for frame, mask in zip(features, masks, strict=True):
        mask[:] = runner.run(frame, exit)
    return masks
