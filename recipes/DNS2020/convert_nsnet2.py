"""A teacher from public weights: nsNet2 of github.com/alecerio/nas-nsnet2 (MIT), as an `.npz` that this package reads.

git clone https://github.com/alecerio/nas-nsnet2
python recipes/DNS2020/convert_nsnet2.py nas-nsnet2/nsnet2/pytorch/numpy_weights nsnet2.npz
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.errors import InputError, one_line_errors
from speechbrain_dynsnet.writing import appearing, check_writable

# The files are the initialisers of an ONNX graph, and named as such. Linear layers are (in, out) there.
LINEAR = {
    "fc1": ("onnx__MatMul_166", (257, 400)),
    "fc2": ("onnx__MatMul_207", (400, 600)),
    "fc3": ("onnx__MatMul_208", (600, 600)),
    "fc4": ("onnx__MatMul_209", (600, 257)),
}
GRU = {
    "gru1": ("onnx__GRU_184", "onnx__GRU_185", "onnx__GRU_186"),  # W, R and B of ONNX's GRU
    "gru2": ("onnx__GRU_204", "onnx__GRU_205", "onnx__GRU_206"),
}
UNITS = 400


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="FOLDER", type=Path)
@click.argument("output", metavar="OUT.npz", type=Path)
def main(folder: Path, output: Path) -> None:
    """Write the arrays in FOLDER to OUT.npz: a teacher (`train.py --teacher`), or a yardstick to evaluate by."""
    with one_line_errors():
        if output.suffix != ".npz":
            raise InputError(f"{output}: give a name that ends in .npz")
        check_writable(output, "file of weights")
        arrays = convert(folder)
        with appearing(output) as unfinished:
            np.savez(unfinished, **arrays)  # type: ignore[arg-type]
        click.echo(f"{output}: {sum(array.size for array in arrays.values()):,} weights")


def convert(folder: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays that `import_nsnet2` reads; InputError for what is missing, or is not what nsNet2 has there."""
    arrays = {}
    for layer, (matrix, (inputs, outputs)) in LINEAR.items():
        arrays[f"{layer}.weight"] = np.ascontiguousarray(read(folder, matrix, inputs, outputs).T)
        arrays[f"{layer}.bias"] = read(folder, f"{layer}_bias", outputs)
    for layer, (inputs_of, recurrent, biases) in GRU.items():
        arrays[f"{layer}.weight_ih"] = reorder(read(folder, inputs_of, 1, 3 * UNITS, UNITS)[0])
        arrays[f"{layer}.weight_hh"] = reorder(read(folder, recurrent, 1, 3 * UNITS, UNITS)[0])
        both = read(folder, biases, 1, 6 * UNITS).reshape(2, 3 * UNITS)
        arrays[f"{layer}.bias_ih"], arrays[f"{layer}.bias_hh"] = map(reorder, both)
    return arrays


def read(folder: Path, name: str, *shape: int) -> NDArray[np.float32]:
    """An array of float32 that must have this shape, and finite values."""
    path = folder / f"{name}.npy"
    try:
        array: NDArray[np.float32] = np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: not an array of numpy's ({error}); give the folder `numpy_weights`") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise InputError(f"{path}: is not nsNet2's, which has shape {shape} and finite values; fetch the folder again")
    return array


def reorder(gates: NDArray[np.float32]) -> NDArray[np.float32]:
    """From ONNX's order of gates, z r n, to PyTorch's, r z n."""
    update, reset, new = np.split(gates, 3)
    return np.concatenate([reset, update, new])


if __name__ == "__main__":
    main()
