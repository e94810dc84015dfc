"""`dynsnet data`: a table and a picture; one line and exit code 2 for anything wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from speechbrain_dynsnet.cli import main
from tests.data.marked import make_marked_set

ROOT = Path(__file__).parents[2]
HEADER = "path,kind,split,speaker_or_category\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a data set `set`, and some that are none."""
    monkeypatch.chdir(tmp_path)
    make_marked_set(Path("set"))
    make_marked_set(Path("no_noise"), rooms=False)
    for path in Path("no_noise/noise").iterdir():
        path.unlink()
    Path("moved.csv").write_text(f"{HEADER}gone.wav,clean,train,anna\n")
    Path("nothing").mkdir()
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["data", *arguments])


def listing() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_a_table_and_a_picture(folder: Path) -> None:
    result = run("set", "-o", "look.png", "--clips", "8")
    assert result.exit_code == 0, result.output
    rows = [line.split()[:3] for line in result.stdout.splitlines() if line.startswith(("train", "valid"))]
    # Of three speakers of four files, three noises and two rooms, one each is set apart.
    assert rows == [
        ["train", "clean", "8"],
        ["train", "noise", "2"],
        ["train", "impulse_responses", "1"],
        ["valid", "clean", "4"],
        ["valid", "noise", "1"],
        ["valid", "impulse_responses", "1"],
    ]
    assert "8 pairs of 2 s mixed from train" in result.stdout
    assert result.stdout.endswith("written: look.png\n")
    assert Path("look.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_says_the_same_and_another_seed_does_not(folder: Path) -> None:
    outputs = [run("set", "--clips", "4", "--seed", seed).stdout for seed in ("0", "0", "1")]
    assert outputs[0] == outputs[1] != outputs[2]
    assert Path("data.png").is_file()


def test_a_recipe_says_how_pairs_are_mixed(folder: Path) -> None:
    shutil.copytree(ROOT / "hparams", "hparams")
    recipe = Path("hparams/concat_joint.yaml")
    recipe.write_text(recipe.read_text().replace("clip_s: 2.0", "clip_s: 0.48"))
    mixing = "!new:speechbrain_dynsnet.data.mixing.MixDistribution\nsnr_db: [7, 7]\n"
    Path("hparams/parts/mixing.yaml").write_text(mixing)
    result = run("set", "--clips", "3", "--hparams", str(recipe))
    assert result.exit_code == 0, result.output
    assert "3 pairs of 0.48 s mixed from train" in result.stdout
    assert result.stdout.count("7.0 (7.0 to 7.0)") == 2  # measured, and asked for


def test_a_corrupt_file_is_listed_and_the_rest_counted(folder: Path) -> None:
    Path("set/clean/anna/bad.wav").write_text("no audio")
    before = run("set", "--clips", "2")
    assert before.exit_code == 0, before.output
    assert "set/clean/anna/bad.wav: not readable as audio" in before.stdout
    clean = [line.split() for line in before.stdout.splitlines() if " clean " in line and not line.startswith("left")]
    assert sum(int(row[2]) for row in clean) == 12
    assert sum(int(row[-1]) for row in clean) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: no such folder or manifest"),
        (["http://127.0.0.1/{000..009}.tar"], "addresses are for train.py --shards; give a folder"),
        (["nothing"], "no such folder; put the clean audio there"),
        (["no_noise"], "there is no audio in it; put the noise audio there"),
        (["moved.csv", "--split", "train"], "1 listed files are gone"),
        (["set", "--split", "test"], "no folder test"),
        (["set", "--hparams", "none.yaml"], "no such recipe"),
        (["set", "-o", "none/data.png"], "does not exist"),
        (["set", "-o", "nothing"], "give a file name that ends in one of .png"),
        (["set", "-o", "data.txt"], "give a file name that ends in one of .png"),
    ],
)
def test_bad_input_is_one_line_and_nothing_written(folder: Path, arguments: list[str], message: str) -> None:
    before = listing()
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert listing() == before


def test_without_matplotlib_the_extra_is_named(folder: Path) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; from speechbrain_dynsnet.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "data", "set"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: matplotlib is not installed: install the package with its [evaluation] extra\n"
