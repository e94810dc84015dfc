"""The grid: every model of the paper on one budget, gone on with after a stop, and all that failed named."""

from __future__ import annotations

import csv
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import speechbrain as sb
from click.testing import CliRunner, Result

from recipes.DNS2020 import grid
from speechbrain_dynsnet.cli import tasks
from speechbrain_dynsnet.cli.cells import HALF, REPEATED
from speechbrain_dynsnet.data.trial import make_trial_set
from speechbrain_dynsnet.evaluation.configurations import PAPER_CONFIGURATIONS, describe_bundle
from speechbrain_dynsnet.model.architecture import LAST_STAGE
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.training.recipe import Recipe, load_recipe

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]
BASELINE = f"baseline_{LAST_STAGE}"
# They stand for train.py, `dynsnet evaluate` and report.py: each tells its arguments in `story`, and leaves its output.
TOLD = "import os, sys, time; from pathlib import Path\n"
TOLD += "def given(name): return Path(sys.argv[sys.argv.index(name) + 1])\n"
TOLD += "def tell(*words): print(*words, file=open('story', 'a'))\n"
TRAIN = "folder = given('--output_folder'); folder.mkdir(parents=True, exist_ok=True); tell('train', folder.name)\n"
TRAIN += "if folder.name in os.environ.get('BROKEN', ''): sys.exit('Error: it diverged')\n"
TRAIN += "if folder.name == os.environ.get('STOP'): os.kill(os.getppid(), int(os.environ['BY'])); time.sleep(60)\n"
TRAIN += "assert '--baseline' not in sys.argv or given('--baseline').is_dir()\n"
TRAIN += "bundle = folder / 'bundle'; bundle.mkdir(); (bundle / 'model.safetensors').touch()\n"
EVALUATE = "out = given('-o'); out.mkdir(exist_ok=True); (out / 'clips.csv').touch(); (out / 'summary.csv').touch()\n"
EVALUATE += "assert sys.argv[sys.argv.index('--jobs') + 1] == '1'\n"
EVALUATE += "tell('evaluate', out.name, *(['by', given('--baseline').name] if '--baseline' in sys.argv else []))\n"
REPORT = "out = given('-o'); out.mkdir(exist_ok=True); (out / 'table2.md').write_text('THE TABLE')\n"
REPORT += "models = [Path(b).parent.name for a, b in zip(sys.argv, sys.argv[1:]) if a == '--model']\n"
REPORT += "models += ['beside', given('--baseline').parent.name] if '--baseline' in sys.argv else []\n"
REPORT += "models += ['times', given('--bench').name] if '--bench' in sys.argv else []\n"
REPORT += "tell('report', *(Path(p).name for p in sys.argv[1:sys.argv.index('-o')]), 'masks', *models)\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    return make_trial_set(
        folder, speakers=3, clips_per_speaker=2, clip_s=1.0, noises=4, noise_s=1.0, impulse_responses=2
    )


