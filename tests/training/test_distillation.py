"""A run with a teacher: trained towards it, judged without it, and not another run's."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.bundle import load_bundle, save_bundle
from speechbrain_dynsnet.model.network import make_network

Train = Callable[..., Path]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    return save_bundle(make_network("baseline", [5]), tmp_path_factory.mktemp("models") / "teacher")


def first_row(run: Path) -> dict[str, float]:
    with (run / "phase_0_exits_0_1" / "log.csv").open(newline="") as file:
        return {name: float(value) for name, value in next(csv.DictReader(file)).items()}


def test_a_teacher_moves_the_student_and_not_the_validation(train_small: Train, teacher: Path, tmp_path: Path) -> None:
    runs = {}
    weights = {"alone": None, "taught": 50.0, "taught twice": 100.0}
    for name, weight in weights.items():
        more = {"teacher": str(teacher), "teacher_weight": weight} if weight else {}
        # A learning rate of nothing to speak of: both validate the same weights.
        runs[name] = train_small(tmp_path / name, lr=1e-12, max_epochs=1, **more).parent
    alone, taught, twice = (first_row(runs[name]) for name in weights)
    added, added_twice = (row["train_loss"] - alone["train_loss"] for row in (taught, twice))
    assert added > 0.1 and added_twice == pytest.approx(2 * added, rel=1e-3)
    for name in ("loss", "ones", "exit_0", "exit_1"):
        assert taught[name] == pytest.approx(alone[name], rel=1e-5)
    students = [
        load_bundle(train_small(tmp_path / name, seed=3, output_folder=str(tmp_path / name / "run"), **more))
        for name, more in {"a": {}, "b": {"teacher": str(teacher)}}.items()
    ]
    a, b = (torch.cat([p.flatten() for p in student.parameters()]) for student in students)
    assert not torch.allclose(a, b)


def test_the_run_knows_its_teacher(train_small: Train, teacher: Path, tmp_path: Path) -> None:
    bundle = train_small(tmp_path, teacher=str(teacher))
    config = json.loads((bundle / "config.json").read_text())
    assert str(teacher) not in json.dumps(config)
    assert len(config["training"]["teacher_weights"]) == 64
    with pytest.raises(InputError, match="holds another run.*teacher_weight 3.0 -> 1.0"):
        train_small(tmp_path, teacher=str(teacher), teacher_weight=1.0)
    with pytest.raises(InputError, match="holds another run.*teacher_weights"):
        train_small(tmp_path)


@pytest.mark.parametrize("name", ["none", "none.npz"])
def test_a_teacher_that_is_not_there_is_one_line_and_leaves_no_run(
    train_small: Train, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=name):
        train_small(tmp_path / "results", teacher=str(tmp_path / name))
    assert not (tmp_path / "results").exists()
