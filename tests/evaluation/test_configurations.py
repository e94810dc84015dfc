"""What an evaluation is of: told by the bundle, else by the name; several seeds are one configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.configurations import (
    PAPER_CONFIGURATIONS,
    Configuration,
    baseline_of,
    by_configuration,
    mean_rows,
    read_runs,
    scores_of,
)
from speechbrain_dynsnet.evaluation.systems import Network
from tests.measured import write_results

FOUR = (0, 1, 3, 5)
KNOWN = {f"exit_{exit}": [1.0 + exit, 2.0 + exit] for exit in FOUR}


def config(family: str, scheme: str, exits: tuple[int, ...], seed: int) -> dict[str, object]:
    return {
        "architecture": {"family": family, "exits": list(exits)},
        "training": {"scheme": scheme, "seed": seed},
    }


def test_the_paper_trains_thirteen_configurations() -> None:
    assert len(set(PAPER_CONFIGURATIONS)) == 13 == len({one.slug for one in PAPER_CONFIGURATIONS})
    assert str(PAPER_CONFIGURATIONS[0]) == "baseline"


@pytest.mark.parametrize(
    ("name", "expected", "seed"),
    [
        ("concat_joint_4", Configuration("joint", "concat", FOUR), None),
        ("split_layerwise_0135_seed7", Configuration("layerwise", "split", FOUR), 7),
        ("concat_jointly", Configuration("", "concat_jointly", FOUR), None),
        ("user/model", Configuration("", "user/model", FOUR), None),
    ],
)
def test_a_name_tells_what_a_model_is_or_stays_a_name(
    name: str, expected: Configuration, seed: int | None, tmp_path: Path
) -> None:
    (run,) = read_runs([write_results(tmp_path, KNOWN, name)])
    assert (run.configuration, run.seed) == (expected, seed)
    assert run.systems == {exit: f"exit_{exit}" for exit in FOUR}
    assert run.scores(3, "pesq_wb") == {"fileid_0": 4.0, "fileid_1": 5.0}
    assert run.macs_shares["exit_1"] == pytest.approx(0.214)


def test_a_bundle_tells_more_than_the_name(known_bundle: Path, tmp_path: Path) -> None:
    identity = Network(known_bundle, "split_layerwise_4", FOUR).identity()
    untold = {name: value for name, value in identity.items() if name != "config"}
    silent = write_results(tmp_path / "silent", KNOWN, "split_layerwise_4", identities=dict.fromkeys(KNOWN, untold))
    folder = write_results(tmp_path / "told", KNOWN, "split_layerwise_4", identities=dict.fromkeys(KNOWN, identity))
    (by_name,), (by_bundle,) = read_runs([silent]), read_runs([silent], [known_bundle])
    assert read_runs([folder])[0].configuration == by_bundle.configuration
    assert by_name.configuration == Configuration("layerwise", "split", FOUR)
    assert by_bundle.configuration == Configuration("", "concat", FOUR)  # trained by nobody


def test_what_the_settings_record_is_believed_first(tmp_path: Path) -> None:
    identity = {"config": config("pretrain", "joint", (0, 1, 2, 3, 4, 5), 3)}
    folder = write_results(tmp_path, KNOWN, "concat_joint_4", identities=dict.fromkeys(KNOWN, identity))
    (run,) = read_runs([folder])
    assert (run.configuration, run.seed) == (Configuration("joint", "pretrain", (0, 1, 2, 3, 4, 5)), 3)


def test_a_trained_baseline_beside_a_model_is_a_run_of_its_own(tmp_path: Path) -> None:
    systems = {"noisy": [1.0, 1.0], **KNOWN, "baseline": [4.0, 6.0]}
    ours = {"baseline": {"config": config("baseline", "joint", (5,), 1), "sha256": "b"}}
    folders = [
        write_results(tmp_path / name, systems, f"{name}_joint_4", identities=ours) for name in ("split", "concat")
    ]
    runs = read_runs(folders)
    assert [run.configuration.family for run in runs] == ["split", "baseline", "concat"]
    baseline = runs[1]
    assert baseline.configuration == PAPER_CONFIGURATIONS[0]
    assert {row["system"] for row in baseline.rows} == {"noisy", "exit_5"}
    assert baseline.scores(5, "stoi") == {"fileid_0": 4.0, "fileid_1": 6.0}
    assert baseline.macs_shares == {"exit_5": 1.0}
    assert baseline_of(runs) == ("exit_5", baseline)


def test_a_baseline_from_elsewhere_is_no_run(tmp_path: Path) -> None:
    theirs = {"baseline": {"model": "nsnet2.npz", "exits": [5], "sha256": "b"}}
    runs = read_runs([write_results(tmp_path, KNOWN | {"baseline": [4.0, 6.0]}, identities=theirs)])
    assert [run.configuration.family for run in runs] == ["concat"]
    assert baseline_of(runs) == ("baseline", runs[0])


def test_seeds_are_averaged_clip_by_clip_and_a_missing_score_is_missing(tmp_path: Path) -> None:
    seeds = ([1.0, None, 3.0], [2.0, 5.0, 6.0])
    runs = read_runs(
        write_results(tmp_path / str(seed), {"noisy": [1.0] * 3, "exit_0": values}, f"concat_joint_seed{seed}")
        for seed, values in enumerate(seeds)
    )
    ((configuration, some),) = by_configuration(runs).items()
    assert configuration == Configuration("joint", "concat", (0,)) and [run.seed for run in some] == [0, 1]
    rows = mean_rows(some)
    assert [(row["clip"], row["system"]) for row in rows] == [
        (f"fileid_{clip}", system) for clip in range(3) for system in ("noisy", "exit_0")
    ]
    assert scores_of(rows, "exit_0", "p808_mos") == {"fileid_0": 1.5, "fileid_2": 4.5}
    assert scores_of(rows, "noisy", "p808_mos") == {f"fileid_{clip}": 1.0 for clip in range(3)}


def test_one_evaluation_given_twice_counts_once(tmp_path: Path) -> None:
    same = {name: {"sha256": "a"} for name in KNOWN}
    folders = [write_results(tmp_path / name, KNOWN, identities=same) for name in "xy"]
    assert len(read_runs(folders)) == 1
    other_exits = write_results(tmp_path / "z", {"exit_3": KNOWN["exit_3"]}, identities=same)
    with pytest.raises(InputError, match=r"z: has the model of .*x at other exits; measure all its exits in one run"):
        read_runs([*folders, other_exits])


def test_peers_alone_are_no_row_of_the_table(tmp_path: Path) -> None:
    folder = write_results(tmp_path, {"rnnoise": KNOWN["exit_3"]})
    with pytest.raises(InputError, match="holds no exit of a model; measure peers beside one, with --peers"):
        read_runs([folder])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", r"x and .*y are both of concat, joint, 4 exits with seed 1, .*give one of them"),
        ("test_set", r"y: measured on other, and .*x on known"),
        ("gone", r"y: no settings.json in it; give a folder that"),
        ("unfinished", r"y: not finished; give its .* again"),
        ("text", r"settings.json: cannot be read"),
        ("list", r"settings.json: not of an evaluation"),
        ("summary", r"summary.csv: not a summary"),
        ("empty", r"clips.csv: not a table of clips"),
        ("columns", r"clips.csv: not a table of clips"),
    ],
)
def test_what_cannot_stand_side_by_side_is_an_error(change: str, message: str, tmp_path: Path) -> None:
    name = "concat_joint_seed1" if change == "seed" else "split_joint_4"
    first = write_results(tmp_path / "x", KNOWN, "concat_joint_seed1")
    second = write_results(tmp_path / "y", KNOWN, name, "other" if change == "test_set" else "known")
    if change == "gone":
        (second / "settings.json").unlink()
    elif change == "unfinished":
        (second / "summary.csv").unlink()
    elif change in ("text", "list"):
        (second / "settings.json").write_text("no" if change == "text" else json.dumps([1]))
    elif change == "summary":
        (second / "summary.csv").write_text("a,b\n1,2\n")
    elif change == "empty":
        (second / "clips.csv").write_text("")
    elif change == "columns":
        (second / "clips.csv").write_text("clip,system\nfileid_0,noisy\n")
    with pytest.raises(InputError, match=message):
        read_runs([first, second])


def test_results_without_a_model_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no exit of a model"):
        read_runs([write_results(tmp_path, {"noisy": [1.0, 2.0]})])
