"""Models are compared clip by clip: a small difference that all clips have is certain; its sign says whose it is."""

from __future__ import annotations

from pathlib import Path

from speechbrain_dynsnet.evaluation.configurations import Run, read_runs
from speechbrain_dynsnet.evaluation.paired import pairs_to_markdown
from tests.measured import Values, write_results

CLIPS = (1.0, 2.0, 3.5, 4.0)


def plus(amount: float) -> list[float | None]:
    return [clip + amount for clip in CLIPS]


def runs_of(folder: Path, models: dict[str, dict[str, Values]]) -> list[Run]:
    return read_runs(write_results(folder / name, systems, name) for name, systems in models.items())


def test_schemes_are_compared_at_each_exit_that_both_have(tmp_path: Path) -> None:
    text = pairs_to_markdown(
        runs_of(
            tmp_path,
            {
                "concat_joint_4": {"exit_0": plus(0.01), "exit_1": plus(0.3)},
                "concat_layerwise_4": {"exit_0": plus(0.0), "exit_1": [1.0, 2.0, 4.5, 4.0]},
                "split_joint_4": {"exit_0": plus(1.0), "exit_5": plus(1.0)},
            },
        )
    )
    assert "| concat | 0, 1 | PESQ-WB | +0.01 [+0.01, +0.01] | +0.05 [" in text
    assert "split" not in text and "Deepest" not in text


def test_the_deepest_exit_is_compared_with_the_baseline(tmp_path: Path) -> None:
    models = {
        "baseline_joint_seed1": {"exit_5": plus(0.2)},
        "concat_joint_seed1": {"exit_0": plus(0.0), "exit_5": plus(0.1)},
        "concat_joint_seed2": {"exit_0": plus(9.0), "exit_5": plus(0.2)},
    }
    text = pairs_to_markdown(runs_of(tmp_path, models))
    assert "**Deepest exit minus our baseline**" in text and "layerwise**" not in text
    cell = "-0.05 [-0.05, -0.05]"  # of the mean of the seeds
    assert f"| concat, joint, 2 exits | {cell} | {cell} | {cell} |" in text
    assert "| baseline |" not in text


def test_a_baseline_from_elsewhere_is_named(tmp_path: Path) -> None:
    run = write_results(tmp_path / "a", {"exit_5": plus(0.1), "baseline": plus(0.5)}, "theirs.npz")
    text = pairs_to_markdown(read_runs([run]))
    assert "minus the baseline theirs.npz**" in text and "-0.40 [-0.40, -0.40]" in text


def test_clips_without_both_scores_are_left_out(tmp_path: Path) -> None:
    models = {
        "concat_joint_4": {"exit_1": [1.1, None, 3.5, None]},
        "concat_layerwise_4": {"exit_1": [1.0, 2.0, None, None]},
    }
    assert "| concat | 1 | PESQ-WB | +0.10 |" in pairs_to_markdown(runs_of(tmp_path, models))
    models = {"concat_joint_4": {"exit_1": [1.0, None]}, "concat_layerwise_4": {"exit_1": [None, 1.0]}}
    assert "| concat | 1 | PESQ-WB |  |" in pairs_to_markdown(runs_of(tmp_path / "none", models))


def test_one_model_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    assert pairs_to_markdown(runs_of(tmp_path, {"concat_joint_4": {"exit_1": plus(0.0)}})) == ""
