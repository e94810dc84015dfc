"""Shards are tar files that webdataset reads; an epoch has each clip once, shared out evenly, the same again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import webdataset
from speechbrain.dataio.dataloader import SaveableDataLoader
from torch.utils.data import DataLoader

from speechbrain_dynsnet.data import fetch
from speechbrain_dynsnet.data.shard_fetching import cache_of, fetch_shards, is_address
from speechbrain_dynsnet.data.shard_index import INDEX
from speechbrain_dynsnet.data.shard_writing import Sample, pair_samples, write_shards
from speechbrain_dynsnet.data.shards import ShardDataset, ShardSampler, open_shards
from speechbrain_dynsnet.errors import InputError
from tests.serving import serve

ROOT = Path(__file__).parents[2]
RATE = 16000
PAIRS, PER_SHARD = 11, 4  # three shards, the last with fewer pairs
CLIP_S = 0.25  # 4096 samples


def write_pairs(folder: Path, count: int) -> Path:
    """What synthesise.py leaves; every sample of every pair is another, so that clips are known by their content."""
    for kind in ("clean", "noisy"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        length = 9000 + 2500 * number
        clean = np.arange(number * 90, number * 90 + length, dtype=np.int64) % 30000
        soundfile.write(folder / "clean" / f"clean_fileid_{number}.wav", clean.astype(np.int16), RATE)
        noisy = folder / "noisy" / f"book_0_reader_1_noise_snr{number}_tl-20_fileid_{number}.wav"
        soundfile.write(noisy, (clean - 30000).astype(np.int16), RATE)
    return folder


def make_shards(pairs: Path, folder: Path, extension: str = "flac", jobs: int = 2) -> Path:
    write_shards(folder, pair_samples(pairs)[0], "pairs", PER_SHARD, extension, jobs)
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("synthesised"), PAIRS)


@pytest.fixture(scope="session")
def written(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(pairs, tmp_path_factory.mktemp("shards") / "flac")


@pytest.fixture
def shards(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "shards")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- what is written


@pytest.mark.parametrize("extension", ["flac", "wav"])
def test_webdataset_reads_them(pairs: Path, tmp_path: Path, extension: str) -> None:
    make_shards(pairs, tmp_path / "out", extension)
    samples = list(webdataset.WebDataset(str(tmp_path / "out" / "{000..002}.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"fileid_{number}" for number in range(PAIRS)]
    for number, sample in enumerate(samples):
        clean, rate = soundfile.read(io.BytesIO(sample[f"clean.{extension}"]), dtype="int16")
        original, _ = soundfile.read(pairs / "clean" / f"clean_fileid_{number}.wav", dtype="int16")
        assert rate == RATE and np.array_equal(clean, original)
        assert soundfile.info(io.BytesIO(sample[f"noisy.{extension}"])).frames == len(original)


def test_the_index_says_what_is_in_them(written: Path) -> None:
    index = json.loads((written / INDEX).read_text())
    assert (index["kind"], index["format"], index["complete"]) == ("pairs", "flac", True)
    assert [(shard["name"], shard["samples"]) for shard in index["shards"]] == [
        ("000.tar", 4),
        ("001.tar", 4),
        ("002.tar", 3),
    ]
    for shard in index["shards"]:
        content = (written / shard["name"]).read_bytes()
        assert shard["sha256"] == hashlib.sha256(content).hexdigest() and shard["bytes"] == len(content)
        assert shard["seconds"] == pytest.approx(sum(clip["length"] for clip in shard["clips"]) / RATE, abs=1e-3)
    assert {path.name for path in written.iterdir()} == {"000.tar", "001.tar", "002.tar", INDEX}


def test_the_same_pairs_give_the_same_bytes(pairs: Path, written: Path, tmp_path: Path) -> None:
    assert contents(make_shards(pairs, tmp_path / "again", jobs=1)) == contents(written)


def test_a_stopped_run_goes_on(pairs: Path, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between the second shard and the index that lists it; the first is not written again."""
    replaced: list[str] = []
    replace = os.replace

    def stop(source: Path, target: Path) -> None:
        if len(replaced) == 4:  # index, shard, index, shard
            raise KeyboardInterrupt
        replaced.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        make_shards(pairs, tmp_path / "out")
    assert replaced == [INDEX, "000.tar", INDEX, "001.tar"]
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"index.json: the shards are not all written; run shard.py again"):
        open_shards(str(tmp_path / "out"))
    first = (tmp_path / "out" / "000.tar").stat().st_mtime_ns
    assert contents(make_shards(pairs, tmp_path / "out")) == contents(written)
    assert (tmp_path / "out" / "000.tar").stat().st_mtime_ns == first


