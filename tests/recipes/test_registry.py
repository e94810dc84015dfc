"""SpeechBrain's registry of recipe tests: every row points at files that are there, and runs."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import speechbrain as sb

from speechbrain_dynsnet.training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
COLUMNS = (
    *("Task", "Dataset", "Script_file", "Hparam_file", "Data_prep_file", "Readme_file", "Result_url", "HF_repo"),
    *("test_debug_flags", "test_debug_checks", "performance"),
)
with (Path(__file__).parent / "DNS2020.csv").open(newline="", encoding="utf-8") as file:
    ROWS = list(csv.DictReader(file))
FAST = ("hparams/baseline.yaml", "hparams/split_joint.yaml")


def test_every_recipe_has_one_row() -> None:
    listed = [row["Hparam_file"] for row in ROWS]
    assert sorted(listed) == sorted(f"hparams/{path.name}" for path in (ROOT / "hparams").glob("*.yaml"))
    assert all(tuple(row) == COLUMNS for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["Hparam_file"])
def test_its_files_exist_and_its_flags_parse(row: dict[str, str]) -> None:
    for column in ("Script_file", "Hparam_file", "Data_prep_file", "Readme_file"):
        assert not row[column] or (ROOT / row[column]).is_file(), row[column]
    words = [str(ROOT / row["Hparam_file"]), *row["test_debug_flags"].split()]
    path, run_opts, overrides = sb.parse_arguments(words)
    assert load_recipe(path, overrides).clips_per_epoch == 16
    assert run_opts["device"] == "cpu"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs find the trial set that the first of them generates."""
    return tmp_path_factory.mktemp("results")


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=() if row["Hparam_file"] in FAST else pytest.mark.slow) for row in ROWS],
    ids=lambda row: row["Hparam_file"],
)
def test_it_runs_and_learns(row: dict[str, str], results: Path, tmp_path: Path) -> None:
    """The bound is below the loss of a mask of ones, and that of fresh weights."""
    folders = [f"--results_folder={results}", f"--output_folder={tmp_path}"]
    words = [row["Script_file"], row["Hparam_file"], *row["test_debug_flags"].split(), *folders]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=True, timeout=300)
    for name in check_of(row, "file_exists"):
        assert (tmp_path / name).is_file(), name
    log, loss, bound, epoch = check_of(row, "performance_check")
    with (tmp_path / log).open(newline="", encoding="utf-8") as file:
        (losses,) = [line for line in csv.DictReader(file) if f"epoch: {line['epoch']}" == epoch]
    assert float(losses[loss]) < float(bound.removeprefix("<")) < float(losses["ones"])


def check_of(row: dict[str, str], name: str) -> list[str]:
    """The words in the brackets of one of SpeechBrain's checks."""
    (listed,) = re.findall(rf"{name}=\[(.*?)\]", row["test_debug_checks"])
    return [word.strip() for word in listed.split(",")]
