"""The paper's grid: its models trained on one budget of audio, measured on one test set, and put in one table.

python recipes/DNS2020/grid.py MANIFEST.csv OUT --test_set SET [--hours H] [--jobs N] [-- --batch_size 32]
"""

from __future__ import annotations

import csv
import json
import math
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import speechbrain as sb

from speechbrain_dynsnet.cli.cells import REPEATED, Cell, baseline_cell, choose, make_cells, read_seeds
from speechbrain_dynsnet.cli.pairing import find_pairs
from speechbrain_dynsnet.cli.tasks import Task, run_tasks
from speechbrain_dynsnet.data.folder_lock import hold
from speechbrain_dynsnet.data.manifest import read_corpus
from speechbrain_dynsnet.errors import InputError, one_line_errors
from speechbrain_dynsnet.evaluation.configurations import PAPER_CONFIGURATIONS, Configuration
from speechbrain_dynsnet.evaluation.evaluate import check_lengths
from speechbrain_dynsnet.evaluation.results import CLIPS, SUMMARY
from speechbrain_dynsnet.model.bundle import WEIGHTS
from speechbrain_dynsnet.model.importing import load_network
from speechbrain_dynsnet.text import align
from speechbrain_dynsnet.training.budget import Budget, least_hours, share_out
from speechbrain_dynsnet.training.folder import public_settings, settings
from speechbrain_dynsnet.training.recipe import Recipe, load_recipe
from speechbrain_dynsnet.writing import write_table, write_text

ROOT = Path(__file__).parents[2]
TRAIN = (sys.executable, str(ROOT / "train.py"))
EVALUATE = (sys.executable, "-m", "speechbrain_dynsnet.cli", "evaluate")
REPORT = (sys.executable, str(Path(__file__).with_name("report.py")))
SETTINGS = "settings.json"
# What may differ between cells, or from one run of the grid to the next.
_FREE_SETTINGS = (
    *("family", "scheme", "exits", "architecture", "phases", "max_epochs", "clips_per_epoch", "seed"),
    *("num_workers", "trial_epochs"),
)
# Keys of the recipe that are the grid's to set.
_DECIDED = (
    *("family", "scheme", "exits", "seed", "max_epochs", "clips_per_epoch", "patience", "schedule"),
    *("baseline", "teacher", "data_folder", "shards", "output_folder"),
)
GRID = "grid.csv"
_SHOWN = ("cell", "hours", "own_hours", "state")


