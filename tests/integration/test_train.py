"""`python train.py` as a user calls it: what it says, what it leaves, killed and under torchrun."""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from speechbrain_dynsnet.audio.files import Audio, write_audio
from speechbrain_dynsnet.data.trial import make_trial_set
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.training import progress

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
SMALL = "--exits [0,1] --clips_per_epoch 16 --batch_size 4 --valid_clips 8 --clip_s 0.5 --num_workers 0".split()
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
ON_CPU = ["--device=cpu", "--distributed_backend=gloo"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    return make_trial_set(
        folder, speakers=3, clips_per_speaker=2, clip_s=1.0, noises=4, noise_s=1.0, impulse_responses=2
    )


def command(name: str, data: Path, results: Path, *more: str) -> list[str]:
    folders = ["--data_folder", str(data), "--results_folder", str(results)]
    return [sys.executable, "train.py", f"hparams/{name}.yaml", *SMALL, *folders, "--device=cpu", *more]


def run(words: list[str], timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout)


def weights_equal(one: Path, other: Path) -> bool:
    a, b = (load_file(bundle / "model.safetensors") for bundle in (one, other))
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def test_what_a_user_sees(data: Path, tmp_path: Path) -> None:
    words = command("concat_joint", data, tmp_path, "--max_epochs", "2")
    first = run(words)
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "concat_joint_01"
    lines = first.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines[:2]] == ["train", "valid"]
    assert "h of speech (speakers: 2)" in lines[0] and "(speakers: 1)" in lines[1]
    lines = lines[2:]
    assert lines[0] == f"this run is in {folder}"
    assert [line.split("  ")[0] for line in lines[1:3]] == ["exits_0_1 epoch 1/2", "exits_0_1 epoch 2/2"]
    assert all(name in lines[1] for name in ("train ", "valid loss", "exit_0 ", "exit_1 ", "ones "))
    assert lines[3:] == [f"the run is finished: its model is in {folder / 'bundle'}"]
    assert load_bundle(folder / "bundle").exits == (0, 1)
    assert "speechbrain.core" in (folder / "log.txt").read_text()

    second = run(words)
    assert second.returncode == 0
    assert second.stdout.startswith(f"this run is finished: its model is in {folder / 'bundle'}")
    assert "epoch" not in second.stdout

    other = run([*words, "--lr", "0.5"])
    assert other.returncode == 2
    assert other.stderr.splitlines()[-1].startswith(f"Error: {folder}: holds another run (lr 0.001 -> 0.5)")


def test_killed_and_started_again(data: Path, tmp_path: Path) -> None:
    """A true kill -9, at a moment that nobody chose, in a run of many short epochs."""
    options = ["--max_epochs", "3", "--ckpt_interval_steps", "1", "--noprogressbar"]
    words = command("concat_layerwise", data, tmp_path / "killed", *options)
    process = subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    until = time.monotonic() + 180
    while "exits_1 epoch 2/" not in process.stdout.readline():
        assert time.monotonic() < until
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=10) == -signal.SIGKILL
    process.stdout.close()
    again = run(words)
    assert again.returncode == 0, again.stderr
    assert "exits_0 is finished, after epoch 3" in again.stdout
    assert re.search("exits_1 goes on in epoch [2-6], after step [0-4] of 4", again.stdout)
    assert "exits_1 epoch 1/" not in again.stdout
    assert run(command("concat_layerwise", data, tmp_path / "whole", *options)).returncode == 0
    assert weights_equal(*(tmp_path / name / "concat_layerwise_01" / "bundle" for name in ("killed", "whole")))


