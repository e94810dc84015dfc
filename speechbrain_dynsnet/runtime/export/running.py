"""Runs an exported file the plain way, call by call from silence, for its verification and golden vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

Array = NDArray[np.float32]
_SIGNALS = ("features", "samples")  # inputs that are not carried from call to call


def first_inputs(session: InferenceSession, exit: int = 0) -> dict[str, NDArray[np.generic]]:
    """Zeros for every input, one for an axis that is open, and the exit where the file asks for it."""
    inputs: dict[str, NDArray[np.generic]] = {}
    for info in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in info.shape]
        inputs[info.name] = np.array(exit, np.int64) if info.type == "tensor(int64)" else np.zeros(shape, np.float32)
    return inputs


def run_frames(session: InferenceSession, frames: Array, exit: int) -> tuple[Array, dict[str, Array]]:
    """The output of every frame, and the states after the last call.

    Arguments
    ---------
    session : InferenceSession
        Of an exported file of any kind.
    frames : array
        (frames, size): features, or hops of samples; the last call of a file of T frames is filled up with zeros.
    exit : int
        Where to leave; it must be in the file.

    Returns
    -------
    outputs : array
        (frames, size): masks, or hops of samples.
    states : dict of str to array
        By name; none when the last call was filled up, for then they are not those after the last frame.
    """
    inputs = first_inputs(session, exit)
    names = [info.name for info in session.get_outputs()]
    signal = next(name for name in inputs if name in _SIGNALS)
    shape = next(info.shape for info in session.get_inputs() if info.name == signal)
    per_call = 1 if len(shape) == 2 else shape[0] if isinstance(shape[0], int) else len(frames)
    outputs = []
    filled = np.pad(frames, ((0, -len(frames) % per_call), (0, 0)))
    for start in range(0, len(filled), per_call):
        inputs[signal] = filled[start : start + per_call].reshape([per_call, 1, -1][-len(shape) :])
        results = dict(zip(names, session.run(names, inputs), strict=True))
        outputs.append(results[names[0]].reshape(per_call, -1))
        inputs |= {name: results[f"new_{name}"] for name in inputs if f"new_{name}" in results}
    is_filled = len(filled) > len(frames)
    states = {} if is_filled else {name: value for name, value in inputs.items() if f"new_{name}" in names}
    return np.concatenate(outputs)[: len(frames)], states  # type: ignore[return-value]
