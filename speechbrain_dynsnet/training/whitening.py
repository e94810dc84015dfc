"""The whitening of a run: fitted to its own training pairs, and kept with it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from speechbrain.utils.distributed import run_on_main

from speechbrain_dynsnet.data.pairs import PairDataset
from speechbrain_dynsnet.data.shards import ShardDataset
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.features import log_power, stft
from speechbrain_dynsnet.model.whitening import Whitening
from speechbrain_dynsnet.writing import appearing

PAIRS = 500  # or as many as shards hold; their statistics are far more exact than they need to be
_FILE = "whitening.safetensors"


def whitening_of_run(folder: Path, dataset: PairDataset | ShardDataset, strength: float | None) -> Whitening | None:
    """Fit a whitening to the first pairs of a dataset, once in a run.

    Arguments
    ---------
    folder : Path
        Of the run. What is there from before is taken: a run that goes on goes on with the same one, to the bit.
    dataset : PairDataset or ShardDataset
        What is trained on.
    strength : float or None
        See `Whitening.fit`.

    Returns
    -------
    Whitening or None
        None for None.

    Raises
    ------
    InputError
        When what is there is damaged.
    """
    if strength is None:
        return None
    path = folder / _FILE
    run_on_main(_fit, args=[path, dataset, strength])
    try:
        saved = load_file(path)
        whitening = Whitening(saved["mean"], saved["matrix"])
    except (SafetensorError, OSError, KeyError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it, it is fitted again and becomes the same") from error
    if not all(value.isfinite().all() for value in whitening.state_dict().values()):
        raise InputError(f"{path}: damaged (not finite); delete it, it is fitted again and becomes the same")
    return whitening


def _fit(path: Path, dataset: PairDataset | ShardDataset, strength: float) -> None:
    if path.is_file():
        return
    pairs = min(PAIRS, len(dataset)) if isinstance(dataset, ShardDataset) else PAIRS
    features = torch.cat([log_power(stft(dataset[index].noisy[None]))[0] for index in range(pairs)])
    with appearing(path) as unfinished:
        save_file(Whitening.fit(features, strength).state_dict(), unfinished)