@pytest.mark.parametrize("fails", ["write", "replace"])
def test_a_full_disk_leaves_no_half_shard(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if fails == "write":
        monkeypatch.setattr(webdataset.TarWriter, "write", full)
    else:
        replace = os.replace
        monkeypatch.setattr(os, "replace", lambda a, b: full() if Path(b).suffix == ".tar" else replace(a, b))
    with pytest.raises(InputError, match=r"000.tar: cannot be written \(No space left on device\); make room"):
        make_shards(pairs, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [INDEX]


def test_too_small_a_disk_is_told_before_any_work(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "free_bytes", lambda _: 1000)
    with pytest.raises(InputError, match="0.5 MB are needed and 0.0 MB are free"):
        make_shards(pairs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_of_something_else_is_left_alone(pairs: Path, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="full: holds something else"):
        make_shards(pairs, tmp_path / "full")
    with pytest.raises(InputError, match="shards: holds shards of other clips, or made with other options"):
        make_shards(pairs, shards, "wav")
    with pytest.raises(InputError, match="shards: holds shards of other clips"):
        make_shards(write_pairs(tmp_path / "others", 2), shards)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out: cannot be written"):
        make_shards(pairs, tmp_path / "file" / "out")


def test_pairs_of_no_use_are_left_out_and_named(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "pairs", 4)
    (folder / "clean" / "clean_fileid_0.wav").write_bytes(b"no audio" * 99)
    soundfile.write(folder / "clean" / "clean_fileid_1.wav", np.zeros(100), RATE)
    (folder / "clean" / "clean_fileid_3.wav").unlink()
    samples, alone = pair_samples(folder)
    assert [(path.name[-12:], reason) for path, reason in alone.items()] == [
        ("fileid_3.wav", "no clean file of its id")
    ]
    index, failures = write_shards(tmp_path / "out", samples, "pairs", PER_SHARD, "flac", 1)
    assert [clip["key"] for clip in index["shards"][0]["clips"]] == ["fileid_2"]
    assert "clean_fileid_0.wav: not audio" in str(failures[0])
    assert "fileid_1.wav: is not as long as" in str(failures[1])
    (folder / "clean" / "clean_fileid_2.wav").write_bytes(b"no audio" * 99)
    with pytest.raises(InputError, match="none of 3 clips can be used; the first: .*clean_fileid_0.wav"):
        write_shards(tmp_path / "none", samples, "pairs", PER_SHARD, "flac", 1)
    # The same place serves when there is something to write.
    assert [path.name for path in (tmp_path / "none").iterdir()] == [INDEX]
    repaired = pair_samples(write_pairs(tmp_path / "repaired", 2))[0]
    index, _ = write_shards(tmp_path / "none", repaired, "pairs", PER_SHARD, "flac", 1)
    assert index["complete"] and len(index["shards"][0]["clips"]) == 2


# ---- what is read


def dataset(folder: Path, clip_s: float = CLIP_S, seed: int = 3) -> ShardDataset:
    return ShardDataset(open_shards(str(folder)), clip_s, seed)


def test_an_epoch_has_every_stretch_of_every_pair_once(pairs: Path, written: Path) -> None:
    clips = dataset(written)
    lengths = [soundfile.info(path).frames for path in (pairs / "clean").iterdir()]
    assert clips.samples == 4096
    assert len(clips) == sum(length // 4096 for length in lengths)
    for epoch in (0, 1):
        noisy, clean, skipped = zip(*(clips[epoch * len(clips) + clip] for clip in range(len(clips))), strict=True)
        assert not any(skipped)
        assert all(signal.shape == (4096,) and signal.dtype == torch.float32 for signal in (*noisy, *clean))
        assert all(torch.allclose(a, b - 30000 / 32768, atol=1e-6) for a, b in zip(noisy, clean, strict=True))
    starts = [[int(clips[epoch * len(clips) + clip][1][0] * 32768) for clip in range(len(clips))] for epoch in (0, 1)]
    assert len(set(starts[0])) == len(clips)
    assert starts[0] != starts[1]  # cut from another place on
    # within a pair, clips follow each other without gap or overlap
    per_pair = np.split(np.array(starts[0]), np.cumsum(clips.shards.samples // 4096)[:-1])
    assert all(after - before == 4096 for of_pair in per_pair for before, after in pairwise(of_pair))


def test_some_of_the_shards_in_the_order_of_the_index(written: Path) -> None:
    some = open_shards(f"{written}/{{001..002}}.tar")
    assert [Path(path).name for path in some.paths] == ["001.tar", "002.tar"]
    assert some.fingerprint()["pairs"] == 7
    whole = open_shards(str(written))
    assert np.array_equal(some.read(0, 5, 100), whole.read(4, 5, 100))
    assert some.fingerprint() != whole.fingerprint() == open_shards(f"{written}/").fingerprint()


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_ranks_share_each_epoch_evenly(written: Path, batch_size: int, ranks: int) -> None:
    clips = dataset(written)
    samplers = [ShardSampler(clips, batch_size, rank, ranks) for rank in range(ranks)]
    orders = []
    for epoch in (1, 2):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        parts = [list(sampler) for sampler in samplers]
        assert parts == [list(sampler) for sampler in samplers]
        assert {len(part) for part in parts} == {len(samplers[0])} and len(samplers[0]) % batch_size == 0
        seen = [index for part in parts for index in part]
        assert len(set(seen)) == len(seen)
        assert {index // len(clips) for index in seen} == {epoch}
        assert 0 <= len(clips) - len(seen) < batch_size * ranks
        orders.append([index % len(clips) for index in seen])
    assert orders[0] != orders[1]


def test_a_rank_has_shards_of_its_own(written: Path) -> None:
    """Runs of equal length over three shards: at most the shards at the two ends are shared."""
    clips = dataset(written)
    shard_of = np.repeat(clips.shards.shard, clips.shards.samples // 4096)
    held = []
    for rank in range(2):
        sampler = ShardSampler(clips, 1, rank, 2)
        held.append({int(shard_of[index % len(clips)]) for index in sampler})
    assert len(held[0] & held[1]) <= 1 and held[0] | held[1] == {0, 1, 2}


def test_another_seed_is_another_order(written: Path) -> None:
    assert list(ShardSampler(dataset(written, seed=1), 1)) != list(ShardSampler(dataset(written, seed=2), 1))


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(written: Path, workers: int) -> None:
    clips = dataset(written)
    sampler = ShardSampler(clips, 3)
    sampler.set_epoch(2)
    loader = DataLoader(clips, batch_size=3, sampler=sampler, num_workers=workers)
    clean = torch.cat([batch[1] for batch in loader])
    assert torch.equal(clean, torch.stack([clips[index][1] for index in sampler]))


def test_a_stopped_epoch_goes_on_exactly(written: Path, tmp_path: Path) -> None:
    clips = dataset(written)

    def loader() -> SaveableDataLoader:
        sampler = ShardSampler(clips, 3)
        sampler.set_epoch(1)
        return SaveableDataLoader(clips, batch_size=3, sampler=sampler)

    whole = [batch[0] for batch in loader()]
    stopped, again = loader(), loader()
    for _, _batch in zip(range(2), stopped, strict=False):
        pass
    stopped._speechbrain_save(tmp_path / "position")
    done = int((tmp_path / "position").read_text())
    again._speechbrain_load(tmp_path / "position", False)
    rest = [batch[0] for batch in again]
    assert 2 <= done < len(whole) and len(rest) == len(whole) - done
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[done:], strict=True))


def test_short_pairs_are_counted_and_too_few_clips_named(written: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(dataset(written, clip_s=1.0)) == 9  # of 8 pairs, the longest has two
    assert "3 of 11 pairs in the shards are shorter than clip_s and not used" in caplog.text
    with pytest.raises(InputError, match="9 clips in the shards are less than one batch of 5 on each of 2 processes"):
        ShardSampler(dataset(written, clip_s=1.0), 5, 0, 2)
    with pytest.raises(InputError, match="0 clips in the shards"):
        ShardSampler(dataset(written, clip_s=60.0), 1)


# ---- what is wrong


def change_index(folder: Path, change: str) -> None:
    index = json.loads((folder / INDEX).read_text())
    exec(change, {"index": index, "shard": index["shards"][0], "clip": index["shards"][0]["clips"][0]})
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    "change",
    [
        "shard.pop('sha256')",
        "shard['samples'] = 5",
        "shard['name'] = '../000.tar'",
        "clip['files'].popitem()",
        "clip['files']['clean.flac'][0] = 10**9",
        "clip['length'] = 0",
        "index['kind'] = 'songs'",
        "index['shards'] = 3",
        "index.clear()",
    ],
)
def test_an_index_that_is_none_is_named(shards: Path, change: str) -> None:
    change_index(shards, change)
    with pytest.raises(InputError, match=r"shards/index.json: not an index of shards, or damaged") as error:
        open_shards(str(shards))
    assert "\n" not in str(error.value)


def test_a_shard_that_does_not_fit_is_named(shards: Path) -> None:
    first, second = shards / "000.tar", shards / "001.tar"
    with pytest.raises(InputError, match=r"003.tar: not in .*index.json, which has 3 shards"):
        open_shards(f"{shards}/{{000..009}}.tar")
    with pytest.raises(InputError, match="shards of several folders"):
        open_shards(f"{shards}/000.tar::{shards.parent}/000.tar")
    whole = first.read_bytes()
    first.write_bytes(whole[:5000])
    with pytest.raises(InputError, match=r"000.tar: has 5000 bytes, not the \d+ that index.json says"):
        open_shards(str(shards))
    first.unlink()
    with pytest.raises(InputError, match=r"000.tar: no such shard"):
        open_shards(str(shards))
    first.write_bytes(whole)
    # damage that changes no size is found where it is read
    damaged = bytearray(second.read_bytes())
    with tarfile.open(second) as tar:
        damaged[tar.getmembers()[0].offset_data + 100] ^= 1
    second.write_bytes(damaged)
    found = open_shards(str(shards))
    found.read(0, 0, 100)
    with pytest.raises(InputError, match=r"001.tar: damaged at byte 512, or not the shard of its index.json"):
        found.read(4, 0, 100)
    second.unlink()
    with pytest.raises(InputError, match=r"001.tar: cannot be read at byte"):
        found.read(4, 0, 100)


def test_training_goes_on_past_a_damaged_clip(shards: Path) -> None:
    with tarfile.open(shards / "000.tar") as tar:
        offset = tar.getmembers()[0].offset_data
    clips = dataset(shards)
    whole = [clips[clip] for clip in range(len(clips))]
    damaged = bytearray((shards / "000.tar").read_bytes())
    damaged[offset + 100] ^= 1
    (shards / "000.tar").write_bytes(damaged)
    bad = int(clips.shards.samples[0]) // clips.samples  # the clips of the first pair
    for clip in range(len(clips)):
        found, instead = clips[clip], max(clip, bad)
        assert torch.equal(found.noisy, whole[instead].noisy) and torch.equal(found.clean, whole[instead].clean)
        assert len(found.skipped) == instead - clip
        assert all("000.tar: damaged at byte 512" in reason for reason in found.skipped)


def test_a_disk_that_is_gone_ends_the_reading(shards: Path) -> None:
    clips = dataset(shards)
    for shard in shards.glob("*.tar"):
        shard.unlink()
    with pytest.raises(InputError, match=r"clips in a row are damaged; the last: .*tar: cannot be read at byte"):
        clips[0]


def test_a_length_that_the_index_makes_up_is_named(shards: Path) -> None:
    change_index(shards, "clip['length'] = 10**6")
    with pytest.raises(InputError, match=r"000.tar: .*byte \d+ "):
        open_shards(str(shards)).read(0, 9000, 4096)


def test_no_index_and_no_json_are_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone/index.json: no such index"):
        open_shards(str(tmp_path / "gone"))
    (shards / INDEX).write_bytes(b"\xff{")
    with pytest.raises(InputError, match="not an index of shards, or damaged"):
        open_shards(str(shards))


def test_shards_of_sources_are_not_for_training(pairs: Path, tmp_path: Path) -> None:
    files = sorted((pairs / "clean").iterdir())
    samples = [Sample(f"train/clean/anna/{path.stem}", {"": path}) for path in files]
    write_shards(tmp_path / "out", samples, "sources", 5, "flac", 1)
    with pytest.raises(InputError, match=r"out: its shards hold source clips, not pairs; unpack them"):
        open_shards(str(tmp_path / "out"))


# ---- from an address


@pytest.fixture
def address(shards: Path) -> Iterator[str]:
    with serve(shards) as address:
        yield address


def test_shards_of_an_address_are_fetched_once(shards: Path, address: str, tmp_path: Path) -> None:
    some = f"{address}/{{000..001}}.tar"
    cache = cache_of(some, tmp_path / "cache")
    assert is_address(some) and not is_address(str(shards)) and cache == cache_of(address, tmp_path / "cache")
    fetch_shards(some, cache)
    assert {path.name for path in cache.iterdir()} == {INDEX, "000.tar", "001.tar"}
    expected = open_shards(f"{shards}/{{000..001}}.tar")
    found = open_shards(some, cache)
    assert found.fingerprint() == expected.fingerprint()
    fetch_shards(address, cache)
    assert contents(cache) == contents(shards)
    times = {path.name: path.stat().st_mtime_ns for path in cache.glob("*.tar")}
    fetch_shards(address, cache)
    assert {path.name: path.stat().st_mtime_ns for path in cache.glob("*.tar")} == times


def test_a_server_that_is_still_written_to_leaves_the_cache_for_later(
    shards: Path, address: str, tmp_path: Path
) -> None:
    finished = (shards / INDEX).read_text()
    change_index(shards, "index['complete'] = False")
    with pytest.raises(InputError, match=re.escape(f"{address}/{INDEX}: the shards are not all written")):
        fetch_shards(address, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    (shards / INDEX).write_text(finished)
    fetch_shards(address, tmp_path / "cache")
    change_index(shards, "index.clear()")
    with pytest.raises(InputError, match=re.escape(f"{address}/{INDEX}: not an index of shards, or damaged")):
        fetch_shards(address, tmp_path / "cache")
    (shards / INDEX).write_text(finished)
    assert contents(tmp_path / "cache") == contents(shards)


def test_a_server_that_grew_or_changed_is_noticed(written: Path, shards: Path, address: str, tmp_path: Path) -> None:
    """Another shard of the same size would be taken for the one that is there."""
    cache = tmp_path / "cache"
    change_index(shards, "index['shards'].pop()")
    (shards / "002.tar").unlink()
    other = bytearray((shards / "001.tar").read_bytes())
    other[700] ^= 1
    (shards / "001.tar").write_bytes(other)
    change_index(shards, f"index['shards'][1]['sha256'] = '{hashlib.sha256(other).hexdigest()}'")
    fetch_shards(address, cache)
    assert contents(cache) == contents(shards)
    kept = (cache / "000.tar").stat().st_mtime_ns
    shutil.copytree(written, shards, dirs_exist_ok=True)
    fetch_shards(address, cache)
    assert contents(cache) == contents(written)
    assert (cache / "000.tar").stat().st_mtime_ns == kept


def test_a_damaged_index_of_the_cache_is_replaced_and_good_shards_stay(
    shards: Path, address: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    fetch_shards(address, cache)
    kept = (cache / "000.tar").stat().st_mtime_ns
    (cache / INDEX).write_text("{")
    (cache / "001.tar").write_bytes(bytes((cache / "001.tar").stat().st_size))
    fetch_shards(address, cache)
    assert contents(cache) == contents(shards)
    assert (cache / "000.tar").stat().st_mtime_ns == kept


def test_without_the_server_what_was_fetched_serves(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fetch, "_PAUSE_S", 0.0)
    cache = tmp_path / "cache"
    with serve(shards) as address:
        fetch_shards(f"{address}/{{000..001}}.tar", cache)
    fetch_shards(f"{address}/{{000..001}}.tar", cache)
    assert "cannot be reached" in caplog.text and "fetched before are used" in caplog.text
    assert {path.name for path in cache.glob("*.tar")} == {"000.tar", "001.tar"}
    with pytest.raises(InputError, match=r"002.tar: the server cannot be reached"):
        fetch_shards(address, cache)
    change_index(cache, "index['complete'] = False")
    with pytest.raises(InputError, match=r"index.json: the server cannot be reached"):
        fetch_shards(f"{address}/{{000..001}}.tar", cache)


def test_a_fetched_shard_is_checked(shards: Path, address: str, tmp_path: Path) -> None:
    damaged = bytearray((shards / "001.tar").read_bytes())
    damaged[700] ^= 1
    (shards / "001.tar").write_bytes(damaged)
    with pytest.raises(InputError, match=r"001.tar: its checksum is wrong, so it was thrown away"):
        fetch_shards(address, tmp_path / "cache")
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {INDEX, "000.tar"}
    with pytest.raises(InputError, match=r"none/index.json: the server refuses \(HTTP 404"):
        fetch_shards(f"{address}/none", tmp_path / "other")


# ---- more than one process

DRIVER = '''
"""One epoch on each rank, with a meeting of all ranks at every batch, as the gradients are met in training."""
import json, sys
import torch
from torch import distributed
from torch.utils.data import DataLoader
from speechbrain_dynsnet.data.pairs import collate
from speechbrain_dynsnet.data.shards import ShardDataset, ShardSampler, open_shards

distributed.init_process_group("gloo")
rank, ranks = distributed.get_rank(), distributed.get_world_size()
clips = ShardDataset(open_shards(sys.argv[1]), 0.25, 3)
sampler = ShardSampler(clips, 3, rank, ranks)
result = []
for epoch in (1, 2):
    sampler.set_epoch(epoch)
    seen = []
    for noisy, clean, _ in DataLoader(clips, batch_size=3, sampler=sampler, num_workers=1, collate_fn=collate):
        distributed.all_reduce(noisy.sum())
        seen += [round(float(one[0]) * 32768) for one in clean]
    parts = [None] * ranks
    distributed.all_gather_object(parts, seen)
    result.append(parts)
if rank == 0:
    print("SEEN", json.dumps(result), flush=True)
distributed.destroy_process_group()
'''


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_see_each_clip_once_and_never_hang(written: Path, tmp_path: Path, processes: int) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    ended = subprocess.run(
        [*launcher, str(tmp_path / "driver.py"), str(written)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("SEEN")]
    clips = dataset(written)
    for epoch, parts in enumerate(json.loads(line.removeprefix("SEEN ")), start=1):
        possible = {round(float(clips[epoch * len(clips) + clip][1][0]) * 32768) for clip in range(len(clips))}
        seen = [start for part in parts for start in part]
        assert {len(part) for part in parts} == {len(clips) // (3 * processes) * 3}
        assert len(set(seen)) == len(seen) and set(seen) <= possible
