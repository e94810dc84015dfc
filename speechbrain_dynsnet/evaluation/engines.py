"""The ways of running a model that are measured: torch, and the runtime on onnxruntime.

torch is imported only where it runs the model, so that the runtime can be measured in a process without it. onnxruntime
is told to use one thread here; torch's threads are the caller's to set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
RunFrame = Callable[[Array], Array]
RunFile = Callable[[Array], Array]

TORCH, RUNTIME = "torch", "runtime"


@dataclass(frozen=True)
class Engine:
    """Names what to run, so that another process can open it too.

    Arguments
    ---------
    name : str
        `torch` or `runtime`.
    path : Path
        For torch a bundle or public nsNet2 weights (.npz), for the runtime what `export_onnx` wrote for this exit.
    exit : int
        Where to leave.
    """

    name: str
    path: Path
    exit: int

    def open_frames(self) -> RunFrame:
        """A function from the features of the next frame, (1, 1, bins), to its mask; it carries the states on."""
        return _OPENERS[self.name][0](self.path, self.exit)

    def open_files(self) -> RunFile:
        """A function from a whole noisy signal to the enhanced one, (1, samples) at 16 kHz."""
        return _OPENERS[self.name][1](self.path, self.exit)


def _torch_frames(path: Path, exit: int) -> RunFrame:
    import torch

    from speechbrain_dynsnet.model.importing import load_network

    network = load_network(path)
    state = network.initial_state(1)

    @torch.inference_mode()
    def run(features: Array) -> Array:
        nonlocal state
        mask, state = network(torch.from_numpy(features), state, exit)
        return np.asarray(mask)

    return run


def _torch_files(path: Path, exit: int) -> RunFile:
    import torch

    from speechbrain_dynsnet.model.enhance import enhance
    from speechbrain_dynsnet.model.importing import load_network

    network = load_network(path)

    @torch.inference_mode()
    def run(noisy: Array) -> Array:
        return np.asarray(enhance(network, torch.from_numpy(noisy), (exit,))[0])

    return run


def _runtime_frames(path: Path, exit: int) -> RunFrame:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    states = {
        info.name: np.zeros((1, 1, info.shape[-1]), np.float32)
        for info in session.get_inputs()
        if info.name.startswith("state_")
    }
    outputs = ["mask", *(f"new_{name}" for name in states)]

    def run(features: Array) -> Array:
        results: list[Any] = session.run(outputs, {"features": features, **states})
        states.update(zip(states, results[1:], strict=True))
        return np.asarray(results[0])

    return run


def _runtime_files(path: Path, exit: int) -> RunFile:
    from speechbrain_dynsnet.runtime.enhancer import Enhancer

    return Enhancer(path, threads=1).enhance


_OPENERS: dict[str, tuple[Callable[[Path, int], RunFrame], Callable[[Path, int], RunFile]]] = {
    TORCH: (_torch_frames, _torch_files),
    RUNTIME: (_runtime_frames, _runtime_files),
}
