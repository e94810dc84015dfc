"""What mixing on the fly costs a training run: its speed against pairs held in memory, and a worker's memory.

Each step is a whole one (spectra, loss of four exits, backward, optimiser) on a batch that one loader worker mixes
meanwhile, or on one of a list of batches that were mixed before. The two alternate in blocks, so that whatever else the
machine does meets both. Memory is what is private to a worker that holds a manifest of 130,650 files, against one that
holds a handful.

    python benchmarks/loading.py [--data_folder FOLDER_OR_MANIFEST]
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import click
import torch
from torch.utils.data import DataLoader, Dataset

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.manifest import read_corpus
from speechbrain_dynsnet.data.mixing import MixDistribution
from speechbrain_dynsnet.data.pairs import EpochSampler, Pair, PairDataset, collate, open_corpus
from speechbrain_dynsnet.data.tracks import Track, TrackList, Tracks
from speechbrain_dynsnet.data.trial import make_trial_set
from speechbrain_dynsnet.errors import one_line_errors
from speechbrain_dynsnet.model.features import log_power, stft
from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.training.losses import MultiExitLoss

EXITS = (0, 1, 3, 5)
FILES = {"clean": 65_348, "noise": 65_302}  # as many as DNS-2020 has, and
SPEAKERS = 2150


class Stepper:
    """Training steps of a `concat` network."""

    def __init__(self) -> None:
        self.network = make_network("concat", EXITS)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-3, fused=True)
        self.loss = MultiExitLoss()

    def __call__(self, batch: Pair) -> None:
        self.optimizer.zero_grad()
        noisy = stft(batch.noisy)
        terms = self.loss.prepare(noisy, stft(batch.clean), batch.clean.std(dim=-1))
        masks, _ = self.network(0.25 * (log_power(noisy) + 8.0), exit=EXITS)
        self.loss(masks, terms)[0].backward()
        self.optimizer.step()


class PrivateMemory(Dataset[float]):
    """In a worker: the MiB that are its own, after it has mixed a pair."""

    def __init__(self, pairs: PairDataset) -> None:
        self.pairs = pairs

    def __getitem__(self, index: int) -> float:
        self.pairs[index]
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


@click.command()
@click.option("--data_folder", type=Path, default=None, help="What to mix; by default the generated trial set.")
@click.option("--results_folder", type=Path, default=Path("results"), help="Where trial set and decoded copies are.")
@click.option("--batch", default=16, help="Clips a step.")
@click.option("--clip_s", default=2.0, help="Length of a clip, in seconds.")
@click.option("--steps", default=20, help="Steps of a block.")
@click.option("--blocks", default=6, help="Blocks of each kind.")
def main(data_folder: Path | None, results_folder: Path, batch: int, clip_s: float, steps: int, blocks: int) -> None:
    """Measure, and print what was found."""
    with one_line_errors():
        corpus = read_corpus(data_folder or make_trial_set(results_folder / "trial_set"))["train"]
        tracks = open_corpus(corpus, results_folder / "decoded")
    dataset = PairDataset(tracks, replace(MixDistribution(), babble_probability=0.1), clip_s, seed=0)
    print_speed(dataset, batch, steps, blocks)
    print_memory(dataset)


def print_speed(dataset: PairDataset, batch: int, steps: int, blocks: int) -> None:
    """Steps a second on the fly and from memory."""
    torch.manual_seed(0)
    step = Stepper()
    sampler = EpochSampler((blocks + 1) * steps * batch, batch)
    context = "forkserver"
    loader = iter(
        DataLoader(dataset, batch, sampler=sampler, num_workers=1, collate_fn=collate, multiprocessing_context=context)
    )
    held = list(islice(loader, steps))
    rates: dict[str, list[float]] = {"pairs in memory": [], "mixed on the fly": []}
    for _ in range(blocks):
        for name, batches in (("pairs in memory", iter(held)), ("mixed on the fly", islice(loader, steps))):
            start = time.perf_counter()
            for one in batches:
                step(one)
            rates[name].append(steps / (time.perf_counter() - start))
    for name, found in rates.items():
        real_time = median(found) * batch * dataset.samples / SAMPLE_RATE
        print(f"{name}: {median(found):.2f} steps a second, {real_time:.0f} times real time")
    ratios = [fly / held for held, fly in zip(*rates.values(), strict=True)]
    print(f"ratio: {median(ratios):.2f} (bound 0.8)")


def print_memory(dataset: PairDataset) -> None:
    """A worker with few files, and one with as many as DNS-2020 has."""
    clean, noise = (list(islice(kind, 10)) for kind in (dataset.tracks.clean, dataset.tracks.noise))
    few = Tracks(TrackList(clean), TrackList(noise), TrackList([]))
    many = Tracks(repeated(clean, FILES["clean"]), repeated(noise, FILES["noise"]), TrackList([]))
    found = {}
    for name, tracks in (("few files", few), ("130,650 files", many)):
        pairs = PairDataset(tracks, dataset.distribution, 2.0, seed=0)
        loader = DataLoader(PrivateMemory(pairs), sampler=range(8), num_workers=1, multiprocessing_context="forkserver")
        found[name] = max(float(one) for one in loader)
        print(f"private memory of a worker with {name}: {found[name]:.0f} MiB")
    print(f"difference: {found['130,650 files'] - found['few files']:.0f} MiB (bound 50)")


def repeated(tracks: list[Track], count: int) -> TrackList:
    """The same files again and again, by names as long as the real ones, of as many speakers."""
    detour = "./" * 40
    return TrackList(
        Track(f"{Path(track.path).parent}/{detour}{Path(track.path).name}", track.samples, f"{index % SPEAKERS:05d}")
        for index, track in enumerate(islice(cycle(tracks), count))
    )


if __name__ == "__main__":
    main()
