"""A run that is stopped at any moment goes on to the same end; a broken checkpoint is passed over."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.training import checkpoints, run
from speechbrain_dynsnet.training.brain import DynBrain
from speechbrain_dynsnet.training.checkpoints import AtomicCheckpointer
from speechbrain_dynsnet.training.progress import EpochLog

Train = Callable[..., Path]
INTERVAL = 2  # steps between checkpoints, of 4 an epoch
KINDS: dict[str, dict[str, Any]] = {
    "layerwise": {"name": "concat_layerwise", "max_epochs": 1},  # 1 epoch of exit 0, 2 of exit 1
    "one_cycle": {"name": "concat_joint", "max_epochs": 3, "schedule": "one_cycle"},
}


class Killed(BaseException):
    """The program ends here, without a word."""


def train_kind(train_small: Train, folder: Path, kind: str) -> Path:
    return train_small(folder, run_opts={"ckpt_interval_steps": INTERVAL}, **KINDS[kind])


def end_of(bundle: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The final weights, and the log of each phase."""
    logs = {path.parent.name: path.read_text() for path in bundle.parent.glob("*/log.csv")}
    return load_file(bundle / "model.safetensors"), logs


@pytest.fixture(scope="module")
def undisturbed(train_small: Train, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles of runs that nobody stopped."""
    return {kind: train_kind(train_small, tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every training step that is run, in order."""
    seen: list[int] = []
    fit_batch = DynBrain.fit_batch

    def counted(self: DynBrain, batch: Any) -> Tensor:
        seen.append(self.step)
        loss: Tensor = fit_batch(self, batch)
        return loss

    monkeypatch.setattr(DynBrain, "fit_batch", counted)
    yield seen


def kill_at_call(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, after: bool = False, to: str = ""
) -> None:
    """Kill the run at the `call`-th call (from 1) of a function, before it does anything or after it.

    With `to`, calls count whose second argument is a path of such a name.
    """
    original, count = getattr(owner, name), [0]

    def counted(*arguments: Any, **options: Any) -> Any:
        if to and not re.fullmatch(to, Path(arguments[1]).name):
            return original(*arguments, **options)
        count[0] += 1
        if count[0] == call and not after:
            raise Killed
        result = original(*arguments, **options)
        if count[0] == call:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, counted)


# Where, at which call, before or after it: with 4 steps an epoch and a checkpoint every 2 of them.
MOMENTS: dict[str, tuple[Any, ...]] = {
    "before the first checkpoint": (DynBrain, "optimizers_step", 2, False),
    "after a checkpoint in the epoch": (DynBrain, "optimizers_step", 3, False),
    "after the last step of the epoch": (DynBrain, "_save_intra_epoch_ckpt", 2, True),
    "in the second epoch": (DynBrain, "optimizers_step", 7, True),
    "in validation": (DynBrain, "evaluate_batch", 3, False),
    "after the log, before the checkpoint": (EpochLog, "write", 2, True),
    "before a checkpoint has its checksums": (checkpoints, "_checksum", 12, False),
    "before a checkpoint has its name": (checkpoints.os, "replace", 2, False, r"CKPT\+.*"),
    "before old checkpoints go": (AtomicCheckpointer, "delete_checkpoints", 3, False),
    "after the first old checkpoint is gone": (shutil, "rmtree", 1, True),
    "after the second old checkpoint is gone": (shutil, "rmtree", 2, True),
    "when a phase ends": (DynBrain, "train_phase", 1, True),
    "before the best model so far is written": (run, "save_bundle", 1, False, "bundle_so_far"),
    "before the bundle is written": (run, "save_bundle", 1, False, "bundle"),
    "in the third epoch": (DynBrain, "optimizers_step", 12, False),
}


