"""Pairs for training: each a pure function of (seed, index), whatever worker or process makes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from speechbrain_dynsnet.audio.constants import HOP, SAMPLE_RATE
from speechbrain_dynsnet.data.manifest import Corpus
from speechbrain_dynsnet.data.mixing import MixDistribution, MixParameters, draw, mix
from speechbrain_dynsnet.data.store import open_tracks
from speechbrain_dynsnet.data.tracks import TrackList, Tracks
from speechbrain_dynsnet.errors import InputError


class Pair(NamedTuple):
    """Noisy and clean, float32 (samples,) each or a batch of them (batch, samples).

    `skipped` says what was to be read for them and could not be, and why.
    """

    noisy: Tensor
    clean: Tensor
    skipped: tuple[str, ...] = ()


def collate(pairs: Sequence[Pair]) -> Pair:
    """A batch of pairs of one length."""
    noisy, clean, skipped = zip(*pairs, strict=True)
    return Pair(torch.stack(noisy), torch.stack(clean), tuple(reason for reasons in skipped for reason in reasons))


class PairDataset(Dataset[Pair]):
    """An endless list of (noisy, clean) pairs, mixed as they are asked for.

    Arguments
    ---------
    tracks : Tracks
        What is mixed.
    distribution : MixDistribution
        How.
    clip_s : float
        Length of a pair, in seconds; rounded to whole hops.
    seed : int
        Another seed is another list.
    """

    def __init__(self, tracks: Tracks, distribution: MixDistribution, clip_s: float, seed: int) -> None:
        self.tracks = tracks
        self.distribution = distribution
        self.samples = clip_samples(clip_s)
        self.seed = seed

    def parameters(self, index: int) -> MixParameters:
        """What a pair is mixed from."""
        rng = np.random.default_rng([self.seed, index])
        return draw(self.tracks, self.distribution, self.samples, rng)

    def __getitem__(self, index: int) -> Pair:
        """Mix a pair."""
        parameters = self.parameters(index)
        noisy, clean = mix(parameters)
        return Pair(torch.from_numpy(noisy), torch.from_numpy(clean), parameters.skipped)


class EpochSampler(Sampler[int]):
    """The indices of one epoch: each epoch has its own range of the endless list, each rank its share of it.

    Every rank gets the same number, a whole number of batches.

    Arguments
    ---------
    clips_per_epoch : int
        Over all ranks; rounded down to whole batches.
    batch_size : int
        Of one rank.
    rank, ranks : int
        This process, and how many there are.
    name : str
        What the number of clips is called, for messages.
    """

    def __init__(
        self, clips_per_epoch: int, batch_size: int, rank: int = 0, ranks: int = 1, name: str = "clips_per_epoch"
    ) -> None:
        self.per_rank = clips_per_epoch // (batch_size * ranks) * batch_size
        if self.per_rank == 0:
            raise InputError(
                f"{name} {clips_per_epoch} is less than one batch of {batch_size} on each of {ranks} "
                f"processes: raise {name} or lower batch_size"
            )
        self.clips_per_epoch = clips_per_epoch
        self.rank = rank
        self.ranks = ranks
        self.epoch = 0
        self.earlier_epochs = 0  # of phases before this one, which has pairs of its own

    def set_epoch(self, epoch: int) -> None:
        """Choose the range, by an epoch of this phase; SpeechBrain's Brain calls this."""
        self.epoch = self.earlier_epochs + epoch

    def __len__(self) -> int:
        return self.per_rank

    def __iter__(self) -> Iterator[int]:
        start = self.epoch * self.clips_per_epoch + self.rank  # whatever the number of ranks
        return iter(range(start, start + self.per_rank * self.ranks, self.ranks))


def clip_samples(clip_s: float) -> int:
    """Samples of a clip of `clip_s` seconds, in whole hops; InputError when that is none."""
    samples = round(clip_s * SAMPLE_RATE / HOP) * HOP
    if samples <= 0:
        raise InputError(f"clip_s is {clip_s}: give a length in seconds, such as 4")
    return samples


def open_corpus(corpus: Corpus, decoded_folder: str | Path) -> Tracks:
    """The tracks of one split."""
    kinds = (corpus.clean, corpus.noise, corpus.impulse_responses)
    return Tracks(*(TrackList(open_tracks(sources, decoded_folder)) for sources in kinds))
