"""The recipe's page has just the tables that `report.py` makes of the scores beside it, of models trained alike."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from speechbrain_dynsnet.evaluation.configurations import Run, read_runs
from speechbrain_dynsnet.evaluation.paired import pairs_to_markdown
from speechbrain_dynsnet.evaluation.table1 import table1_to_markdown
from speechbrain_dynsnet.evaluation.table2 import compare_with_paper, make_table, read_paper, to_markdown
from speechbrain_dynsnet.evaluation.trained import hours_heard

RECIPE = Path(__file__).parents[2] / "recipes" / "DNS2020"
PAGE = (RECIPE / "README.md").read_text(encoding="utf-8")
HOURS = 50.0


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return read_runs(sorted((RECIPE / "grid_results").iterdir()))


def test_the_page_has_its_tables(runs: list[Run]) -> None:
    made = {
        "table 1": table1_to_markdown(),
        "table 2": to_markdown(make_table(runs)),
        "paired": pairs_to_markdown(runs),
        "paper": compare_with_paper(read_paper(RECIPE / "paper_table2.csv"), runs),
    }
    for name, text in made.items():
        on_page = re.search(f"<!-- {name} -->\n\n(.*)\n\n<!-- end of {name} -->", PAGE, re.DOTALL)
        assert on_page is not None and on_page[1] == text


def test_all_models_had_one_budget(runs: list[Run]) -> None:
    for run in runs:
        hours = hours_heard(run.training)
        assert hours is not None
        hours += HOURS / 2 if run.configuration.family == "pretrain" else 0  # of the baseline that it starts from
        assert hours == pytest.approx(HOURS, rel=0.01), run.folder.name


def test_all_models_had_the_same_data_and_teacher(runs: list[Run]) -> None:
    said = {(str(run.training["data"]), run.training["teacher_weights"]) for run in runs}
    assert len(said) == 1


def test_the_page_tells_the_ranges_of_the_masks() -> None:
    paragraph = PAGE[PAGE.index("**The masks under both schemes.**") :]
    paragraph = " ".join(paragraph[: paragraph.index("\n\n")].split())
    with (RECIPE / "figures" / "grid_mask_ranges.csv").open(newline="") as file:
        rows = {(row["model"], row["exit"], row["region"]): row for row in csv.DictReader(file)}

    def apart(model: str, exit: int) -> float:
        speech, noise = (float(rows[model, str(exit), region]["p50_db"]) for region in ("speech", "noise"))
        return speech - noise

    def gains(model: str) -> str:
        return f"{float(rows[model, '5', 'noise']['p1_db']):.1f} to {float(rows[model, '5', 'speech']['p99_db']):.1f}"

    joint, layerwise = (f"concat, {scheme}, 4 exits" for scheme in ("joint", "layerwise"))
    for told in (
        f"joint training gives exit 5 gains from {gains(joint)} dB",
        f"layerwise training {gains(layerwise)} dB; the baseline has {gains('baseline')}.",
        f"are {apart(joint, 5):.1f} dB apart after joint training, {apart(layerwise, 5):.1f} after layerwise, "
        f"{apart('baseline', 5):.1f} in the baseline",
        f"the medians are {apart(layerwise, 0):.1f} dB apart, with joint training {apart(joint, 0):.1f}",
    ):
        assert told in paragraph
    assert all(apart(layerwise, exit) < apart(joint, exit) for exit in (0, 1, 3, 5))  # "so at every exit"
