"""What a run says of itself is right, and survives a stop."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from speechbrain_dynsnet.training.progress import Averages, EpochLog


def test_averages_are_means_over_batches() -> None:
    averages = Averages()
    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(100, 2, generator=generator)
    for loss, exit in losses:
        averages.add({"loss": loss, "exit_0": exit})
    assert averages.local() == pytest.approx({"loss": float(losses[:, 0].mean()), "exit_0": float(losses[:, 1].mean())})
    assert averages.over_ranks() == averages.local()


def test_averages_of_many_small_losses_do_not_drift() -> None:
    averages = Averages()
    for _ in range(20_000):
        averages.add({"loss": torch.tensor(0.1)})
    assert averages.local()["loss"] == pytest.approx(0.1, rel=1e-7)


def test_averages_hold_no_graph() -> None:
    averages = Averages()
    weight = torch.ones(1, requires_grad=True)
    averages.add({"loss": (2 * weight).sum()})
    assert not averages._sums["loss"].requires_grad


def test_no_batches_are_no_averages() -> None:
    assert Averages().local() == {}


def test_the_log_appends_and_keeps_its_one_header(tmp_path: Path) -> None:
    first = EpochLog(tmp_path / "run")
    first.write(1, {"lr": 1e-3, "loss": 0.5})
    first.write(2, {"lr": 1e-3, "loss": 0.25})
    EpochLog(tmp_path / "run").write(3, {"lr": 9e-4, "loss": 0.125})  # the run was stopped and went on
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["epoch", "lr", "loss"],
        ["1", "0.001", "0.5"],
        ["2", "0.001", "0.25"],
        ["3", "0.0009", "0.125"],
    ]


def test_the_same_numbers_reach_tensorboard(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = EpochLog(tmp_path)
    log.write(1, {"loss": 0.5})
    log.write(2, {"loss": 0.25})
    accumulator = events.EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    assert [(event.step, event.value) for event in accumulator.Scalars("loss")] == [(1, 0.5), (2, 0.25)]


def test_an_epoch_that_is_trained_again_replaces_what_a_stopped_run_wrote_of_it(tmp_path: Path) -> None:
    for epoch, loss in ((1, 0.5), (2, 0.4), (3, 0.3), (2, 0.25)):  # stopped in 3, gone on from the checkpoint of 1
        EpochLog(tmp_path).write(epoch, {"loss": loss})
    assert (tmp_path / "log.csv").read_text().split() == ["epoch,loss", "1,0.5", "2,0.25"]
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv", "tensorboard"}
