"""The report: from folders of results to table and figures, whole, and one line for what is wrong."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from PIL import Image

from recipes.DNS2020.report import main
from speechbrain_dynsnet.evaluation.systems import Network
from tests.measured import write_results

SYSTEMS = {
    "noisy": [1.0, 1.5, 2.0, 2.5],
    **{f"exit_{exit}": [1.5 + exit / 5, 2.0, 2.0 + exit / 9, 3.0] for exit in (0, 1, 3, 5)},
    "baseline": [3.0, 3.5, 4.0, 4.0],
}
FIGURES = ["figure3_scores_concat_joint_0135", "figure6_gains_concat_joint_0135", "noise_types_concat_joint_0135"]


def report(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def both(names: Sequence[str]) -> list[str]:
    return sorted(f"{name}{suffix}" for name in names for suffix in (".png", ".svg"))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_results(tmp_path / "results", SYSTEMS, "concat_joint_4")


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for index in range(2):
        clean = 0.1 * rng.standard_normal(8000)
        for kind, signal in (("clean", clean), ("noisy", clean + 0.05 * rng.standard_normal(8000))):
            name = f"clean_fileid_{index}.wav" if kind == "clean" else f"speech_fan_snr6_tl-20_fileid_{index}.wav"
            (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "set" / kind / name, signal, 16000)
    return tmp_path / "set"


def test_a_report_is_a_table_and_figures(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    result = report(results, "-o", out)
    assert result.exit_code == 0, result.output
    expected = [*both([*FIGURES, "figure4_costs"]), "table1.md", "table2.csv", "table2.md"]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)
    text = (out / "table2.md").read_text()
    assert text.strip() in result.output
    (row, *_) = (line for line in text.splitlines() if line.startswith("| joint | concat | 0, 1, 3, 5 | 1 |"))
    assert re.findall(r" ([\d.]+) \[", row) == ["2.12", "2.20", "2.36", "2.51"]
    assert "|  | baseline | 5 | 0 |  |  |  | not trained |" in text
    assert "| baseline (concat_joint_4) | 3.62 | 3.62 | 3.62 |" in text
    assert "What differs from the paper: the test set (known, 4 clips" in text
    with (out / "table2.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len([row for row in rows if row["status"] == "not trained"]) == 12
    for name in both([*FIGURES, "figure4_costs"]):
        if name.endswith("png"):
            with Image.open(out / name) as picture:
                picture.verify()


def test_the_same_report_again_replaces_it_with_the_same(results: Path, tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        assert report(results, "-o", tmp_path / "out").exit_code == 0
        texts.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.suffix != ".svg"})
    assert texts[0] == texts[1]


def test_two_seeds_and_another_family_stand_side_by_side(results: Path, tmp_path: Path) -> None:
    better = {name: [value + 0.5 for value in values] for name, values in SYSTEMS.items() if name != "noisy"}
    more = [
        write_results(tmp_path / "seed", better, "concat_joint_seed1"),
        write_results(tmp_path / "split", better, "split_layerwise_4"),
    ]
    result = report(results, *more, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    # 2.125 and 2.625; Student's t for two is 12.7
    assert "| joint | concat | 0, 1, 3, 5 | 2 | 2.38 ± 3.18 [" in result.output
    assert "| layerwise | split | 0, 1, 3, 5 | 1 | **2.62** [" in result.output
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    assert {"figure3_scores_concat_joint_0135", "figure3_scores_split_layerwise_0135", "figure4_costs"} <= names


def test_masks_of_a_model_and_a_baseline_are_drawn(
    results: Path, small_set: Path, known_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = report(
        results, "-o", out, "--model", known_bundle, "--baseline", known_bundle, "--test_set", small_set, "--clips", 1
    )
    assert result.exit_code == 0, result.output
    assert {*both(["figure5_masks", "mask_ranges"]), "mask_ranges.csv"} <= {path.name for path in out.iterdir()}
    with Image.open(out / "figure5_masks.png") as picture:
        assert picture.mode == "P"  # small enough for a page
    with (out / "mask_ranges.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 4 * 2 and {row["model"] for row in rows} == {
        "concat, 4 exits",
        "baseline (concat, 4 exits)",
    }
    assert sum(int(row["points"]) for row in rows) == 2 * 4 * 33 * 257  # of one clip


def test_a_clip_alone_gives_masks_and_no_ranges(
    results: Path, small_set: Path, known_bundle: Path, tmp_path: Path
) -> None:
    clip = next((small_set / "noisy").iterdir())
    assert report(results, "-o", tmp_path / "out", "--model", known_bundle, "--clip", clip).exit_code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "figure5_masks.png" in names and "mask_ranges.csv" not in names


def test_the_bundle_of_the_masks_tells_what_was_measured(known_bundle: Path, small_set: Path, tmp_path: Path) -> None:
    exits = [name for name in SYSTEMS if "exit" in name]
    identity = Network(known_bundle, "known", (0, 1, 3, 5)).identity()
    folder = write_results(tmp_path / "results", SYSTEMS, "known", identities=dict.fromkeys(exits, identity))
    clip = next((small_set / "noisy").iterdir())
    result = report(folder, "-o", tmp_path / "out", "--model", known_bundle, "--clip", clip)
    assert result.exit_code == 0 and "|  | concat | 0, 1, 3, 5 | 1 |" in result.output


def test_what_cannot_be_drawn_is_left_out_and_said(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "results", SYSTEMS, "concat_joint_4")
    lines = [line.rsplit(",", 2)[0] for line in (folder / "clips.csv").read_text().splitlines()]
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")  # neither SNR nor type of noise
    result = report(folder, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "left out: figure6_gains_concat_joint_0135, no clip has an SNR" in result.output
    assert "left out: noise_types_concat_joint_0135, no clip has a type" in result.output
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {f"{FIGURES[0]}.png", "figure4_costs.png"}


def test_one_clip_and_failures_are_reported(tmp_path: Path) -> None:
    systems = {"noisy": [1.0], "exit_0": [2.0], "exit_5": [None]}
    result = report(write_results(tmp_path / "results", systems), "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "| joint | concat | 0, 5 | 1 | 2.00 | no clip has a score |" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clip", "noisy.wav"], "give --model"),
        (["--model", "MODEL"], "need a --clip, a --test_set, or both"),
        (["--model", "MODEL", "--model", "MODEL", "--test_set", "SET"], "called alike"),
        (["--model", "gone", "--clip", "noisy.wav"], "gone"),
        (["--bench", "gone.csv"], "gone.csv"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    arguments: list[str], message: str, results: Path, small_set: Path, known_bundle: Path, tmp_path: Path
) -> None:
    known = {"MODEL": str(known_bundle), "SET": str(small_set)}
    result = report(results, "-o", tmp_path / "out", *(known.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: ") and message in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_evaluation_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    result = report(tmp_path / "results", "-o", tmp_path / "out")
    assert result.exit_code == 2 and result.stderr.startswith(f"Error: {tmp_path / 'results'}: no settings.json")
