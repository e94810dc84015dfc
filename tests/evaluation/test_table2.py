"""The best of each column is bold, seeds make intervals, and the paper's numbers stand beside the right ones."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import scipy.stats

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.configurations import PAPER_CONFIGURATIONS, Run, read_runs
from speechbrain_dynsnet.evaluation.evaluate import Row
from speechbrain_dynsnet.evaluation.summary import summarise
from speechbrain_dynsnet.evaluation.table2 import (
    COLUMNS,
    PAPER_COLUMNS,
    TABLE_METRICS,
    compare_with_paper,
    make_table,
    others_to_markdown,
    read_paper,
    to_markdown,
)
from tests.measured import Values, write_results

PAPER = Path(__file__).parents[2] / "recipes" / "DNS2020" / "paper_table2.csv"


def runs_of(folder: Path, **models: dict[str, Values]) -> list[Run]:
    return read_runs(write_results(folder / name, systems, name) for name, systems in models.items())


def cell(table: list[Row], training: str, model: str, exit: int, metric: str = "pesq_wb") -> Row:
    (row,) = (
        row
        for row in table
        if (row["training"], row["model"], row["exit"], row["metric"]) == (training, model, str(exit), metric)
    )
    return row


def test_the_best_of_each_column_is_marked_where_there_is_a_choice(tmp_path: Path) -> None:
    table = make_table(
        runs_of(
            tmp_path,
            concat_joint_4={"exit_0": [1.0, 3.0], "exit_5": [3.0, 3.0]},
            split_joint_4={"exit_0": [2.0, 2.002], "exit_1": [9.0, 9.0], "exit_5": [2.9, 2.9]},
            pretrain_layerwise_4={"exit_0": [1.9, 1.9], "exit_5": [3.1, 3.2]},
        )
    )
    assert all(tuple(row) == COLUMNS for row in table)
    best = {(row["model"], row["exit"]) for row in table if row["is_best"] and row["metric"] == "pesq_wb"}
    # 2.000 and 2.001 are printed alike, so neither is the better one; a column of one has no best.
    assert best == {("concat", "0"), ("split", "0"), ("pretrain", "5")}
    lines = to_markdown(table).splitlines()
    assert "| joint | concat | 0, 5 | 1 | **2.00** [1.00, 3.00] |  | 3.00 [3.00, 3.00] |" in lines
    assert "| joint | split | 0, 1, 5 | 1 | **2.00** [2.00, 2.00] | 9.00 [9.00, 9.00] | 2.90 [2.90, 2.90] |" in lines
    assert "| layerwise | pretrain | 0, 5 | 1 | 1.90 [1.90, 1.90] |  | **3.15** [3.10, 3.20] |" in lines


def test_what_nobody_trained_says_so(tmp_path: Path) -> None:
    table = make_table(runs_of(tmp_path, concat_joint_4={f"exit_{exit}": [2.0, 3.0] for exit in (0, 1, 3, 5)}))
    missing = [row for row in table if row["status"] == "not trained"]
    assert len(missing) == len(PAPER_CONFIGURATIONS) - 1
    assert ("joint", "concat", "0 1 3 5") not in {(row["training"], row["model"], row["exits"]) for row in missing}
    for part in to_markdown(table).split("**")[2::2]:  # the lines under each metric
        lines = part.strip().splitlines()[2:]
        (trained,) = (line for line in lines if "not trained" not in line)
        assert trained.startswith("| joint | concat | 0, 1, 3, 5 | 1 |") and len(lines) == len(PAPER_CONFIGURATIONS)
        assert "| layerwise | split | 0, 1, 3, 5 | 0 |" + 4 * " not trained |" in lines
        assert "|  | baseline | 5 | 0 |  |  |  | not trained |" in lines


def test_what_nobody_trained_says_so_where_none_of_its_exits_is_a_column(tmp_path: Path) -> None:
    table = make_table(runs_of(tmp_path, concat_joint_4={"exit_1": [2.0, 3.0], "exit_3": [2.0, 3.0]}))
    assert "|  | baseline | 5 | 0 | not trained |  |" in to_markdown(table).splitlines()


def test_seeds_become_a_mean_and_an_interval_over_trainings(tmp_path: Path) -> None:
    means = [2.0, 2.2, 2.7]
    models = {f"concat_joint_seed{seed}": {"exit_1": [mean - 1.0, mean + 1.0]} for seed, mean in enumerate(means)}
    table = make_table(runs_of(tmp_path, **models))
    row = cell(table, "joint", "concat", 1)
    _, high = scipy.stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
    assert row["seeds"] == "3" and row["clips"] == "2"
    assert float(row["mean"]) == pytest.approx(2.3)
    assert float(row["seed_spread"]) == pytest.approx(high - 2.3, abs=1e-5)
    text = to_markdown(table)
    assert f"| joint | concat | 1 | 3 | 2.30 ± {high - 2.3:.2f} [1.30, 3.30] |" in text
    told = "in brackets 95 % intervals over clips (bootstrap), after ± those over seeds (Student's t)."
    assert text.startswith(f"Means over clips; {told}\n\n")


def test_the_interval_of_one_training_is_that_of_its_summary(tmp_path: Path) -> None:
    scores: list[float | None] = [1.0, 2.5, 4.0, 3.5]
    (run,) = runs_of(tmp_path, concat_joint_4={"exit_1": scores})
    row = cell(make_table([run]), "joint", "concat", 1)
    (told,) = (row for row in summarise(run.rows) if (row["system"], row["metric"]) == ("exit_1", "pesq_wb"))
    assert [row[name] for name in ("mean", "low", "high")] == [told[name] for name in ("mean", "low", "high")]
    assert not row["seed_spread"]


def test_seeds_are_compared_on_the_clips_that_all_have(tmp_path: Path) -> None:
    table = make_table(
        runs_of(
            tmp_path,
            concat_joint_seed1={"exit_1": [1.0, None, 3.0], "exit_3": [1.0, 2.0, 3.0]},
            concat_joint_seed2={"exit_1": [3.0, 9.0, 5.0], "exit_3": [None, None, None]},
        )
    )
    row, of_one_seed = (cell(table, "joint", "concat", exit) for exit in (1, 3))
    assert (float(row["mean"]), row["clips"], row["seeds"]) == (3.0, "2", "2")
    assert (float(of_one_seed["mean"]), of_one_seed["clips"], of_one_seed["seeds"]) == (2.0, "3", "1")


def test_clips_without_a_score_are_left_out_and_counted(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, concat_joint_4={"exit_1": [2.0, None, 4.0], "exit_3": [None, None, None]})
    table = make_table(runs)
    row = cell(table, "joint", "concat", 1)
    assert (float(row["mean"]), row["clips"]) == (3.0, "2")
    assert cell(table, "joint", "concat", 3)["status"] == "no clip has a score"
    assert "| joint | concat | 1, 3 | 1 | 3.00 [2.00, 4.00] | no clip has a score |" in to_markdown(table)


def test_one_clip_is_enough(tmp_path: Path) -> None:
    row = cell(make_table(runs_of(tmp_path, concat_joint_4={"exit_1": [2.5]})), "joint", "concat", 1)
    assert (row["mean"], row["low"], row["clips"]) == ("2.500000", "", "1")


def test_others_on_the_same_clips_are_no_rows_of_the_table(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, concat_joint_4={"noisy": [1.0, 2.0], "exit_1": [2.0, 4.0], "rnnoise": [3.0, None]})
    assert {row["model"] for row in make_table(runs) if row["mean"]} == {"concat"}
    lines = others_to_markdown(runs).splitlines()
    assert lines[2:] == ["| noisy | 1.50 | 1.50 | 1.50 |", "| rnnoise | 3.00 | 3.00 | 3.00 |"]


def paper_file(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([",".join(PAPER_COLUMNS), *rows]) + "\n")
    return path


def test_shares_are_of_the_baseline_on_the_clips_that_both_have(tmp_path: Path) -> None:
    paper = read_paper(
        paper_file(
            tmp_path / "paper.csv",
            ",noisy,,p808_mos,mean,3.16,text",
            ",concat,1,pesq,share_of_baseline,0.77,text",
            "layerwise,concat,1,pesq,share_of_baseline,0.7,text",
            "joint,concat,1,macs,share_of_baseline,0.21,text",
            ",split,5,pesq,mean,2.5,text",
        )
    )
    runs = runs_of(
        tmp_path, concat_joint_4={"noisy": [1.0, 2.0, 3.0], "exit_1": [2.0, 3.0, None], "baseline": [4.0, 6.0, 1.0]}
    )
    assert [line.split(" | ")[1:] for line in compare_with_paper(paper, runs).splitlines()[2:]] == [
        ["3.16", "2.00 |"],
        ["77%", "concat, joint, 1 exits: 50% |"],
        ["70%", "not trained |"],
        ["21%", "concat, joint, 1 exits: 21% |"],
        ["2.50", "not trained |"],
    ]


def test_a_share_without_a_baseline_says_so(tmp_path: Path) -> None:
    rows = [",concat,1,pesq,share_of_baseline,0.77,text", ",split,1,pesq,share_of_baseline,0.77,text"]
    paper = read_paper(paper_file(tmp_path / "paper.csv", *rows))
    runs = runs_of(tmp_path, concat_joint_4={"exit_1": [2.0, 3.0]})
    here = [line.split(" | ")[-1] for line in compare_with_paper(paper, runs).splitlines()[2:]]
    assert here == ["no baseline measured |", "not trained |"]


def test_the_papers_file_holds_numbers_with_their_source() -> None:
    rows = read_paper(PAPER)
    assert all(row["source"].startswith("arXiv 2308.16678") for row in rows)
    assert {row["metric"] for row in rows} <= {"pesq", "p808_mos", "macs"}
    assert all(0.0 < float(row["value"]) <= 1.0 for row in rows if row["kind"] == "share_of_baseline")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the columns"),
        ("metric,value\npesq,1\n", "no table of numbers"),
        (f"{','.join(PAPER_COLUMNS)}\n,noisy,,pesq,mean,good,text\n", "no table of numbers"),
        (f"{','.join(PAPER_COLUMNS)}\n,noisy,,stoi,mean,1,text\n", "no metric stoi; choose from pesq"),
        (None, "no such file"),
    ],
)
def test_a_broken_file_of_the_papers_is_an_error(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "paper.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=rf"paper.csv: {message}"):
        read_paper(path)


def test_the_table_goes_through_a_csv_file_unchanged(tmp_path: Path) -> None:
    table = make_table(runs_of(tmp_path, concat_joint_4={"exit_1": [2.5, 3.5]}))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(table)
    with (tmp_path / "table.csv").open(newline="") as file:
        assert to_markdown(list(csv.DictReader(file))) == to_markdown(table)
    assert {row["metric"] for row in table if row["mean"]} == set(TABLE_METRICS)
