"""All files of an export: the model, its description, golden vectors and C header; verified before they appear."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.runtime.export import export_onnx
from speechbrain_dynsnet.runtime.export.costs import FrameCost, frame_costs
from speechbrain_dynsnet.runtime.export.description import write_description
from speechbrain_dynsnet.runtime.export.golden import FRAMES, golden_vectors, write_header, write_npz
from speechbrain_dynsnet.runtime.export.verify import Difference, first_frames, verify
from speechbrain_dynsnet.runtime.export.weights import LayerWeights, layer_weights
from speechbrain_dynsnet.runtime.model import RuntimeModel
from speechbrain_dynsnet.writing import check_writable

_SUFFIXES = (".onnx", ".json", ".npz", ".h")
CLIP = Path(__file__).parent / "clip.flac"  # synthesised speech in noise, made as examples/make_noisy.py says


class VerificationError(RuntimeError):
    """The file would not give what the network gives: a fault of this package, or of this build of onnxruntime."""


@dataclass(frozen=True)
class Export:
    """What was written.

    Arguments
    ---------
    files : list of Path
        The model first.
    differences : list of Difference
        Between the file and the network, one an exit.
    costs : list of FrameCost
        One an exit.
    weights : list of LayerWeights
        One a layer.
    """

    files: list[Path]
    differences: list[Difference]
    costs: list[FrameCost]
    weights: list[LayerWeights]


def export_all(
    network: DynamicNsNet2,
    path: Path,
    exits: Sequence[int] | None,
    samples: NDArray[np.float32],
    *,
    precision: str,
    frames: int | str,
    signal: str,
) -> Export:
    """Write a model and what goes beside it, each file under the name of `path` with its own extension.

    Arguments
    ---------
    network : DynamicNsNet2
        On the CPU.
    path : Path
        Ends in `.onnx`.
    exits : sequence of int or None
        See `export_onnx`.
    samples : array
        (samples,), 16 kHz: what the file is verified on.
    precision, frames, signal
        See `export_onnx`.

    Returns
    -------
    Export
        What was written, and how far it is from the network.

    Raises
    ------
    InputError
        As `export_onnx`; and for a name that is no `.onnx` file or cannot be written.
    VerificationError
        When the file is not the network; then nothing is written.
    """
    if path.suffix.lower() != ".onnx":
        raise InputError(f"{path}: give a file name that ends in .onnx")
    files = [path, *(path.with_suffix(suffix) for suffix in _SUFFIXES[1:])]
    _check_files(files)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        made = [Path(folder) / f"model{suffix}" for suffix in _SUFFIXES]
        onnx_path, description, npz, header = made
        export_onnx(network, onnx_path, exits, precision=precision, frames=frames, signal=signal)
        model = RuntimeModel(onnx_path)
        differences = verify(network.eval(), model, samples)
        if wrong := [one for one in differences if not one.is_within(precision)]:
            raise VerificationError(
                f"{path}: not written, because onnxruntime and torch differ by up to {wrong[0].largest:.2g} at "
                f"exit {wrong[0].exit}; update onnxruntime, or report it"
            )
        costs = frame_costs(network, model.exits, precision, signal)
        write_description(model, description, costs, differences)
        golden = golden_vectors(model, first_frames(samples, FRAMES, signal))
        write_npz(golden, npz)
        about = f"{path.name}: {network.architecture.family}, {precision}, written by speechbrain_dynsnet"
        write_header(golden, header, network.architecture, costs, about)
        weights = layer_weights(onnx.load(onnx_path))
        for file, target in zip(made, files, strict=True):
            os.replace(file, target)
    return Export(files, differences, costs, weights)


def _check_files(files: Sequence[Path]) -> None:
    """InputError when one cannot be written, or would replace what no export wrote: a network's weights or settings."""
    onnx_path, description, *others = files
    for file in files:
        check_writable(file, f"{file.suffix} file")
    present = [file for file in (description, *others) if file.exists()]
    if present and not _is_description(description):
        raise InputError(
            f"{present[0]}: is not from an export and would be replaced; give {onnx_path.name} another name"
        )


def _is_description(path: Path) -> bool:
    try:
        description = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(description, dict) and {"sha256", "weights_sha256", "precision"} <= set(description)
