"""Read nsNet2 weights that other projects trained, or a network of either kind."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.architecture import LAST_STAGE, Architecture
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.model.network import DynamicNsNet2

# what the layer of each stage is called in such files
_LAYERS = ("fc1", "gru1", "gru2", "fc2", "fc3", "fc4")


def load_network(path: str | Path) -> DynamicNsNet2:
    """The network of a bundle, or of public nsNet2 weights when the path ends in .npz; InputError for anything else."""
    return import_nsnet2(path) if Path(path).suffix == ".npz" else load_bundle(path)


def import_nsnet2(path: str | Path, fc1_activation: str = "none") -> DynamicNsNet2:
    """A `baseline` network from public nsNet2 weights in an `.npz` file.

    Arguments
    ---------
    path : str or Path
        Arrays `fcN.weight` (out, in), `fcN.bias`, `gruN.weight_ih`, `gruN.weight_hh`, `gruN.bias_ih`,
        `gruN.bias_hh`, with the gates in PyTorch's order r, z, n.
    fc1_activation : str
        `none` for Microsoft's nsNet2 and its public retrainings, `relu` for this project's own baselines.

    Returns
    -------
    DynamicNsNet2
        Of the family `baseline`, with the one exit 5.

    Raises
    ------
    InputError
        When the file is not such an archive, or an array is missing, of another shape or not finite.
    """
    network = DynamicNsNet2(Architecture("baseline", (LAST_STAGE,), fc1_activation=fc1_activation))
    arrays = _read_arrays(path)
    state = {}
    for name, parameter in network.named_parameters():
        source = _source_name(name)
        if source not in arrays:
            raise InputError(f"{path}: the array {source} is missing; it has {sorted(arrays)}")
        value = torch.from_numpy(arrays[source])
        if value.shape != parameter.shape:
            raise InputError(f"{path}: {source} has shape {tuple(value.shape)}, not {tuple(parameter.shape)}")
        if not torch.isfinite(value).all():
            raise InputError(f"{path}: {source} holds values that are not finite")
        state[name] = value
    network.load_state_dict(state)
    return network.eval()


def _read_arrays(path: str | Path) -> dict[str, NDArray[np.float32]]:
    try:
        if not zipfile.is_zipfile(path):  # numpy would take a lone .npy array, too
            Path(path).open("rb").close()
            raise ValueError("it is no archive")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name].astype(np.float32) for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not an .npz archive of nsNet2 weights ({error})") from error


def _source_name(parameter: str) -> str:
    # stages.1.layer.gru.weight_ih_l0 -> gru1.weight_ih ; stages.0.layer.linear.bias -> fc1.bias
    _, stage, _, _, kind = parameter.split(".")
    return f"{_LAYERS[int(stage)]}.{kind.removesuffix('_l0')}"
