"""Shards from the command line, and training on them: the same to the bit after a stop, and on two processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from recipes.DNS2020.shard import main
from speechbrain_dynsnet.data.manifest import read_corpus
from speechbrain_dynsnet.data.trial import make_trial_set
from tests.serving import serve

ROOT = Path(__file__).parents[2]
RATE = 16000
SMALL = "--exits [0,1] --batch_size 4 --valid_clips 8 --clip_s 0.5 --device=cpu --noprogressbar".split()
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    return make_trial_set(
        folder, speakers=3, clips_per_speaker=2, clip_s=1.0, noises=4, noise_s=1.0, impulse_responses=2
    )


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pairs as synthesise.py leaves them, of 1 to 2.6 s."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for kind in ("clean", "noise", "noisy"):
        (folder / kind).mkdir()
    for number in range(9):
        clean, noise = 0.1 * rng.standard_normal((2, RATE + 3200 * number))
        soundfile.write(folder / "clean" / f"clean_fileid_{number}.wav", clean, RATE)
        soundfile.write(folder / "noise" / f"noise_fileid_{number}.wav", noise, RATE)
        soundfile.write(folder / "noisy" / f"a_b_snr0_tl-20_fileid_{number}.wav", clean + noise, RATE)
    return folder


@pytest.fixture(scope="session")
def written(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("shards") / "out"
    sharded(pairs, output, "--per_shard", "4")
    return output


@pytest.fixture
def shards(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "shards")


def shard(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def sharded(*words: str | Path) -> Result:
    result = shard(*words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(*words: str | Path) -> str:
    result = shard(*words)
    assert result.exit_code == 2, (result.output, result.exception)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def train(data: Path, shards: Path | str, folder: Path, *more: str) -> list[str]:
    folders = ["--data_folder", str(data), "--shards", str(shards), "--results_folder", str(folder)]
    return ["train.py", "hparams/split_joint.yaml", *SMALL, *folders, *more]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def weights(folder: Path) -> dict[str, bytes]:
    tensors = load_file(folder / "split_joint_01" / "bundle" / "model.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


# ---- writing


def test_pairs_are_written_and_told(pairs: Path, tmp_path: Path) -> None:
    result = sharded(pairs, tmp_path / "out", "--per_shard", "4")
    assert result.stdout == f"written: {tmp_path / 'out' / 'index.json'} and 3 shards: 9 pairs, 0.00 h\n"
    assert result.stderr == ""
    with tarfile.open(tmp_path / "out" / "002.tar") as tar:
        assert tar.getnames() == ["fileid_8.clean.flac", "fileid_8.noisy.flac"]


def test_files_that_cannot_be_used_are_counted_and_named(pairs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pairs, tmp_path / "pairs")
    (folder / "clean" / "clean_fileid_3.wav").unlink()
    (folder / "clean" / "clean_fileid_5.wav").write_bytes(b"")
    result = sharded(folder, tmp_path / "out")
    assert "7 pairs" in result.stdout
    first, *named = result.stderr.splitlines()
    assert first == "left out: 2 files"
    assert named[0].endswith("fileid_3.wav: no clean file of its id")
    assert "clean_fileid_5.wav: is empty" in named[1]


def test_shards_of_sources_unpack_into_the_data_folder(data: Path, tmp_path: Path) -> None:
    (rain := tmp_path / "data").mkdir()
    shutil.copytree(data, rain, dirs_exist_ok=True)
    for folder in ("a.b", "a_b"):  # two files of one key
        (rain / "noise" / folder).mkdir()
        soundfile.write(rain / "noise" / folder / "rain.v2.wav", 0.1 * np.ones((48000, 2)), 48000)
    result = sharded(rain, tmp_path / "out", "--kind", "sources", "--per_shard", "5")
    assert "and 3 shards: 14 sources" in result.stdout
    for path in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "unpacked", filter="data")
    expected, found = read_corpus(rain), read_corpus(tmp_path / "unpacked")
    for split in expected:
        for kind in ("clean", "noise", "impulse_responses"):
            pair = getattr(expected[split], kind), getattr(found[split], kind)
            groups = [sorted(source.group.replace(".", "_") for source in sources) for sources in pair]
            assert groups[0] == groups[1]
    twins = sorted((tmp_path / "unpacked").rglob("rain*"))
    assert [path.name for path in twins] == ["rain_v2-2.flac", "rain_v2.flac"]
    assert (soundfile.info(twins[0]).samplerate, soundfile.info(twins[0]).frames) == (RATE, RATE)


def test_a_source_that_cannot_be_read_is_left_out(data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(data, tmp_path / "data")
    bad = sorted((folder / "noise").rglob("*.wav"))[0]
    bad.write_bytes(b"no audio" * 99)
    result = sharded(folder, tmp_path / "out", "--kind", "sources")
    assert result.stderr.startswith(f"left out: 1 files\n  {bad}: not audio")


def test_what_is_no_input_or_no_output_is_one_line(pairs: Path, data: Path, tmp_path: Path) -> None:
    assert "gone: has no noisy/ and clean/; give the folder that synthesise.py wrote" in refused(
        tmp_path / "gone", tmp_path / "out"
    )
    (tmp_path / "empty" / "noisy").mkdir(parents=True)
    (tmp_path / "empty" / "clean").mkdir()
    assert "empty: no clean and noisy file have the same file id" in refused(tmp_path / "empty", tmp_path / "out")
    assert "empty/clean: there is no audio in it" in refused(tmp_path / "empty", tmp_path / "out", "--kind", "sources")
    assert f"{pairs}: holds something else; give a new or empty folder" in refused(pairs, pairs)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is writable to root")
def test_a_read_only_folder_is_named(pairs: Path, tmp_path: Path) -> None:
    (locked := tmp_path / "locked").mkdir(mode=0o500)
    assert "locked/out: cannot be written (Permission denied)" in refused(pairs, locked / "out")


# ---- training


@pytest.mark.slow
def test_training_on_shards_killed_and_started_again(data: Path, shards: Path, tmp_path: Path) -> None:
    """A true kill -9, at a moment that nobody chose, ends with the weights of a run that was not stopped."""
    options = ["--max_epochs", "6", "--ckpt_interval_steps", "1"]
    words = [sys.executable, *train(data, shards, tmp_path / "killed", *options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    until = time.monotonic() + 180
    while "epoch 2/" not in process.stdout.readline():
        assert time.monotonic() < until
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=10) == -signal.SIGKILL
    process.stdout.close()
    again = run([*words, "--num_workers", "0"])
    assert again.returncode == 0, again.stderr
    assert re.search("goes on in epoch [2-6], after step", again.stdout)
    # another place, other workers: the same shards
    moved = shutil.copytree(shards, tmp_path / "elsewhere" / "shards")
    whole = run([sys.executable, *train(data, f"{moved}/{{000..002}}.tar", tmp_path / "whole", *options)])
    assert whole.returncode == 0, whole.stderr
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_train_on_uneven_shards(data: Path, shards: Path, tmp_path: Path) -> None:
    options = ["--max_epochs=2", "--distributed_backend=gloo"]
    result = run([*TORCHRUN, *train(data, shards, tmp_path, *options)])
    assert result.returncode == 0, result.stderr[-3000:]
    assert "epoch 2/2" in result.stdout and weights(tmp_path)


@pytest.mark.slow
def test_other_shards_in_the_same_run_are_refused(data: Path, shards: Path, tmp_path: Path) -> None:
    assert run([sys.executable, *train(data, shards, tmp_path, "--max_epochs", "1")]).returncode == 0
    result = run([sys.executable, *train(data, f"{shards}/{{000..001}}.tar", tmp_path, "--max_epochs", "1")])
    assert result.returncode == 2
    assert "split_joint_01: holds another run (data " in result.stderr


@pytest.fixture
def address(shards: Path) -> Iterator[str]:
    with serve(shards) as address:
        yield address


@pytest.mark.slow
def test_training_from_an_address(data: Path, shards: Path, address: str, tmp_path: Path) -> None:
    result = run([sys.executable, *train(data, f"{address}/{{000..001}}.tar", tmp_path, "--max_epochs", "1")])
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "shards").rglob("*.tar")) == [
        *("000.tar", "000.tar", "001.tar", "001.tar", "002.tar"),  # the fixture's own are in this folder too
    ]


@pytest.mark.parametrize(
    ("workers", "processes"), [(0, 1), *(pytest.param(1, processes, marks=pytest.mark.slow) for processes in (1, 2))]
)
def test_shards_without_a_good_clip_end_training_with_one_line(
    data: Path, shards: Path, tmp_path: Path, workers: int, processes: int
) -> None:
    for path in shards.glob("*.tar"):
        path.write_bytes(bytes(path.stat().st_size))
    launcher = [sys.executable] if processes == 1 else TORCHRUN
    options = ["--max_epochs=1", f"--num_workers={workers}", "--distributed_backend=gloo"]
    result = run([*launcher, *train(data, shards, tmp_path / "results", *options)])
    assert result.returncode != 0
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert 1 <= len(errors) <= processes
    for line in errors:
        assert re.fullmatch(rf"Error: \d+ clips in a row are damaged; the last: {shards}/00\d.tar: damaged at .*", line)


@pytest.mark.slow
def test_training_goes_on_past_a_damaged_clip_and_says_so(data: Path, shards: Path, tmp_path: Path) -> None:
    damaged = bytearray((shards / "000.tar").read_bytes())
    damaged[700] ^= 1
    (shards / "000.tar").write_bytes(damaged)
    result = run([sys.executable, *train(data, shards, tmp_path / "results", "--max_epochs=2")])
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(f"{shards}/000.tar: damaged at byte 512") == 1


def test_shards_alone_are_not_enough(data: Path, shards: Path, tmp_path: Path) -> None:
    words = ["train.py", "hparams/split_joint.yaml", "--shards", str(shards), "--results_folder", str(tmp_path / "r")]
    result = run([sys.executable, *words])
    assert result.returncode == 2
    assert "shards are for training only: give --data_folder too" in result.stderr.splitlines()[-1]
    result = run([sys.executable, *train(data, tmp_path / "gone", tmp_path / "r")])
    assert result.returncode == 2
    assert "gone/index.json: no such index" in result.stderr.splitlines()[-1]
