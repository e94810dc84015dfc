"""Which model `dynsnet enhance` runs, and in what: onnxruntime or torch."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.processes import clean_start

if TYPE_CHECKING:
    from speechbrain_dynsnet.audio.enhancement import MaskModel


@dataclass(frozen=True)
class ModelChoice:
    """A model on this disk, and where it runs; small, so that it can be sent to other processes.

    Arguments
    ---------
    path : Path
        An exported .onnx file, for onnxruntime; or a bundle's folder, for torch.
    device : str
        For torch.
    """

    path: Path
    device: str = "cpu"

    def load(self, threads: int | None = None) -> MaskModel:
        """The model, ready to use; None leaves the number of threads to torch."""
        if self.path.suffix == ".onnx":
            from speechbrain_dynsnet.runtime.enhancer import Enhancer

            return Enhancer(self.path, threads or 1)
        import torch

        from speechbrain_dynsnet.inference import EnhanceDynamic

        if threads:
            torch.set_num_threads(threads)
        return EnhanceDynamic.from_hparams(self.path, run_opts={"device": self.device})

    def processes(self) -> BaseContext:
        """How to start processes that load it; torch begins to be imported for all of them, see `clean_start`."""
        return clean_start(None if self.path.suffix == ".onnx" else "speechbrain_dynsnet.inference.enhance")

    def fingerprint(self) -> str:
        """What tells models apart: a hash of the files."""
        files = [self.path] if self.path.is_file() else sorted(self.path.glob("*.*"))
        return sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()


def choose_model(model: str | None, device: str) -> ModelChoice:
    """The engine that fits: onnxruntime for exported files, among them the one in this package; torch for the rest.

    Arguments
    ---------
    model : str or None
        A bundle's folder, Hub id (fetched here) or .onnx file. None is the shipped .onnx file where onnxruntime is
        installed and the device is the CPU, and the shipped bundle elsewhere.
    device : str
        Such as `cpu` or `cuda:0`.

    Returns
    -------
    ModelChoice
        Nothing of it is loaded yet.

    Raises
    ------
    InputError
        When there is no such model, or what runs it is not installed.
    """
    on_cpu = device == "cpu"
    if model is not None and model.endswith(".onnx"):
        if not on_cpu:
            raise InputError(f"{model}: runs on the CPU; leave --device out, or give the model's folder")
        return ModelChoice(Path(model))
    if model is None and on_cpu and importlib.util.find_spec("onnxruntime") is not None:
        from speechbrain_dynsnet.runtime.model import WHOLE_FILE_MODEL

        return ModelChoice(WHOLE_FILE_MODEL)
    try:
        from speechbrain_dynsnet.inference.sources import resolve_source
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed: install the package with its dependencies, or give --model an .onnx file"
        ) from error
    return ModelChoice(resolve_source(model), device)
