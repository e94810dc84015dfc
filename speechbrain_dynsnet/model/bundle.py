"""A bundle: a folder that holds one trained model, shaped as a Hugging Face Hub repository.

`config.json` carries the architecture, so that weights never meet a network that they do not fit;
`model.safetensors` holds the weights and runs no code; `hyperparams.yaml` is for SpeechBrain's own loader;
`README.md` is the card.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from speechbrain_dynsnet.errors import InputError, one_line
from speechbrain_dynsnet.model.architecture import FORMAT_VERSION, LAST_STAGE, Architecture
from speechbrain_dynsnet.model.network import DynamicNsNet2

CONFIG, HYPERPARAMS, WEIGHTS, CARD = (
    "config.json",
    "hyperparams.yaml",
    "model.safetensors",
    "README.md",
)
BUNDLE_FILES = (CONFIG, HYPERPARAMS, WEIGHTS, CARD)
_ASIDE = ".old"  # ends the name of what is replaced, for a moment
_SIGNAL = ("sample_rate", "window", "hop", "bins", "power_floor")
SHIPPED_MODELS = Path(__file__).parent.parent / "models"  # a bundle's folder for each
SHIPPED_BUNDLE = SHIPPED_MODELS / "concat_joint_4"  # the default
_NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_FETCH_ALL = "the files of a model belong together, fetch all of them again"
_NAMED = 3  # so many weights of a kind are named; the rest are counted

_HYPERPARAMS = """\
# Loading this file with HyperPyYAML runs code: load it only from a source that you trust.
# What SpeechBrain's `Pretrained.from_hparams` reads; the same facts as data are in config.json.
model: !apply:speechbrain_dynsnet.model.network.make_network
{arguments}
modules:
  model: !ref <model>
pretrainer: !new:speechbrain_dynsnet.inference.pretrainer.BundlePretrainer
  loadables:
    model: !ref <model>
"""


def save_bundle(
    network: DynamicNsNet2,
    folder: str | Path,
    training: Mapping[str, Any] | None = None,
    card: str = "",
) -> Path:
    """Write a network as a bundle; the folder appears whole or not at all.

    Arguments
    ---------
    network : DynamicNsNet2
        With any training-time affine already folded in.
    folder : str or Path
        Created; a bundle or an empty folder of that name is replaced.
    training : mapping or None
        How the network was trained, in plain values, for `config.json`.
    card : str
        Markdown of the model card; a short one is written when empty.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        When something else is at that place, or a weight is not finite.
    """
    folder = Path(folder)
    if difference := describe_difference(network, network.state_dict()):
        raise InputError(f"{folder}: not written, for the network is broken: {difference}")
    if folder.exists() and not _is_replaceable(folder):
        raise InputError(f"{folder}: exists and is no model folder; give another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    architecture = network.architecture.to_dict()
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (fresh / HYPERPARAMS).write_text(hyperparams_of(network.architecture), encoding="utf-8")
        (fresh / CARD).write_text(card or short_card(network.architecture), encoding="utf-8")
        weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(weights, fresh / WEIGHTS, metadata={"architecture": json.dumps(architecture)})
        fresh.chmod(0o755)  # temporary folders, and safetensors' files, are for their owner alone
        (fresh / WEIGHTS).chmod(0o644)
        config = {
            "format_version": FORMAT_VERSION,
            "architecture": architecture,
            "weights_sha256": weights_digest(fresh),
            "training": dict(training or {}),
        }
        (fresh / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        _put_in_place(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return folder


def load_bundle(folder: str | Path = SHIPPED_BUNDLE) -> DynamicNsNet2:
    """The network of a bundle, in evaluation mode. Runs no code from the folder.

    Arguments
    ---------
    folder : str or Path
        A bundle; the shipped model by default.

    Returns
    -------
    DynamicNsNet2
        On the CPU.

    Raises
    ------
    InputError
        For a folder that is no bundle, or whose parts do not fit together; the message names what differs.
    """
    network = DynamicNsNet2(check_bundle(folder))
    load_weights(network, Path(folder) / WEIGHTS)
    check_weights(Path(folder))
    return network.eval()


def remove_unfinished(folder: Path) -> None:
    """Clear away what a `save_bundle` left that was killed; what it was to replace is put back when that is missing."""
    for path in folder.parent.glob(f".{folder.name}-*"):
        if path.suffix == _ASIDE and not folder.exists():
            os.replace(path, folder)
        else:
            shutil.rmtree(path)


def check_bundle(folder: str | Path) -> Architecture:
    """The architecture of a bundle; raises InputError when the folder or a file is missing or unreadable."""
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.is_file() else "no such folder"
        raise InputError(f"{folder}: {what}; give the folder of a model (it holds {', '.join(BUNDLE_FILES)})")
    if missing := [name for name in (CONFIG, HYPERPARAMS, WEIGHTS) if not (folder / name).is_file()]:
        raise InputError(
            f"{folder}: not a model folder, {', '.join(missing)} missing; give the folder of a model, or fetch all of "
            "its files again"
        )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        version, architecture = config["format_version"], config["architecture"]
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else one_line(error)[:200]
        raise InputError(f"{folder / CONFIG}: not a model description ({reason}); {_FETCH_ALL}") from error
    if version != FORMAT_VERSION:
        is_newer = isinstance(version, int) and version > FORMAT_VERSION
        raise InputError(
            f"{folder / CONFIG}: format version {version}, this package reads {FORMAT_VERSION}: "
            + ("update the package" if is_newer else "fetch the model again")
        )
    try:
        architecture = Architecture.from_dict(architecture)
    except InputError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from error
    # What turns sound into features is the same for every model: it is constants, not arguments.
    ours = Architecture("baseline", (LAST_STAGE,))
    if difference := _describe_changes(architecture, ours, _SIGNAL):
        raise InputError(f"{folder / CONFIG}: made for another signal path than this package has: {difference}")
    return architecture


def check_weights(folder: Path) -> None:
    """InputError when the weights are others than those that `config.json` was written with, and says so."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config.get("weights_sha256") not in (None, weights_digest(folder)):
        raise InputError(f"{folder / WEIGHTS}: not the weights that {CONFIG} is of; {_FETCH_ALL}")