@dataclass(frozen=True)
class Grid:
    """Where a grid is, and what its cells have in common."""

    data: Path
    out: Path
    test_set: Path
    hours: float
    teacher: Path | None
    options: tuple[str, ...]

    def bundle(self, cell: str) -> Path:
        """The model of a cell."""
        return self.out / "models" / cell / "bundle"

    def results(self, cell: str) -> Path:
        """Its evaluation."""
        return self.out / "results" / cell

    def state(self, cell: str) -> str:
        """How far its training is."""
        bundle = self.bundle(cell)
        return "done" if bundle.is_dir() else "begun" if bundle.parent.is_dir() else "not yet"

    def words(self, configuration: Configuration) -> tuple[str, ...]:
        """For train.py: what tells neither cells of a configuration apart nor their budget."""
        recipe = "_".join(filter(None, (configuration.family, configuration.scheme)))
        words = [str(ROOT / "hparams" / f"{recipe}.yaml"), "--data_folder", str(self.data)]
        words += ["--exits", str(list(configuration.exits)), "--schedule", "one_cycle"]
        words += ["--teacher", str(self.teacher)] if self.teacher else []
        return (*words, *self.options)

    def load(self, configuration: Configuration) -> tuple[Recipe, Any]:
        """The recipe as train.py would have it but for these, and SpeechBrain's run options."""
        path, run_opts, overrides = sb.parse_arguments(list(self.words(configuration)))
        return load_recipe(path, overrides), run_opts

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the results of all cells alike."""
        recipe, run_opts = self.load(PAPER_CONFIGURATIONS[0])
        values = public_settings(settings(recipe, {**read_corpus(self.data)}, run_opts))
        alike = {name: value for name, value in values.items() if name not in _FREE_SETTINGS}
        return {"hours": self.hours, "test_set": self.test_set.resolve().name} | alike


@dataclass(frozen=True)
class Training:
    """A cell, its part of the budget, and the command that trains it."""

    cell: Cell
    budget: Budget
    command: tuple[str, ...]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("data", metavar="MANIFEST.csv", type=Path)
@click.argument("out", metavar="OUT", type=Path)
@click.argument("options", metavar="[-- OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.option("--test_set", metavar="SET", type=Path, required=True, help="As for `dynsnet evaluate`.")
@click.option("--teacher", type=Path, help="A bundle, or nsNet2's weights (.npz), that all cells learn from too.")
@click.option("--hours", default=100.0, help="Of audio for each model, over all its phases.")
@click.option("--jobs", type=click.IntRange(1), default=1, help="So many cells at once, of one thread each.")
@click.option(
    "--seeds", metavar="N,N",
    help=f"The first is for all cells; the others are for {REPEATED} only. [default: the recipe's, 1234]",
)  # fmt: skip
@click.option("--only", metavar="NAME,NAME", help="Train and measure these; the table has all that are there.")
@click.option("--bench", type=Path, multiple=True, help="What `dynsnet bench` wrote, for the times in Figure 4.")
@click.option("--precision", type=click.Choice(["bf16", "fp32"]), default="bf16", help="Of training.")
@click.option("--dry_run", is_flag=True, help="Say what would be trained, how long, and what is done.")
def main(
    data: Path,
    out: Path,
    options: tuple[str, ...],
    test_set: Path,
    teacher: Path | None,
    hours: float,
    jobs: int,
    seeds: str | None,
    only: str | None,
    bench: tuple[Path, ...],
    precision: str,
    dry_run: bool,
) -> None:
    """Train the paper's models on pairs from MANIFEST.csv, or a data folder; measure them, and write a table, in OUT.

    OPTIONS are for train.py, such as `-- --batch_size 32`. The same command goes on where it was stopped, and leaves
    out what is done.
    """
    try:
        with one_line_errors():
            grid = Grid(data, out, test_set, hours, teacher, ("--precision", precision, *options))
            check(grid, bench)
            cells = make_cells(grid.load(PAPER_CONFIGURATIONS[0])[0].seed, read_seeds(seeds))
            trainings = plan(grid, choose(cells, only))
            if dry_run:
                show(rows_of(grid, trainings))
                return
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what it runs ends with it
            for folder in ("models", "results"):
                (out / folder).mkdir(parents=True, exist_ok=True)
            with hold(out) as lock:
                write_text(out / SETTINGS, json.dumps(grid.settings, indent=2) + "\n")
                failures = work(grid, cells, trainings, jobs, lock)
                failures |= report(grid, cells, bench, lock)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    for name, reason in failures.items():
        click.echo(f"failed: {name}: {reason}", err=True)
    sys.exit(1 if failures else 0)


def check(grid: Grid, bench: Sequence[Path]) -> None:
    """InputError for what cannot be trained or measured, or is not the grid that OUT has."""
    if grid.out.exists() and not grid.out.is_dir():
        raise InputError(f"{grid.out}: is a file; give a folder for the grid")
    if missing := [path for path in bench if not path.is_file()]:
        raise InputError(f"{missing[0]}: no such file; give what `dynsnet bench -o` wrote")
    if not 0.0 < grid.hours < math.inf:
        raise InputError(f"--hours is {grid.hours:g}: give some hours of audio, such as 100")
    check_lengths(find_pairs(grid.test_set))
    _, _, overrides = sb.parse_arguments(["", *grid.options])
    for line in overrides.splitlines():
        if (key := line.partition(":")[0]) in _DECIDED:
            raise InputError(f"--{key} is the grid's to set: leave it out of the options for train.py")
    if grid.teacher is not None:
        load_network(grid.teacher)
    now, record = grid.settings, grid.out / SETTINGS
    before = _read_settings(record) if record.is_file() else now
    different = [
        f"{name} {before.get(name)!r} -> {now.get(name)!r}"
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
    ]
    if different:
        told = f"holds another grid ({'; '.join(different)}); give another OUT, or the same settings"
        raise InputError(f"{grid.out}: {told}")


def _read_settings(record: Path) -> dict[str, Any]:
    try:
        return {**json.loads(record.read_text(encoding="utf-8"))}
    except (ValueError, TypeError) as error:
        told = "damaged; give another OUT, or delete this file if all else in the folder is whole"
        raise InputError(f"{record}: {told}") from error


def plan(grid: Grid, cells: Sequence[Cell]) -> list[Training]:
    """What is to be trained; InputError, with hours that would do for all cells, when there are too few for one."""
    recipes = [(cell, grid.load(cell.configuration)[0]) for cell in cells]
    try:
        budgets = [(cell, share_out(cell.share * grid.hours, recipe)) for cell, recipe in recipes]
    except InputError as error:
        least = max(least_hours(recipe) / cell.share for cell, recipe in recipes)
        told = f"whole batches in every epoch of every cell: give {least:g} or more, or a smaller batch_size"
        raise InputError(f"--hours {grid.hours:g} is too little for {told}") from error
    return [Training(cell, budget, command(grid, cell, budget)) for cell, budget in budgets]


def command(grid: Grid, cell: Cell, budget: Budget) -> tuple[str, ...]:
    """What trains a cell."""
    words = [*TRAIN, *grid.words(cell.configuration)]
    words += ["--output_folder", str(grid.bundle(cell.name).parent), "--seed", str(cell.seed)]
    words += ["--baseline", str(grid.bundle(cell.start))] if cell.start else []
    for name in ("max_epochs", "clips_per_epoch", "patience"):
        words += [f"--{name}", str(getattr(budget, name))]
    return tuple(words)


def rows_of(grid: Grid, trainings: Sequence[Training]) -> list[dict[str, str]]:
    """Rows of `grid.csv`; `hours` are those of the model, its start included, and `own_hours` without."""
    own = {one.cell.name: one.budget.hours for one in trainings}
    rows: list[dict[str, Any]] = [
        {
            "cell": cell.name,
            "training": cell.configuration.scheme,
            "model": cell.configuration.family,
            "exits": " ".join(map(str, cell.configuration.exits)),
            "seed": cell.seed,
            "hours": f"{own[cell.name] + (own[cell.start] if cell.start else 0.0):.3f}",
            "own_hours": f"{own[cell.name]:.3f}",
            "starts_from": cell.start or "",
            "max_epochs": one.budget.max_epochs,
            "clips_per_epoch": one.budget.clips_per_epoch,
            "state": grid.state(cell.name),
            "command": shlex.join(one.command),
        }
        for one in trainings
        for cell in (one.cell,)
    ]
    return [{name: str(value) for name, value in row.items()} for row in rows]


def show(rows: Sequence[dict[str, str]]) -> None:
    """Print them in columns, their sum, and what would train each."""
    table = align([[name, *(row[name] for row in rows)] for name in _SHOWN])
    total = f"{sum(float(row['own_hours']) for row in rows):,.0f} hours of audio in all"
    click.echo("\n".join([*table, total, *(f"\n# {row['cell']}\n{row['command']}" for row in rows)]))


def work(grid: Grid, cells: Sequence[Cell], trainings: Sequence[Training], jobs: int, lock: int) -> dict[str, str]:
    """Train and measure what is not, each model as soon as it is trained, with `grid.csv` up to date; failures."""
    baseline = baseline_cell(cells).name
    # Measured by the baseline's scores where there are any, or will be.
    has_baseline = is_measured(grid.results(baseline)) or any(one.cell.name == baseline for one in trainings)
    tasks = []
    for one in trainings:
        name, bundle = one.cell.name, grid.bundle(one.cell.name)
        start = (grid.bundle(one.cell.start) / WEIGHTS,) if one.cell.start else ()
        tasks.append(Task(name, one.command, bundle.parent.with_name(f"{name}.log"), bundle, start))
        if one.cell.is_row:
            tasks.append(evaluation(grid, name, baseline if has_baseline and name != baseline else None))
    others = [row for row in read_grid(grid.out / GRID) if row["cell"] not in {one.cell.name for one in trainings}]

    def note() -> None:
        rows = rows_of(grid, trainings)
        write_table(grid.out / GRID, list(rows[0]), [*others, *rows])

    note()
    failures = run_tasks(tasks, jobs, [lock], note)
    trained = [one.cell for one in trainings if one.cell.is_row and grid.bundle(one.cell.name).is_dir()]
    if has_baseline and not is_measured(grid.results(baseline)):  # then by nothing, until there is a baseline
        alone = [evaluation(grid, cell.name, None) for cell in trained if cell.name != baseline]
        failures = {name: reason for name, reason in failures.items() if name not in {task.name for task in alone}}
        failures |= run_tasks(alone, jobs, [lock])
    # That a model was not measured goes without saying when it was not trained.
    told = {one.cell.name for one in trainings} | {evaluated(cell.name) for cell in trained}
    return {name: reason for name, reason in failures.items() if name in told}


def read_grid(path: Path) -> list[dict[str, str]]:
    """What earlier runs of the grid wrote."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def evaluated(name: str) -> str:
    """What the evaluation of a cell is called."""
    return f"evaluation of {name}"


