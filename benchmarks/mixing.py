"""How fast pairs are mixed on one core, with and without reverberation, as multiples of real time.

python benchmarks/mixing.py [--data_folder FOLDER_OR_MANIFEST]
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.manifest import read_corpus
from speechbrain_dynsnet.data.mixing import MixDistribution
from speechbrain_dynsnet.data.pairs import PairDataset, open_corpus
from speechbrain_dynsnet.data.trial import make_trial_set
from speechbrain_dynsnet.errors import one_line_errors

KINDS = {"without reverberation": 0.0, "all reverberant": 1.0}


@click.command()
@click.option("--data_folder", type=Path, default=None, help="What to mix; by default the generated trial set.")
@click.option("--results_folder", type=Path, default=Path("results"), help="Where trial set and decoded copies are.")
@click.option("--clip_s", default=4.0, help="Length of a pair, in seconds.")
@click.option("--pairs", default=400, help="How many of each kind.")
def main(data_folder: Path | None, results_folder: Path, clip_s: float, pairs: int) -> None:
    """Mix pairs of both kinds in turn, so that a busy machine slows both alike."""
    with one_line_errors():
        corpus = read_corpus(data_folder or make_trial_set(results_folder / "trial_set"))["train"]
        tracks = open_corpus(corpus, results_folder / "decoded")
    datasets = {
        name: PairDataset(tracks, replace(MixDistribution(), reverb_probability=share), clip_s, seed=0)
        for name, share in KINDS.items()
    }
    spent = dict.fromkeys(KINDS, 0.0)
    for index in range(pairs):
        for name, dataset in datasets.items():
            start = time.process_time()
            noisy = dataset[index].noisy
            spent[name] += time.process_time() - start
    for name, seconds in spent.items():
        print(f"{name}: {pairs * noisy.shape[-1] / SAMPLE_RATE / seconds:.0f} times real time")


if __name__ == "__main__":
    main()