@pytest.fixture(scope="module")
def pairs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 2 s, of speech and noise of the trial set."""
    folder = tmp_path_factory.mktemp("test_set") / "pairs"
    noise, _ = soundfile.read(sorted((data / "noise").rglob("*.wav"))[0])
    for index, path in enumerate(sorted((data / "clean").rglob("*.wav"))[:2]):
        clean = np.tile(soundfile.read(path)[0], 2)
        for kind, sound in (("clean", clean), ("noisy", clean + 0.3 * np.tile(noise, 2))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / kind / f"clip_{index}.wav", sound, 16000)
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with stand-ins for all that takes long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tasks, "_POLL_S", 0.01)
    for name, code in (("TRAIN", TRAIN), ("EVALUATE", EVALUATE), ("REPORT", REPORT)):
        Path(f"{name}.py").write_text(TOLD + code)
        monkeypatch.setattr(grid, name, (sys.executable, f"{name}.py"))
    return tmp_path


@pytest.fixture
def run(folder: Path, data: Path, pairs: Path) -> Run:
    def run(*words: object, out: str = "out") -> Result:
        told = [str(word) for word in (data, out, "--test_set", pairs, *words)]
        return CliRunner().invoke(grid.main, told)

    return run


def story() -> list[str]:
    """What was run since the last call."""
    path = Path("story")
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def cells_of(out: str = "out") -> list[dict[str, str]]:
    with Path(out, "grid.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def recipe_of(command: str) -> Recipe:
    """What train.py would train."""
    path, _, overrides = sb.parse_arguments(shlex.split(command)[2:])
    return load_recipe(path, overrides)


def hours_of(recipe: Recipe) -> float:
    return sum(phase.max_epochs for phase in recipe.phases) * recipe.clips_per_epoch * recipe.clip_s / 3600


def dry(result: Result) -> dict[str, list[str]]:
    """The printed cells: hours, own hours, state and command, by name."""
    assert result.exit_code == 0, result.output
    table, *told = result.output.strip().split("\n\n")
    *lines, total = table.replace("not yet", "not-yet").splitlines()[1:]
    rows = [line.split() for line in lines]
    assert total.endswith(" hours of audio in all")
    assert float(total.split()[0].replace(",", "")) == pytest.approx(sum(float(row[2]) for row in rows), abs=1.0)
    commands = dict(lines.removeprefix("# ").split("\n") for lines in told)
    return {name: [*rest, commands[name]] for name, *rest in rows}


@pytest.mark.parametrize("hours", [20.0, 333.3])
def test_every_model_hears_the_same_hours(hours: float, run: Run) -> None:
    shown = dry(run("--dry_run", "--hours", hours, "--seeds", "3,4"))
    assert not Path("out").exists()
    assert len(shown) == len(PAPER_CONFIGURATIONS) + 2
    heard, rows = {}, []
    for name, (told, own, state, command) in shown.items():
        recipe = recipe_of(command)
        heard[name] = hours_of(recipe) + (heard[Path(recipe.baseline).parts[-2]] if recipe.baseline else 0.0)
        assert hours_of(recipe) == pytest.approx(float(own), abs=1e-3)
        assert heard[name] == pytest.approx(float(told), abs=1e-3)
        assert heard[name] == pytest.approx(hours / 2 if name.startswith(HALF) else hours, rel=0.01)
        assert state == "not-yet" and recipe.schedule == "one_cycle" and "--precision bf16" in command
        assert recipe.patience >= max(phase.max_epochs for phase in recipe.phases)  # and so all of them are heard
        assert Path(str(recipe.output_folder)).name == name
        # What `pretrain` starts from has another seed, and so heard other pairs.
        assert recipe.seed == (4 if name in (f"{REPEATED}_seed4", f"{HALF}_seed3") else 3)
        if not name.startswith(HALF):
            architecture = {"family": recipe.family, "exits": recipe.exits}
            rows.append(describe_bundle({"architecture": architecture, "training": {"scheme": recipe.scheme}})[0])
    assert set(rows) == set(PAPER_CONFIGURATIONS)


def test_one_command_trains_measures_and_tabulates_and_the_same_one_does_nothing_twice(run: Run) -> None:
    result = run("--hours", 20, "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert "THE TABLE" in result.output
    names = [cell["cell"] for cell in cells_of()]
    rows = [name for name in names if name != HALF]
    lines = story()
    for name in names:
        trained, measured = f"train {name}", f"evaluate {name}" + ("" if name == BASELINE else f" by {BASELINE}")
        assert lines.count(trained) == 1 and lines.count(measured) == (name in rows)
        assert name == HALF or lines.index(trained) < lines.index(measured)
    assert len(lines) == len(names) + len(rows) + 1
    # A model is measured before the rest are trained.
    assert lines.index(f"evaluate {REPEATED} by {BASELINE}") < lines.index(f"train {names[-1]}")
    told = f"report {' '.join(sorted(rows))} masks {REPEATED} concat_layerwise_0135 beside {BASELINE}"
    assert lines[-1] == told
    assert {cell["state"] for cell in cells_of()} == {"done"}
    assert {path.stem for path in Path("out/models").glob("*.log")} == set(names)
    Path("times.csv").touch()
    for name in names:
        Path("out/models", name, "bundle", "README.md").touch()  # a card makes no model anew
    again = run("--hours", 20, "--bench", "times.csv")
    assert again.exit_code == 0 and story() == [f"{told} times times.csv"]


def test_only_some_are_trained_and_the_table_has_all_that_are_there(run: Run) -> None:
    assert run("--hours", 20, "--only", REPEATED).exit_code == 0
    assert story() == [f"train {REPEATED}", f"evaluate {REPEATED}", f"report {REPEATED} masks {REPEATED}"]
    assert run("--hours", 20, "--only", f"pretrain_joint_0135, {BASELINE}").exit_code == 0
    trained = [HALF, BASELINE, "pretrain_joint_0135"]
    assert [line.split()[1] for line in story() if line.startswith("train")] == trained
    assert [(cell["cell"], cell["state"]) for cell in cells_of()] == [(name, "done") for name in (REPEATED, *trained)]
    # What was measured while there was no baseline is measured by it now.
    assert run("--hours", 20, "--only", REPEATED).exit_code == 0
    told = f"report {BASELINE} {REPEATED} pretrain_joint_0135 masks {REPEATED} beside {BASELINE}"
    assert story() == [f"evaluate {REPEATED} by {BASELINE}", told]
    assert run("--hours", 20, "--only", REPEATED).exit_code == 0
    assert story() == [told]


def test_a_cell_that_fails_is_named_and_the_others_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    only = ("--hours", 20, "--only", f"{BASELINE},pretrain_joint_0135,{REPEATED}")
    monkeypatch.setenv("BROKEN", f"{HALF} {REPEATED}")
    result = run(*only)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-3:] == [
        f"failed: {HALF}: it diverged (exit code 1)",
        f"failed: {REPEATED}: it diverged (exit code 1)",
        f"failed: pretrain_joint_0135: needs out/models/{HALF}/bundle/model.safetensors, which is not there",
    ]
    states = {cell["cell"]: cell["state"] for cell in cells_of()}
    assert states == {HALF: "begun", BASELINE: "done", REPEATED: "begun", "pretrain_joint_0135": "not yet"}
    assert story()[-1] == f"report {BASELINE} masks"
    monkeypatch.delenv("BROKEN")
    assert run(*only).exit_code == 0
    assert [line for line in story() if line.startswith("train")] == [
        f"train {name}" for name in (HALF, REPEATED, "pretrain_joint_0135")
    ]


def test_without_a_baseline_the_others_are_measured_and_by_it_once_it_is_there(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = ("--hours", 20, "--only", f"{BASELINE},{REPEATED}")
    monkeypatch.setenv("BROKEN", BASELINE)
    result = run(*only)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"failed: {BASELINE}: it diverged (exit code 1)"
    assert story()[-2:] == [f"evaluate {REPEATED}", f"report {REPEATED} masks {REPEATED}"]
    monkeypatch.delenv("BROKEN")
    assert run(*only).exit_code == 0
    assert story()[:-1] == [f"train {BASELINE}", f"evaluate {BASELINE}", f"evaluate {REPEATED} by {BASELINE}"]


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
def test_a_stopped_grid_goes_on(signal_name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    # As at a terminal: what is started in the background of a shell ignores Ctrl-C.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    only = ("--hours", 20, "--only", f"{BASELINE},{REPEATED}")
    monkeypatch.setenv("STOP", REPEATED)
    monkeypatch.setenv("BY", str(int(getattr(signal, signal_name))))
    try:
        result = run(*only)
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)
    assert result.exit_code == 130 and "the same command goes on" in result.stderr
    assert story() == [f"train {BASELINE}", f"evaluate {BASELINE}", f"train {REPEATED}"]
    monkeypatch.delenv("STOP")
    assert run(*only).exit_code == 0
    assert story()[0] == f"train {REPEATED}"


def test_another_grid_in_the_same_folder_is_refused(run: Run, known_bundle: Path) -> None:
    only = ("--only", BASELINE)
    assert run("--hours", 20, *only).exit_code == 0
    story()
    for changed, message in (
        (["--hours", 21], "hours 20.0 -> 21.0"),
        (["--hours", 20, "--teacher", known_bundle], "teacher_weights None -> "),
        (["--hours", 20, "--precision", "fp32"], "'precision': 'bf16'"),
        (["--hours", 20, "--", "--lr", "0.5"], "lr 0.001 -> 0.5"),
    ):
        result = run(*only, *changed)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1
        assert result.stderr.startswith("Error: out: holds another grid (") and message in result.stderr
    assert story() == []
    assert run("--hours", 20, *only, "--", "--num_workers", "0").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--only", "concat_joint"],
            f"no cell is called 'concat_joint'; there are {HALF}, {BASELINE}, {REPEATED}",
        ),
        (["--seeds", "1,two"], "--seeds is '1,two': give whole numbers"),
        (["--hours", "0"], "--hours is 0: give some hours of audio"),
        (["--hours", "nan"], "--hours is nan"),
        (
            ["--hours", "0.0001", "--only", REPEATED],
            "--hours 0.0001 is too little for whole batches in every epoch of every cell: give ",
        ),
        (["--test_set", "gone"], "gone: no such folder or file"),
        (["--teacher", "gone"], "gone: no such"),
        (["--bench", "gone.csv"], "gone.csv: no such file; give what `dynsnet bench -o` wrote"),
        (["--", "--max_epochs", "3"], "--max_epochs is the grid's to set"),
        (["--", "--family", "split"], "--family is the grid's to set"),
        (["--", "--shards=a"], "--shards is the grid's to set"),
        (["--", "--lrr", "3"], "unknown key 'lrr', did you mean lr?"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words: Sequence[str], message: str, run: Run) -> None:
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ") and message in result.stderr and result.stderr.count("\n") == 1
    assert not Path("out").exists() and story() == []


@pytest.mark.parametrize("hours", [0.01, 0.93])  # with the latter only some are refused, and not the greediest
def test_the_hours_that_are_asked_for_do_for_every_cell(run: Run, hours: float) -> None:
    told = re.search(r"give ([\d.]+) or more", run("--dry_run", "--hours", hours).stderr)
    assert told is not None
    assert run("--dry_run", "--hours", told[1]).exit_code == 0


@pytest.mark.parametrize("content", ["{bad", "[]"])
def test_a_damaged_record_is_one_line(content: str, run: Run) -> None:
    Path("out").mkdir()
    Path("out/settings.json").write_text(content)
    result = run("--dry_run")
    assert result.exit_code == 2 and result.stderr.startswith("Error: out/settings.json: damaged; give another OUT")


def test_a_file_in_the_place_of_the_grid_is_one_line(run: Run) -> None:
    Path("out").touch()
    result = run("--dry_run")
    assert result.exit_code == 2 and result.stderr == "Error: out: is a file; give a folder for the grid\n"


def test_no_manifest_is_one_line(folder: Path, pairs: Path) -> None:
    result = CliRunner().invoke(grid.main, ["gone.csv", "out", "--test_set", str(pairs)])
    assert result.exit_code == 2 and result.stderr.startswith("Error: gone.csv: no such folder or manifest")
    assert not Path("out").exists()


def test_two_grids_do_not_write_to_one_folder(run: Run) -> None:
    Path("out").mkdir()
    with grid.hold(Path("out")):
        result = run("--hours", 20)
    assert result.exit_code == 2 and "another run is writing to it" in result.stderr and story() == []


@pytest.mark.slow
def test_a_small_grid_in_earnest(data: Path, pairs: Path, tmp_path: Path) -> None:
    """Real trainings of a few seconds, real scores, and the real table."""
    words = [sys.executable, str(ROOT / "recipes/DNS2020/grid.py"), str(data), "out", "--test_set", str(pairs)]
    words += ["--hours", f"{40 * 0.256 / 3600}", "--only", f"{BASELINE},{REPEATED},pretrain_layerwise_0135"]
    words += [
        "--",
        "--batch_size",
        "1",
        "--clip_s",
        "0.256",
        "--valid_clips",
        "4",
        "--num_workers",
        "0",
        "--device=cpu",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first, again = (
        subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
        for _ in range(2)
    )
    assert first.returncode == 0, first.stdout + first.stderr
    assert "| layerwise | pretrain | 0, 1, 3, 5 | 1 |" in first.stdout
    assert "| layerwise | split | 0, 1, 3, 5 | 0 | not trained |" in first.stdout
    out = tmp_path / "out"
    assert load_bundle(out / "models" / "pretrain_layerwise_0135" / "bundle").exits == (0, 1, 3, 5)
    for name in (HALF, BASELINE, REPEATED):
        log = (out / "models" / f"{name}.log").read_text()
        assert "the run is finished" in log and log.count("this run is in") == 1
    with (out / "results" / REPEATED / "summary.csv").open(newline="") as file:
        assert any(value for row in csv.DictReader(file) for name, value in row.items() if "share" in name and value)
    assert (out / "report" / "mask_ranges.csv").is_file()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "begun: report" in again.stdout and again.stdout.count("begun: ") == 1