def evaluation(grid: Grid, name: str, baseline: str | None) -> Task:
    """Measure a cell, by the scores of another."""
    results, bundle = grid.results(name), grid.bundle(name)
    by = grid.results(baseline) if baseline else None
    words = [*EVALUATE, str(bundle), "--test_set", str(grid.test_set), "--jobs", "1", "-o", str(results)]
    words += ["--baseline", str(by)] if by else []
    # The weights, not the folder, whose time changes when somebody writes a card.
    needs = (bundle / WEIGHTS, *([by / SUMMARY] if by else []))
    return Task(evaluated(name), tuple(words), results.with_name(f"{name}.log"), results / SUMMARY, needs)


def report(grid: Grid, cells: Sequence[Cell], bench: Sequence[Path], lock: int) -> dict[str, str]:
    """Put all that is measured, in whatever run, in a table; failures."""
    measured = sorted(folder for folder in (grid.out / "results").iterdir() if is_measured(folder))
    if not measured:
        return {}
    output = grid.out / "report"
    words = [*REPORT, *map(str, measured), "-o", str(output)]
    words += [word for path in bench for word in ("--bench", str(path))]
    if models := compared(grid, cells):
        words += ["--test_set", str(grid.test_set), *(word for model in models for word in ("--model", str(model)))]
        baseline = grid.bundle(baseline_cell(cells).name)
        words += ["--baseline", str(baseline)] if baseline.is_dir() else []
    task = Task("report", tuple(words), grid.out / "report.log", output / "table2.md", always=True)
    failures = run_tasks([task], 1, [lock])
    if not failures:
        click.echo(f"\n{task.leaves.read_text(encoding='utf-8')}\nwritten to {output}")
    return failures


def is_measured(folder: Path) -> bool:
    """Whether an evaluation is finished."""
    return (folder / CLIPS).is_file() and (folder / SUMMARY).is_file()


def compared(grid: Grid, cells: Sequence[Cell]) -> list[Path]:
    """Models whose masks are drawn: of one family and exits, trained jointly and layer by layer where both are."""
    alike: dict[tuple[str, tuple[int, ...]], list[Path]] = {}
    for cell in cells:
        bundle = grid.bundle(cell.name)
        if cell.configuration.scheme and cell.seed == baseline_cell(cells).seed and bundle.is_dir():
            alike.setdefault((cell.configuration.family, cell.configuration.exits), []).append(bundle)
    return max(alike.values(), key=len, default=[])


if __name__ == "__main__":
    main()
