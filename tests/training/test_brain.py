"""A phase trains what it should, from where it should, and nothing else."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.training import checkpoints, run
from speechbrain_dynsnet.training.brain import DynBrain
from speechbrain_dynsnet.training.progress import Averages

Train = Callable[..., Path]
Weights = dict[str, Tensor]


def best_weights(brain: DynBrain) -> Weights:
    """Of the best checkpoint: the average is what counts."""
    best = brain.checkpointer.find_checkpoint(min_key="loss")
    saved = torch.load(best.paramfiles["average"])
    return {name.removeprefix("module."): value for name, value in saved.items() if name != "n_averaged"}


def weights_of(brain: DynBrain) -> Weights:
    return {name: value.clone() for name, value in brain.network.state_dict().items()}


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each phase had before it, after it, and as its optimiser at the start."""
    seen: list[dict[str, Any]] = []
    train_phase, init_optimizers = DynBrain.train_phase, DynBrain.init_optimizers

    def recorded(self: DynBrain, *arguments: Any) -> dict[str, float]:
        seen.append({"brain": self, "before": weights_of(self)})
        best = train_phase(self, *arguments)
        seen[-1]["after"] = weights_of(self)
        return best

    def fresh(self: DynBrain) -> None:
        init_optimizers(self)
        seen[-1] |= {"lr": self.optimizer.param_groups[0]["lr"], "state": dict(self.optimizer.state)}

    monkeypatch.setattr(DynBrain, "train_phase", recorded)
    monkeypatch.setattr(DynBrain, "init_optimizers", fresh)
    return seen


@pytest.mark.parametrize(
    "name",
    [
        "concat_layerwise",
        pytest.param("split_layerwise", marks=pytest.mark.slow),
        pytest.param("pretrain_layerwise", marks=pytest.mark.slow),
        "split_joint",
    ],
)
def test_a_phase_changes_what_trains_and_keeps_the_rest_bit_for_bit(
    name: str, train_small: Train, phases: list[dict[str, Any]], tmp_path: Path
) -> None:
    train_small(tmp_path, name, exits=[0, 1, 3], max_epochs=1)
    assert len(phases) == (1 if name.endswith("joint") else 3)
    for phase in phases:
        brain = phase["brain"]
        trainable = brain.phase.trainable(brain.network)
        assert trainable
        for weight, before in phase["before"].items():
            changed = not torch.equal(before, phase["after"][weight])
            assert changed == (weight in trainable), f"{weight} in {brain.phase.name}"


def test_a_phase_starts_from_the_best_of_the_one_before_with_a_fresh_optimiser(
    train_small: Train, phases: list[dict[str, Any]], tmp_path: Path
) -> None:
    train_small(tmp_path, "concat_layerwise", max_epochs=3, lr=0.02)
    for earlier, later in zip(phases[:-1], phases[1:], strict=True):
        saved = best_weights(earlier["brain"])
        assert all(torch.equal(saved[name], later["before"][name]) for name in saved)
    assert [phase["lr"] for phase in phases] == [0.02] * 2
    assert not any(phase["state"] for phase in phases)