QUICK = ("after a checkpoint in the epoch", "after the last step of the epoch", "in the third epoch")


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        pytest.param(kind, moment, marks=() if kind == "layerwise" or moment in QUICK else pytest.mark.slow)
        for kind in KINDS
        for moment in MOMENTS
    ],
)
def test_a_stopped_run_ends_as_one_that_was_not(
    kind: str, moment: str, train_small: Train, undisturbed: dict[str, Path], steps: list[int], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as context:
        kill_at_call(context, *MOMENTS[moment])
        with pytest.raises(Killed):
            train_kind(train_small, tmp_path, kind)
    weights, logs = end_of(train_kind(train_small, tmp_path, kind))
    expected_weights, expected_logs = end_of(undisturbed[kind])
    assert all(weights[name].equal(expected_weights[name]) for name in expected_weights)
    assert logs == expected_logs
    assert len(steps) <= 3 * 4 + INTERVAL  # 3 epochs of 4 steps, and what the stop cost


def test_stopped_again_and_again(
    train_small: Train, undisturbed: dict[str, Path], steps: list[int], tmp_path: Path
) -> None:
    """A run that never gets further than its next checkpoint still ends, and the same."""
    for _ in range(20):
        with pytest.MonkeyPatch.context() as context:
            kill_at_call(context, DynBrain, "optimizers_step", INTERVAL + 1)
            try:
                bundle = train_kind(train_small, tmp_path, "layerwise")
                break
            except Killed:
                pass
    weights, logs = end_of(bundle)
    expected_weights, expected_logs = end_of(undisturbed["layerwise"])
    assert all(weights[name].equal(expected_weights[name]) for name in expected_weights)
    assert logs == expected_logs


def test_the_best_model_so_far_is_there_again_when_a_killed_run_goes_on(
    train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = MOMENTS["before the best model so far is written"]
    with pytest.MonkeyPatch.context() as context:
        kill_at_call(context, *moment)
        with pytest.raises(Killed):
            train_kind(train_small, tmp_path, "one_cycle")
    folder = next(tmp_path.rglob("settings.json")).parent
    assert not (folder / "bundle_so_far").exists()
    left = [folder / name for name in (".bundle-x", ".bundle_so_far-x.old")]  # of kills in the middle of writing
    for path in left:
        path.mkdir()
    kill_at_call(monkeypatch, DynBrain, "_fit_train", 1)
    with pytest.raises(Killed):
        train_kind(train_small, tmp_path, "one_cycle")
    assert load_bundle(folder / "bundle_so_far").exits == (0, 1)
    assert not any(path.exists() for path in left)


def test_a_checkpoint_takes_no_longer_than_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SpeechBrain's own function adds to its default list of keys with each call, and sorts by all of them."""
    keys: list[int] = []
    find = AtomicCheckpointer.find_checkpoints

    def counted(self: AtomicCheckpointer, importance_key: Any = None, **options: Any) -> Any:
        keys.append(0)
        return find(self, importance_key, **options)

    monkeypatch.setattr(AtomicCheckpointer, "find_checkpoints", counted)
    checkpointer = AtomicCheckpointer(tmp_path)
    counts = []
    for _ in range(4):
        keys.clear()
        checkpointer.save_and_keep_only(end_of_epoch=False, num_to_keep=1)
        counts.append(len(keys))
    assert len(set(counts)) == 1


def truncate(checkpoint: Path) -> None:
    weights = checkpoint / "network.ckpt"
    weights.write_bytes(weights.read_bytes()[:-100])


def flip_a_byte(checkpoint: Path) -> None:
    content = bytearray((checkpoint / "optimizer.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / "optimizer.ckpt").write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        pytest.param(flip_a_byte, marks=pytest.mark.slow),
        lambda checkpoint: (checkpoint / "CHECKSUMS.json").unlink(),
        pytest.param(lambda checkpoint: (checkpoint / "network.ckpt").unlink(), marks=pytest.mark.slow),
        pytest.param(lambda checkpoint: (checkpoint / "CHECKSUMS.json").write_text("{"), marks=pytest.mark.slow),
    ],
    ids=["truncated", "flipped", "no checksums", "a file missing", "half a list of checksums"],
)
def test_a_damaged_checkpoint_is_passed_over_by_name(
    damage: Callable[[Path], Any],
    train_small: Train,
    undisturbed: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.MonkeyPatch.context() as context:
        kill_at_call(context, DynBrain, "optimizers_step", 7)  # checkpoints of epoch 1 and of step 2 in epoch 2
        with pytest.raises(Killed):
            train_kind(train_small, tmp_path, "one_cycle")
    found = sorted(tmp_path.rglob("CKPT+*"), key=lambda path: path.stat().st_mtime)
    assert len(found) == 2
    damage(found[-1])
    weights, logs = end_of(train_kind(train_small, tmp_path, "one_cycle"))
    assert f"{found[-1]} is damaged: going on from the one before" in caplog.text
    assert "goes on in epoch 2, after step 0 of 4" in caplog.text
    expected_weights, expected_logs = end_of(undisturbed["one_cycle"])
    assert all(weights[name].equal(expected_weights[name]) for name in expected_weights)
    assert logs == expected_logs


def test_killed_while_an_old_checkpoint_is_deleted(
    train_small: Train, undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    def half(folder: Path, **_: Any) -> None:
        (Path(folder) / "network.ckpt").unlink()
        raise Killed

    with pytest.MonkeyPatch.context() as context:
        context.setattr(shutil, "rmtree", half)
        with pytest.raises(Killed):
            train_kind(train_small, tmp_path, "layerwise")
    weights, logs = end_of(train_kind(train_small, tmp_path, "layerwise"))
    expected_weights, expected_logs = end_of(undisturbed["layerwise"])
    assert all(weights[name].equal(expected_weights[name]) for name in expected_weights)
    assert logs == expected_logs


def test_the_plateau_counts_on_after_a_stop(train_small: Train, tmp_path: Path) -> None:
    """A learning rate too small to improve: the sixth epoch ends with five bad ones, and the rate falls."""
    options = {"max_epochs": 8, "lr": 1e-12, "clips_per_epoch": 4, "valid_clips": 4}
    with pytest.MonkeyPatch.context() as context:
        kill_at_call(context, EpochLog, "write", 4)
        with pytest.raises(Killed):
            train_small(tmp_path, **options)
    bundle = train_small(tmp_path, **options)
    (log,) = end_of(bundle)[1].values()
    rates = [float(row.split(",")[1]) for row in log.splitlines()[1:]]
    assert rates == pytest.approx([1e-12] * 6 + [9e-13] * 2)


def test_best_and_last_are_kept_and_nothing_else(undisturbed: dict[str, Path]) -> None:
    for bundle in undisturbed.values():
        for phase in bundle.parent.glob("phase_*"):
            names = [path.name for path in phase.iterdir() if path.is_dir() and path.name != "tensorboard"]
            assert 1 <= len(names) <= 2
            assert all(name.startswith("CKPT+") for name in names)


def test_a_checkpoint_of_another_architecture_is_refused_before_its_weights(train_small: Train, tmp_path: Path) -> None:
    bundle = train_small(tmp_path, max_epochs=1)
    shutil.rmtree(bundle)
    (bundle.parent / "settings.json").unlink()
    with pytest.raises(InputError, match=r"another architecture \(exits \[0, 1\], not \[1\]\)"):
        train_small(tmp_path, max_epochs=1, exits=[1], output_folder=str(_with_phase_of(bundle.parent, [1])))


def _with_phase_of(folder: Path, exits: list[int]) -> Path:
    """The run folder, its phase renamed as if these exits had been trained."""
    (phase,) = folder.glob("phase_0_*")
    phase.rename(folder / f"phase_0_exits_{'_'.join(map(str, exits))}")
    return folder
