"""What is told of a training is what its bundle records, once for all that were trained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from speechbrain_dynsnet.evaluation.configurations import read_runs
from speechbrain_dynsnet.evaluation.trained import hours_heard, trainings_to_markdown
from tests.measured import write_results

TRAINING: dict[str, Any] = {
    "seed": 1,
    "scheme": "joint",
    "clips_per_epoch": 900,
    "clip_s": 2.0,
    "batch_size": 16,
    "lr": 0.001,
    "schedule": "one_cycle",
    "phases": [{"exits": [0], "max_epochs": 10}, {"exits": [5], "max_epochs": 30}],
    "options": {"precision": "bf16"},
    "whitening": 0.5,
    "teacher_weight": 3.0,
    "teacher_weights": "0123456789abcdef",
}


def told(folder: Path, **trainings: dict[str, Any] | None) -> list[str]:
    folders = []
    for name, training in trainings.items():
        family = name.partition("_")[0]
        config = {"architecture": {"family": family, "exits": [0, 5]}, "training": training}
        identity = {} if training is None else {"config": config, "sha256": name}
        systems = {"exit_0": [1.0, 2.0], "exit_5": [2.0, 3.0]}
        folders.append(write_results(folder / name, systems, name, identities=dict.fromkeys(systems, identity)))
    heading, empty, *lines = trainings_to_markdown(read_runs(folders)).splitlines()
    assert (heading, empty) == ("How they were trained:", "")
    return lines


def test_all_phases_count() -> None:
    assert hours_heard(TRAINING) == pytest.approx(40 * 900 * 2.0 / 3600)
    assert hours_heard({}) is None
    assert hours_heard(TRAINING | {"data": {"train": {"shards": 3}}}) is None


def test_models_that_were_trained_alike_share_a_line(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        concat_joint=TRAINING,
        split_joint=TRAINING | {"seed": 2},
        pretrain_joint=TRAINING | {"baseline_weights": "b", "teacher_weights": None, "whitening": None},
    )
    common = "batches of 16 clips of 2 s, learning rate 0.001 (one_cycle), precision bf16"
    teacher = "the masks of a teacher as a second target for every exit, weighted 3 (SHA-256 0123456789ab...)"
    pretrain, others = sorted(lines, key=len)
    hours = "at most 20 hours of audio"
    start = "from a trained baseline, whose own hours are not among them"
    assert pretrain == f"- pretrain, joint, 2 exits: {hours}, {start}, {common}, no teacher."
    start = f"{hours}, from random weights, {common}, features whitened by 0.5, {teacher}."
    assert others.endswith(f": {start}")
    assert others.startswith(("- split, joint, 2 exits; concat", "- concat, joint, 2 exits; split"))


def test_models_that_differ_in_anything_else_have_lines_of_their_own(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        concat_seed1=TRAINING | {"average_decay": 0.999, "data": {"train": {"sha256": "fedcba9876543210"}}},
        concat_seed2=TRAINING | {"seed": 2, "average_decay": 0.999, "data": {"train": {"sha256": "fedcba9876543210"}}},
        split_joint=TRAINING | {"mixing": {"snr_db": [0.0, 5.0]}},
        pretrain_joint=TRAINING,
    )
    (concat,) = (line for line in lines if "concat" in line)
    assert "moving average 0.999, training data fedcba987654...," in concat and "seed" not in concat
    assert sum(line.startswith(("- split", "- pretrain")) for line in lines) == 2
    assert lines[-1].startswith("Where two of these lines read alike, other settings differ")
    other = told(tmp_path / "seeds", concat_seed1=TRAINING, concat_seed2=TRAINING | {"seed": 2, "lr": 1.0})
    assert [line.partition(":")[0] for line in other] == [f"- concat, joint, 2 exits (seed {seed})" for seed in (1, 2)]


def test_what_is_not_recorded_is_said_to_be_not(tmp_path: Path) -> None:
    assert told(tmp_path, concat_joint=None) == ["- concat, joint, 2 exits: not recorded."]