# ---- bad input: in this process, since each start of Python costs seconds


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Data folders and recipes that do not serve."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "only_clean" / "clean").mkdir(parents=True)
    for name in "ab":
        tone = np.full((1, 16000), 0.1, dtype=np.float32)
        write_audio(tmp_path / "only_clean" / "clean" / f"{name}.wav", Audio(tone, 16000))
    for kind in ("clean", "noise"):
        (tmp_path / "text" / kind).mkdir(parents=True)
        for name in "ab":
            (tmp_path / "text" / kind / f"{name}.wav").write_text("no audio\n" * 99)
    (tmp_path / "malformed.yaml").write_text("lr: [1\n")
    known = (ROOT / "hparams" / "concat_joint.yaml").read_text().replace("parts/", f"{ROOT}/hparams/parts/")
    (tmp_path / "unknown.yaml").write_text(known + "\nlearning_rate: 3\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gone.yaml", "gone.yaml: no such recipe; choose a file of hparams/"),
        ("{bad}/malformed.yaml", "malformed.yaml: not valid YAML"),
        ("{bad}/unknown.yaml", "unknown.yaml: unknown key 'learning_rate'"),
        ("{yaml} --lrr 1", "unknown key 'lrr', did you mean lr?"),
        ("{yaml} --data_folder {bad}/gone", "gone: no such folder or manifest"),
        ("{yaml} --data_folder {bad}/empty", "empty/clean: no such folder; put the clean audio there"),
        ("{yaml} --data_folder {bad}/only_clean", "only_clean/noise: no such folder; put the noise audio there"),
        ("{yaml} --data_folder {bad}/text", "none of .* audio files can be read"),
        ("{yaml} --data_folder {data} --batch_size 9999", "clips_per_epoch 3200 is less than one batch of 9999"),
        ("{yaml} --data_folder {data} --valid_clips 3", "valid_clips 3 is less than one batch of 16"),
        ("{yaml} --data_folder {data} --batch_size 0", "batch_size is 0: give a whole number of at least 1"),
        ("{yaml} --data_folder {data} --batch_size many", "batch_size is 'many'"),
        ("{yaml} --data_folder {data} --clip_s 0.001", "clip_s is 0.001: give a length in seconds"),
        ("{yaml} --data_folder {data} --baseline {bad}/empty", "--baseline is for the pretrain family"),
        ("{pretrain} --data_folder {data} --baseline {bad}/gone", "gone: no such folder"),
        ("{pretrain} --data_folder {data} --baseline {bad}/empty", "empty: not a model folder"),
        ("{yaml} --data_folder {data} --exits 3", "exits is 3: give a list of stage numbers"),
        ("{yaml} --data_folder {data} --schedule never", "schedule is 'never': choose one of"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_run(
    arguments: str,
    message: str,
    bad: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipes = {name: ROOT / "hparams" / f"{name}_joint.yaml" for name in ("concat", "pretrain")}
    filled = [
        word.format(bad=bad, data=data, yaml=recipes["concat"], pretrain=recipes["pretrain"])
        for word in arguments.split()
    ]
    monkeypatch.setattr(progress, "log_to_terminal", lambda: None)  # it would take pytest's own logging away
    monkeypatch.setattr(sys, "argv", ["train.py", *filled, "--results_folder", str(bad / "results")])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    assert stop.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "audio files:" not in line and line.strip()]
    assert line.startswith("Error: ")
    assert re.search(message, line)
    assert {path.name for path in (bad / "results").glob("*")} <= {"decoded"}


# ---- more than one process

DRIVER = '''
"""Train as train.py does, and compare the ranks: the same weights after each phase, other data in each."""
import hashlib, sys
import speechbrain as sb
from speechbrain.utils.distributed import ddp_init_group
from torch import distributed
from speechbrain_dynsnet.training.brain import DynBrain
from speechbrain_dynsnet.training.recipe import load_recipe
from speechbrain_dynsnet.training.run import train

def digest(*tensors):
    return hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in tensors)).hexdigest()

def gather(value):
    values = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values

class Checked(DynBrain):
    def fit(self, *arguments, **options):
        self.seen = []
        super().fit(*arguments, **options)
        weights = gather(digest(*self.network.state_dict().values()))  # as trained, before the best is loaded
        assert len(set(weights)) == 1, weights
        batches = [one for rank in gather(self.seen) for one in rank]
        assert len(set(batches)) == len(batches) > 0, batches
        if distributed.get_rank() == 0:
            print("CHECKED", self.phase.name, len(batches), flush=True)

    def fit_batch(self, batch):
        self.seen.append(digest(batch.noisy, batch.clean))
        return super().fit_batch(batch)

import speechbrain_dynsnet.training.run as run
run.DynBrain = Checked
path, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
ddp_init_group(run_opts)
train(load_recipe(path, overrides), run_opts, path, overrides)
'''


@pytest.mark.parametrize(
    ("name", "phases", "more"),
    [
        ("concat_layerwise", ["exits_0 4", "exits_1 8"], ["--max_epochs", "1"]),
        pytest.param("split_joint", ["exits_0_1 8"], ["--max_epochs", "2"], marks=pytest.mark.slow),
        pytest.param("pretrain_layerwise", ["exits_0 4", "exits_1 4"], ["--max_epochs", "1"], marks=pytest.mark.slow),
    ],
)
def test_two_processes_end_with_the_same_weights_from_different_data(
    name: str, phases: list[str], more: list[str], data: Path, tmp_path: Path
) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    script, *arguments = command(name, data, tmp_path, *more, *ON_CPU)[1:]
    result = run([*TORCHRUN, str(tmp_path / "driver.py"), *arguments])
    assert result.returncode == 0, result.stderr[-3000:]
    checked = [line.removeprefix("CHECKED ") for line in result.stdout.splitlines() if "CHECKED" in line]
    assert checked == phases  # two batches of four a rank and epoch


@pytest.mark.slow
@pytest.mark.parametrize("name", ["concat_joint", "concat_layerwise"])
def test_two_processes_killed_and_started_again(name: str, data: Path, tmp_path: Path) -> None:
    options = ["--max_epochs", "8", "--ckpt_interval_steps", "1", *ON_CPU]
    words = [*TORCHRUN, *command(name, data, tmp_path / "killed", *options)[1:]]
    process = subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    until = time.monotonic() + 180
    while "epoch 3/" not in process.stdout.readline():
        assert time.monotonic() < until
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    process.wait(timeout=10)
    process.stdout.close()
    again = run(words)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "goes on in epoch" in again.stdout
    whole = run([*TORCHRUN, *command(name, data, tmp_path / "whole", *options)[1:]])
    assert whole.returncode == 0, whole.stderr[-3000:]
    assert weights_equal(*(tmp_path / folder / f"{name}_01" / "bundle" for folder in ("killed", "whole")))


def test_bad_input_ends_all_processes(data: Path, tmp_path: Path) -> None:
    words = command("concat_joint", data, tmp_path, *ON_CPU)[1:]
    words[words.index("--batch_size") + 1] = "64"
    result = run([*TORCHRUN, *words], timeout=60)
    assert result.returncode != 0
    assert "Error: clips_per_epoch 16 is less than one batch of 64 on each of 2 processes" in result.stderr
    assert "exitcode  : 2" in result.stderr
    assert not (tmp_path / "concat_joint_01").exists()


@pytest.mark.slow
def test_without_arguments_it_trains_on_a_set_of_its_own(tmp_path: Path) -> None:
    """At most five minutes on two cores; deeper exits beat exit 0, which beats a mask of ones."""
    words = [sys.executable, "train.py", "hparams/concat_joint.yaml", "--results_folder", str(tmp_path)]
    result = run(words, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "no --data_folder: a trial run on the generated set" in result.stdout
    (log,) = tmp_path.rglob("log.csv")
    header, *rows = (line.split(",") for line in log.read_text().splitlines())
    best = min((dict(zip(header, map(float, row), strict=True)) for row in rows), key=lambda row: row["loss"])
    assert best["ones"] > best["exit_0"] > max(best["exit_1"], best["exit_3"], best["exit_5"])
