"""The ways of running a model that are measured: torch, and the runtime on onnxruntime in float32 and in int8.

torch is imported only where it runs the model, so that the runtime can be measured in a process without it. onnxruntime
uses one thread here; torch's threads are the caller's to set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.runtime import format as words

if TYPE_CHECKING:
    from speechbrain_dynsnet.runtime.stream import Stream

Array = NDArray[np.float32]
RunFrame = Callable[[Array], Array]
RunFile = Callable[[Array], Array]

TORCH, RUNTIME, INT8 = ENGINES = ("torch", "runtime", "int8")
PRECISIONS = {RUNTIME: words.FP32, INT8: words.INT8}  # of the engines that run exported files, and have streams


@dataclass(frozen=True)
class Engine:
    """Names what to run, so that another process can open it too.

    Arguments
    ---------
    name : str
        `torch`, `runtime` or `int8`.
    frames_path, files_path : Path
        For torch both are a bundle or public nsNet2 weights (.npz). For the others what `export_onnx` wrote in the
        precision of `PRECISIONS`, with one frame a call and with any number.
    exit : int
        Where to leave: one of those that the file holds.
    """

    name: str
    frames_path: Path
    files_path: Path
    exit: int

    def open_frames(self) -> RunFrame:
        """A function from the features of the next frame, (257,), to its mask; it carries the states on."""
        if self.name == TORCH:
            return _torch_frames(self.frames_path, self.exit)
        from speechbrain_dynsnet.runtime.frames import FrameRunner
        from speechbrain_dynsnet.runtime.model import RuntimeModel

        runner = FrameRunner(RuntimeModel(self.frames_path))
        return lambda features: runner.run(features, self.exit)

    def open_stream(self) -> Stream:
        """A stream; ValueError for torch, which has none."""
        if self.name == TORCH:
            raise ValueError("torch has no streams")
        from speechbrain_dynsnet.runtime.stream import Stream

        return Stream(self.frames_path, self.exit)

    def open_files(self) -> RunFile:
        """A function from a whole noisy signal to the enhanced one, (1, samples) at 16 kHz."""
        if self.name == TORCH:
            return _torch_files(self.files_path, self.exit)
        from speechbrain_dynsnet.runtime.enhancer import Enhancer

        enhancer = Enhancer(self.files_path, threads=1)
        return lambda noisy: enhancer.enhance(noisy, self.exit)


def _torch_frames(path: Path, exit: int) -> RunFrame:
    import torch

    from speechbrain_dynsnet.model.importing import load_network

    network = load_network(path)
    state = network.initial_state(1)

    @torch.inference_mode()
    def run(features: Array) -> Array:
        nonlocal state
        mask, state = network(torch.from_numpy(features)[None, None], state, exit)
        return np.asarray(mask[0, 0])

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
