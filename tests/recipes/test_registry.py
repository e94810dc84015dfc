"""SpeechBrain's registry of recipe tests: every row points at files that are there, and runs."""

from __future__ import annotations

import csv
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
FAST = "hparams/split_joint.yaml"


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


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=() if row["Hparam_file"] == FAST else pytest.mark.slow) for row in ROWS],
    ids=lambda row: row["Hparam_file"],
)
def test_it_runs(row: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "run"
    folders = [f"--results_folder={tmp_path}", f"--output_folder={output}"]
    words = [row["Script_file"], row["Hparam_file"], *row["test_debug_flags"].split(), *folders]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, timeout=300)
    (expected,) = re.findall(r"file_exists=\[(.*?)\]", row["test_debug_checks"])
    for name in expected.split(","):
        assert (output / name).is_file(), name
