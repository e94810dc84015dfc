"""What each exit of a model gives on mixtures of held-out speech and noise: PESQ-WB, DNSMOS and SI-SDR, as Markdown.

python recipes/DNS2020/exits_table.py --data_folder MANIFEST_OR_FOLDER [--model BUNDLE] [--clips 60]
"""

from __future__ import annotations

import csv
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from pesq import pesq
from speechmos import dnsmos
from tqdm import tqdm

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.manifest import read_corpus
from speechbrain_dynsnet.data.mixing import MixDistribution
from speechbrain_dynsnet.data.pairs import PairDataset, open_corpus
from speechbrain_dynsnet.errors import InputError, one_line_errors
from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.model.bundle import SHIPPED_BUNDLE, load_bundle
from speechbrain_dynsnet.model.enhance import enhance
from speechbrain_dynsnet.model.importing import import_nsnet2
from speechbrain_dynsnet.model.network import DynamicNsNet2

Signal = NDArray[np.float32]
METRICS = ("PESQ-WB", "DNSMOS P.808", "DNSMOS P.835 OVRL", "SI-SDR (dB)")
DISTRIBUTION = MixDistribution(reverb_probability=0.0, second_noise_probability=0.0, tilt=0.0)


@click.command()
@click.option("--data_folder", type=Path, required=True, help="A data folder or manifest.")
@click.option("--split", default="test", help="Which of its splits.")
@click.option("--model", type=Path, default=SHIPPED_BUNDLE, help="A bundle, or public nsNet2 weights (.npz).")
@click.option("--clips", default=60, help="How many mixtures of 10 s.")
@click.option("--snr_db", type=(float, float), default=(0.0, 20.0), show_default=True, help="Range of their SNR.")
@click.option("--seed", default=0, help="Another seed draws other mixtures.")
@click.option("--decoded", type=Path, default=Path("results/decoded"), help="Where decoded copies are kept.")
@click.option("--jobs", default=2, help="Processes that score.")
@click.option("--output", type=Path, default=None, help="A CSV file for the score of each clip.")
def main(
    data_folder: Path,
    split: str,
    model: Path,
    clips: int,
    snr_db: tuple[float, float],
    seed: int,
    decoded: Path,
    jobs: int,
    output: Path | None,
) -> None:
    """Mix, enhance at every exit, score, print the table."""
    with one_line_errors():
        run(data_folder, split, model, clips, snr_db, seed, decoded, jobs, output)


def run(
    data_folder: Path,
    split: str,
    model: Path,
    clips: int,
    snr_db: tuple[float, float],
    seed: int,
    decoded: Path,
    jobs: int,
    output: Path | None,
) -> None:
    """The same, with errors as they come."""
    if output is not None and not output.parent.is_dir():
        raise InputError(f"{output}: the folder {output.parent} does not exist; create it first")
    network = import_nsnet2(model) if model.suffix == ".npz" else load_bundle(model)
    corpus = read_corpus(data_folder, splits=(split,))[split]
    pairs = PairDataset(open_corpus(corpus, decoded), replace(DISTRIBUTION, snr_db=snr_db), clip_s=10.0, seed=seed)
    names = ["noisy", *(f"exit {exit}" for exit in network.exits)]
    with ProcessPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        signals = [signal for index in range(clips) for signal in versions(network, *pairs[index][:2])]
        scores = list(tqdm(pool.map(score, *zip(*signals, strict=True)), total=len(signals), desc="scoring"))
    table = np.array(scores).reshape(clips, len(names), len(METRICS))
    if output is not None:
        with output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["clip", "exit", *METRICS])
            writer.writerows([clip, name, *table[clip, row]] for clip in range(clips) for row, name in enumerate(names))
    print_table(network, names, table.mean(axis=0))


@torch.no_grad()
def versions(network: DynamicNsNet2, noisy: torch.Tensor, clean: torch.Tensor) -> list[tuple[Signal, Signal]]:
    """(clean, signal) for the noisy signal and each exit's output."""
    signals = [noisy, *(enhanced[0] for enhanced in enhance(network, noisy[None], network.exits))]
    return [(clean.numpy(), signal.numpy()) for signal in signals]


def score(clean: Signal, signal: Signal) -> tuple[float, ...]:
    """PESQ-WB, DNSMOS P.808 and P.835 OVRL, and SI-SDR of one signal."""
    opinion = dnsmos.run(np.clip(signal, -1.0, 1.0), SAMPLE_RATE)
    return (
        pesq(SAMPLE_RATE, clean, signal, "wb"),
        float(opinion["p808_mos"]),
        float(opinion["ovrl_mos"]),
        si_sdr_db(clean, signal),
    )


def si_sdr_db(clean: Signal, signal: Signal) -> float:
    """Scale-invariant signal-to-distortion ratio (arXiv 1811.02508, equation 2)."""
    target = np.dot(signal, clean) / np.dot(clean, clean) * clean
    return float(10.0 * np.log10(np.square(target).sum() / np.square(signal - target).sum()))


def print_table(network: DynamicNsNet2, names: list[str], means: NDArray[np.float64]) -> None:
    """Markdown: a row for the noisy input and one an exit."""
    shares = ["", *(f"{cost.share_of_baseline:.1%}" for cost in exit_costs(network))]
    print(f"| | MACs of the baseline | {' | '.join(METRICS)} |\n|---|---|{'---|' * len(METRICS)}")
    for name, share, values in zip(names, shares, means, strict=True):
        print(f"| {name} | {share} | {' | '.join(f'{value:.2f}' for value in values)} |")


if __name__ == "__main__":
    main()