@pytest.mark.parametrize("name", ["concat_joint", "concat_layerwise"])
def test_the_bundle_is_the_best_checkpoint_with_the_whitening_applied(
    name: str, train_small: Train, phases: list[dict[str, Any]], tmp_path: Path
) -> None:
    bundle = load_bundle(train_small(tmp_path, name, max_epochs=3))
    brain = phases[-1]["brain"]
    network = brain.network
    network.load_state_dict(best_weights(brain))
    features = -10.0 + 5.0 * torch.randn(2, 20, 257, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for exit in (0, 1):
            expected, _ = network.eval()(brain.whitening(features), exit=exit)
            mask, _ = bundle(features, exit=exit)
            torch.testing.assert_close(mask, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["concat_joint", "concat_layerwise"])
def test_the_best_so_far_can_be_used_before_the_end(
    name: str, train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_validation(monkeypatch, [5.0, 4.0, *(6.0 for _ in range(4))])
    kept = []
    save = run.save_bundle

    def recorded(network: DynamicNsNet2, folder: Path, training: dict[str, Any]) -> Path:
        save(network, folder, training)
        weights = torch.cat([value.flatten() for value in load_bundle(folder).parameters()])
        kept.append((folder.name, training["best"]["epoch"], weights))
        return folder

    monkeypatch.setattr(run, "save_bundle", recorded)
    bundle = train_small(tmp_path, name, max_epochs=3)
    assert [(folder, epoch) for folder, epoch, _ in kept] == [("bundle_so_far", 1), ("bundle_so_far", 2), ("bundle", 2)]
    assert torch.equal(kept[1][2], kept[2][2]) and not torch.equal(kept[0][2], kept[1][2])
    assert not bundle.with_name("bundle_so_far").exists()


def test_the_recipes_options_apply_and_the_command_line_wins(
    train_small: Train, phases: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []
    clip = torch.nn.utils.clip_grad_norm_

    def recorded(parameters: Any, max_norm: float) -> Tensor:
        limits.append(max_norm)
        return clip(parameters, max_norm)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", recorded)
    train_small(tmp_path / "a", max_epochs=1)
    brain = phases[-1]["brain"]
    assert (brain.max_grad_norm, brain.skip_nonfinite_grads, brain.ckpt_interval_steps) == (1.0, True, 200)
    train_small(tmp_path / "b", max_epochs=1, run_opts={"max_grad_norm": 3.0})
    train_small(tmp_path / "c", max_epochs=1, run_opts={"max_grad_norm": -1.0})
    # -1 is SpeechBrain's word for no clipping; taken literally it would turn the gradients round
    assert limits == [1.0] * 4 + [3.0] * 4 + [math.inf] * 4


def test_bf16_trains_close_to_fp32(train_small: Train, phases: list[dict[str, Any]], tmp_path: Path) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        train_small(tmp_path / precision, run_opts={"precision": precision, "eval_precision": precision})
        losses.append(phases[-1]["brain"].train_loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]


@pytest.mark.slow
def test_a_compiled_network_trains_as_the_plain_one(
    train_small: Train, phases: list[dict[str, Any]], tmp_path: Path
) -> None:
    for compiled in (False, True):
        train_small(tmp_path / str(compiled), max_epochs=1, run_opts={"compile": compiled})
    plain, compiled = phases
    assert compiled["brain"].train_loss == pytest.approx(plain["brain"].train_loss, rel=1e-4)
    assert plain["after"].keys() == compiled["after"].keys()


def test_one_bad_batch_is_left_out_and_said(
    train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad_loss_at(monkeypatch, {2})
    bundle = load_bundle(train_small(tmp_path))
    assert all(value.isfinite().all() for value in bundle.state_dict().values())
    assert caplog.text.count("step 2 of epoch 1 skipped") == 1
    rows = next(tmp_path.rglob("log.csv")).read_text()
    assert "nan" not in rows


def test_training_that_diverges_stops_and_keeps_its_best(
    train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_loss_at(monkeypatch, set(range(5, 100)))
    with pytest.raises(
        InputError, match=r"diverged in epoch 2: the losses of 4 batches are not finite; .*--lr"
    ) as error:
        train_small(tmp_path, max_epochs=3)
    assert "\n" not in str(error.value)
    so_far = tmp_path / "concat_joint_01" / "bundle_so_far"
    assert str(error.value).endswith(f"; the best model so far is {so_far}")
    assert all(value.isfinite().all() for value in load_bundle(so_far).state_dict().values())
    assert (so_far.parent / "log.txt").read_text().count(f"ERROR - {error.value}") == 1
    (best,) = tmp_path.rglob("network.ckpt")
    assert all(value.isfinite().all() for value in torch.load(best).values())


def test_a_validation_loss_that_is_not_finite_stops_and_keeps_the_best(
    train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_validation(monkeypatch, [1.0, math.nan, 0.5])
    with pytest.raises(InputError, match="diverged in epoch 2: the validation loss is not finite"):
        train_small(tmp_path, max_epochs=3)
    assert len(list(tmp_path.rglob("network.ckpt"))) == 1


def test_gradients_that_are_never_finite_stop_it_too(
    train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: DynBrain) -> None:
        for parameter in self.network.parameters():
            parameter.grad = torch.full_like(parameter, math.nan)
        check_gradients(self)

    check_gradients = DynBrain.check_gradients
    monkeypatch.setattr(DynBrain, "check_gradients", broken)
    with pytest.raises(InputError, match="diverged in epoch 1: the gradients of 4 steps are not finite"):
        train_small(tmp_path)


@pytest.mark.parametrize("epochs", [1, 5])
def test_training_that_only_gets_worse_stops(train_small: Train, tmp_path: Path, epochs: int) -> None:
    """Masks are bounded, so the loss is finite whatever the learning rate."""
    for _ in range(2):  # the second time it has nothing to train, and says so again
        with pytest.raises(InputError, match=f"diverged in epoch {min(epochs, 3)}: the best validation loss is"):
            train_small(tmp_path, lr=100.0, max_epochs=epochs)
    assert not list(tmp_path.rglob("bundle*"))


def test_a_run_goes_on_from_a_checkpoint_that_does_not_know_how_it_began(train_small: Train, tmp_path: Path) -> None:
    bundle = train_small(tmp_path, max_epochs=1)
    shutil.rmtree(bundle)
    for path in tmp_path.rglob("before.ckpt"):
        path.unlink()
        sums = json.loads((path.parent / "CHECKSUMS.json").read_text())
        del sums["before.ckpt"]
        (path.parent / "CHECKSUMS.json").write_text(json.dumps(sums))
    assert load_bundle(train_small(tmp_path, max_epochs=1)).exits == (0, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("network", "its network is broken, not finite: .* more"),
        ("optimizer", "the state of its optimiser is not finite"),
    ],
)
def test_a_broken_checkpoint_is_named(
    train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    bundle = train_small(tmp_path, max_epochs=1)
    shutil.rmtree(bundle)
    (path,) = tmp_path.rglob(f"{name}.ckpt")
    torch.save(spoilt(torch.load(path)), path)
    monkeypatch.setattr(checkpoints, "_checksum", lambda path: 0)
    sums = json.loads((path.parent / "CHECKSUMS.json").read_text())
    (path.parent / "CHECKSUMS.json").write_text(json.dumps(dict.fromkeys(sums, 0)))
    with pytest.raises(InputError, match=rf"CKPT.*: {message}; delete it"):
        train_small(tmp_path, max_epochs=1)


def spoilt(state: Any) -> Any:
    """The same with NaN in all its tensors."""
    if isinstance(state, dict):
        return {name: spoilt(value) for name, value in state.items()}
    return state * math.nan if torch.is_tensor(state) else state


def test_early_stopping_counts_on_after_a_stop(
    train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience 2, best at epoch 2: epoch 4 is the last, whether the run was stopped in between or not."""
    script_validation(monkeypatch, [1.0, 0.8, 0.9, 0.85, 0.1, 0.1])
    on_stage_end, stops = DynBrain.on_stage_end, [3]

    def stopping(self: DynBrain, stage: Any, loss: float, epoch: int | None = None) -> None:
        on_stage_end(self, stage, loss, epoch)
        if stage.name == "VALID" and epoch in stops:
            raise KeyboardInterrupt

    monkeypatch.setattr(DynBrain, "on_stage_end", stopping)
    for stops[0] in (3, 4):
        with pytest.raises(KeyboardInterrupt):
            train_small(tmp_path, max_epochs=6, patience=2)
    stops.clear()
    train_small(tmp_path, max_epochs=6, patience=2)
    rows = next(tmp_path.rglob("log.csv")).read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3", "4"]


def test_accumulated_gradients_move_the_schedule_once_an_optimiser_step(
    train_small: Train, phases: list[dict[str, Any]], tmp_path: Path
) -> None:
    train_small(tmp_path, schedule="one_cycle", run_opts={"grad_accumulation_factor": 2})
    scheduler = phases[-1]["brain"].schedule.scheduler
    assert scheduler.total_steps == scheduler.last_epoch == 4  # 2 epochs of 4 batches, by twos


def bad_loss_at(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Make the loss of these training steps (counted over epochs, from 1) NaN."""
    compute, count = DynBrain.compute_objectives, [0]

    def objectives(self: DynBrain, predictions: Any, batch: Any, stage: Any) -> Tensor:
        loss: Tensor = compute(self, predictions, batch, stage)
        if stage.name != "TRAIN":
            return loss
        count[0] += 1
        return loss * math.nan if count[0] in steps else loss

    monkeypatch.setattr(DynBrain, "compute_objectives", objectives)


def script_validation(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Make the validation loss of each epoch what `losses` says."""
    start, over_ranks, now = DynBrain.on_stage_start, Averages.over_ranks, [0]

    def on_stage_start(self: DynBrain, stage: Any, epoch: int | None = None) -> None:
        now[0] = epoch or 0
        start(self, stage, epoch)

    def scripted(self: Averages) -> dict[str, float]:
        means = over_ranks(self)
        if "ones" not in means:
            return means
        return means | {"loss": losses[now[0] - 1] if now[0] else math.inf}  # 0: before the first epoch

    monkeypatch.setattr(DynBrain, "on_stage_start", on_stage_start)
    monkeypatch.setattr(Averages, "over_ranks", scripted)