def hyperparams_of(architecture: Architecture) -> str:
    """What `hyperparams.yaml` says of a network, and no code besides."""
    arguments = "".join(f"  {name}: {json.dumps(value)}\n" for name, value in architecture.to_dict().items())
    return _HYPERPARAMS.format(arguments=arguments.rstrip())


def weights_digest(folder: Path) -> str:
    """SHA-256 of the file of weights in a bundle."""
    return sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def check_configuration(folder: Path, network: DynamicNsNet2) -> None:
    """InputError when `config.json` is of another network than `hyperparams.yaml` made, or of other weights."""
    if difference := _describe_changes(check_bundle(folder), network.architecture):
        raise InputError(f"{folder / CONFIG}: is not of the model in {HYPERPARAMS}: {difference}; {_FETCH_ALL}")
    check_weights(folder)


def load_weights(network: DynamicNsNet2, path: str | Path) -> None:
    """Load a `model.safetensors` strictly into a network.

    Arguments
    ---------
    network : DynamicNsNet2
        Filled in place, only if everything fits.
    path : str or Path
        The weights file.

    Raises
    ------
    InputError
        For a missing or truncated file, another architecture, another set of weights or shapes, or weights
        that are not finite. The message names what differs.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; fetch the model again")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        weights = load_file(path)
        architecture = json.loads(metadata["architecture"]) if "architecture" in metadata else None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: damaged or not a safetensors file ({error}); fetch the model again") from error
    try:
        stored = network.architecture if architecture is None else Architecture.from_dict(architecture)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    # Weights of the same names and shapes can mean different networks: baseline and pretrain, for one.
    if difference := _describe_changes(stored, network.architecture):
        raise InputError(f"{path}: belongs to another network: {difference}; {_FETCH_ALL}")
    if difference := describe_difference(network, weights):
        raise InputError(
            f"{path}: does not fit a {network.architecture.family} network: {difference}; fetch the model again"
        )
    network.load_state_dict(weights)


def describe_difference(network: DynamicNsNet2, weights: Mapping[str, torch.Tensor]) -> str:
    """What keeps `weights` from fitting `network`, in one line; empty when they fit."""
    expected = network.state_dict()
    shapes = [
        f"{name} is {list(weights[name].shape)}, not {list(value.shape)}"
        for name, value in expected.items()
        if name in weights and weights[name].shape != value.shape
    ]
    differences = [
        ("missing", [name for name in expected if name not in weights]),
        ("unknown", [name for name in weights if name not in expected]),
        ("of another shape", shapes),
        (
            "not of floating-point numbers",
            [
                name
                for name, value in expected.items()
                if name in weights and weights[name].dtype not in (*_NUMBERS, value.dtype)
            ],
        ),
        (
            "not finite",
            [name for name, value in weights.items() if value.dtype in _NUMBERS and not torch.isfinite(value).all()],
        ),
    ]
    return "; ".join(f"{what}: {_named(names)}" for what, names in differences if names)


def _named(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _describe_changes(found: Architecture, expected: Architecture, names: Collection[str] = ()) -> str:
    values, wanted = found.to_dict(), expected.to_dict()
    return "; ".join(
        f"{name} is {values[name]!r}, not {wanted[name]!r}" for name in names or values if values[name] != wanted[name]
    )


def _is_replaceable(folder: Path) -> bool:
    return folder.is_dir() and ((folder / CONFIG).is_file() or not any(folder.iterdir()))


def _put_in_place(fresh: Path, folder: Path) -> None:
    # A folder cannot be renamed onto a full one: the old one steps aside, and comes back if anything fails.
    aside = fresh.with_name(f"{fresh.name}{_ASIDE}")
    if folder.exists():
        os.replace(folder, aside)
    try:
        os.replace(fresh, folder)
    except BaseException:
        if aside.exists():
            os.replace(aside, folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def short_card(architecture: Architecture) -> str:
    """The card that a bundle has until `dynsnet card` makes one from measured results."""
    return (
        "---\nlibrary_name: speechbrain\ntags: [audio-to-audio, speech-enhancement, PyTorch, speechbrain]\n---\n"
        f"# Dynamic nsNet2: {architecture.family}, exits {list(architecture.exits)}\n\n"
        "```python\nfrom speechbrain_dynsnet import EnhanceDynamic\n"
        'enhancer = EnhanceDynamic.from_hparams(source="THIS_FOLDER")\n'
        f'enhancer.enhance_file("noisy.wav", exit={architecture.deepest}, output_filename="clean.wav")\n```\n\n'
        "`hyperparams.yaml` runs code when SpeechBrain loads it: use models only from sources that you trust.\n"
    )
