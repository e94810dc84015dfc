"""Runs a model frame by frame, with its states: buffers are bound once, and a frame allocates nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import BINS
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.format import FEATURES
from speechbrain_dynsnet.runtime.model import ONNX_ERRORS, RuntimeModel, not_ours

Array = NDArray[np.float32]


class FrameRunner:
    """One signal's place in a model.

    Two sets of states take turns as input and output of the graph, so that none is copied. Every exit runs once at the
    start: onnxruntime allocates on first use, and no frame of the signal should wait for that.

    Arguments
    ---------
    model : RuntimeModel
        Of one frame a call, from features to a mask. Any number of runners can share it, from any threads.

    Raises
    ------
    InputError
        For a file of another kind, or a damaged one that does not run.
    """

    def __init__(self, model: RuntimeModel) -> None:
        if model.signal != FEATURES:
            raise InputError(f"{model.path}: has the STFT inside; export it without --waveform for this use")
        if model.frames != 1:
            raise InputError(
                f"{model.path}: takes {model.frames} frames a call; export it without --frames for this use"
            )
        self._session = model.session
        self._features = np.zeros((1, BINS), np.float32)
        self._exit = np.zeros((), np.int64)
        self._mask = np.zeros((1, BINS), np.float32)
        self._states = [list(model.initial_states().values()) for _ in range(2)]
        self._turn = 0
        self.mask: Array = self._mask[0]  # what `run` gave last
        try:
            self._bindings = [self._bind(model, *states) for states in (self._states, self._states[::-1])]
            for exit in model.exits:
                self.run(self._features[0], exit)
        except ONNX_ERRORS as error:
            raise not_ours(model.path, error) from error
        self.reset()

    def run(self, features: Array, exit: int) -> Array:
        """The mask of the next frame.

        Arguments
        ---------
        features : array
            (257,) float32, natural log of the power spectrum.
        exit : int
            One of the model's exits.

        Returns
        -------
        array
            (257,) float32, gains in [0, 1]: always the same buffer, which the caller may change until the next call.
        """
        self._features[0] = features
        self._exit[...] = exit
        self._session.run_with_iobinding(self._bindings[self._turn])
        self._turn ^= 1
        return self.mask

    def states(self) -> list[Array]:
        """Copies of the states that the next frame will read."""
        return [state.copy() for state in self._states[self._turn]]

    def set_states(self, states: Sequence[Array]) -> None:
        """Go on from what `states` returned, of this runner or another of the same model."""
        for own, given in zip(self._states[self._turn], states, strict=True):
            own[...] = given

    def reset(self) -> None:
        """Begin a new signal; until its first frame has run, the mask is 1."""
        self.mask.fill(1.0)
        for state in self._states[self._turn]:
            state.fill(0.0)

    def _bind(self, model: RuntimeModel, old: list[Array], new: list[Array]) -> onnxruntime.IOBinding:
        binding = self._session.io_binding()
        inputs = {"features": self._features, **dict(zip(model.state_names, old, strict=True))}
        choice = {"exit": self._exit} if model.has_choice else {}
        outputs = {"mask": self._mask, **dict(zip(model.new_state_names, new, strict=True))}
        for name, array in (inputs | choice).items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return binding
