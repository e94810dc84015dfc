"""The endless list of pairs: the same whoever makes it, and each epoch and rank has its own part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from speechbrain_dynsnet.data.mixing import MixDistribution
from speechbrain_dynsnet.data.pairs import EpochSampler, PairDataset, collate
from speechbrain_dynsnet.data.tracks import Tracks
from speechbrain_dynsnet.errors import InputError


def dataset(tracks: Tracks, clip_s: float = 0.5, seed: int = 7) -> PairDataset:
    return PairDataset(tracks, MixDistribution(), clip_s, seed)


def test_a_pair_depends_on_seed_and_index_only(tracks: Tracks) -> None:
    one, other = dataset(tracks), dataset(tracks)
    forwards = {index: one[index] for index in (0, 3, 9)}
    np.random.seed(1)  # noqa: NPY002 (the global generator must have no say)
    torch.manual_seed(5)
    for index in (9, 3, 0):
        for a, b in zip(forwards[index][:2], other[index][:2], strict=True):
            assert torch.equal(a, b)


def test_indices_and_seeds_give_different_pairs(tracks: Tracks) -> None:
    pairs = [dataset(tracks)[index] for index in range(6)] + [dataset(tracks, seed=8)[index] for index in range(6)]
    for index, (noisy, clean, _) in enumerate(pairs):
        assert not torch.equal(noisy, clean)
        assert not any(torch.equal(noisy, other) for other, _, _ in pairs[:index])


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_give_the_pairs_that_one_process_gives(tracks: Tracks, workers: int) -> None:
    sampler = EpochSampler(8, batch_size=2)
    sampler.set_epoch(3)
    loader = DataLoader(dataset(tracks), batch_size=2, sampler=sampler, num_workers=workers, collate_fn=collate)
    noisy = torch.cat([batch[0] for batch in loader])
    assert torch.equal(noisy, torch.stack([dataset(tracks)[index][0] for index in sampler]))


@pytest.mark.parametrize(("clip_s", "samples"), [(4, 64000), (2.0, 32000), (0.5, 7936), (0.02, 256)])
def test_clips_are_whole_hops(tracks: Tracks, clip_s: float, samples: int) -> None:
    noisy, clean, skipped = dataset(tracks, clip_s)[0]
    assert not skipped
    assert noisy.shape == clean.shape == (samples,)
    assert noisy.dtype == clean.dtype == torch.float32


@pytest.mark.parametrize("clip_s", [0, -1, 0.001])
def test_a_clip_has_a_length(tracks: Tracks, clip_s: float) -> None:
    with pytest.raises(InputError, match="give a length in seconds"):
        dataset(tracks, clip_s)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize(("clips", "batch_size"), [(24, 4), (25, 4), (35, 4), (100, 1)])
def test_epochs_and_ranks_share_nothing_and_skip_nothing(clips: int, batch_size: int, ranks: int) -> None:
    samplers = [EpochSampler(clips, batch_size, rank, ranks) for rank in range(ranks)]
    ranges = []
    for epoch in range(4):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        parts = [list(sampler) for sampler in samplers]
        assert {len(part) for part in parts} == {len(samplers[0])}
        assert len(samplers[0]) % batch_size == 0
        assert clips - batch_size * ranks < len(samplers[0]) * ranks <= clips
        together = sorted(index for part in parts for index in part)
        assert len(set(together)) == len(together)
        ranges.append(together)
    for epoch, one in enumerate(ranges):
        assert one == list(range(epoch * clips, epoch * clips + len(one)))


def test_a_sampler_gives_the_same_epoch_again() -> None:
    sampler = EpochSampler(12, 3, rank=1, ranks=2)
    sampler.set_epoch(5)
    assert list(sampler) == list(sampler)


@pytest.mark.parametrize(("clips", "batch_size", "ranks"), [(7, 8, 1), (15, 8, 2), (0, 1, 1)])
def test_less_than_one_batch_is_an_error(clips: int, batch_size: int, ranks: int) -> None:
    with pytest.raises(InputError, match=f"clips_per_epoch {clips} is less than one batch of {batch_size} on each"):
        EpochSampler(clips, batch_size, 0, ranks)


def test_an_epoch_begins_at_the_same_pair_for_any_number_of_ranks() -> None:
    first = []
    for ranks in (1, 2, 3, 4, 5):
        sampler = EpochSampler(3200, 16, 0, ranks)
        sampler.set_epoch(2)
        first.append(next(iter(sampler)))
    assert first == [6400] * 5
