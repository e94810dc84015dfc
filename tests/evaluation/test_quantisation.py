"""What an exported file loses is told clip by clip, against the network it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation import evaluate as scoring
from speechbrain_dynsnet.evaluation.metrics import METRICS, Scores
from speechbrain_dynsnet.evaluation.quantisation import COLUMNS, LOSS_METRICS, is_met, quantisation_loss, to_markdown
from speechbrain_dynsnet.evaluation.summary import interval
from speechbrain_dynsnet.evaluation.systems import Pair, read_mono
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.runtime.export import export_onnx

Score = Callable[[np.ndarray, np.ndarray], Scores]


def use(monkeypatch: pytest.MonkeyPatch, score: Score) -> None:
    monkeypatch.setattr(scoring, "score", score)


def energy(clean: np.ndarray, estimate: np.ndarray) -> Scores:
    """A score that costs nothing: exit 1 of the known model halves the signal, its other exits leave it."""
    return Scores(dict.fromkeys(METRICS, float(np.square(estimate).mean() / np.square(clean).mean())), {})


@pytest.fixture
def exported(known_bundle: Path, tmp_path: Path) -> Path:
    return export_onnx(load_bundle(known_bundle), tmp_path / "known_int8.onnx", precision="int8", frames="any")


def test_a_row_for_each_exit_and_metric(
    known_bundle: Path, exported: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, energy)
    rows = quantisation_loss(known_bundle, exported, pairs)
    assert [(row["exit"], row["metric"]) for row in rows] == [(k, m) for k in "0135" for m in LOSS_METRICS]
    for row in rows:
        assert tuple(row) == COLUMNS
        assert row["common_clips"] == str(len(pairs))
        assert float(row["difference"]) == pytest.approx(0.0, abs=1e-3) and is_met(row)
    before = {row["exit"]: float(row["reference"]) for row in rows}
    assert before["1"] == pytest.approx(before["5"] / 4, rel=1e-3)  # each is compared with its own exit


def test_the_change_is_that_of_each_clip(exported: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is an exported file here, too; what comes second in each clip and exit scores otherwise."""
    changes = dict(zip((pair.clip for pair in pairs), (-0.3, 0.1, -0.1), strict=True))
    clips = {read_mono(pair.clean).tobytes(): pair.clip for pair in pairs}
    calls = dict.fromkeys(changes, 0)

    def score(clean: np.ndarray, estimate: np.ndarray) -> Scores:
        clip = clips[clean.tobytes()]
        calls[clip] += 1
        value = len(clip) + changes[clip] * (calls[clip] > 4)  # after the 4 exits of the reference
        return Scores(dict.fromkeys(METRICS, value), {})

    use(monkeypatch, score)
    expected = interval(np.array([changes[clip] for clip in sorted(changes)]))
    for row in quantisation_loss(exported, exported, pairs):
        told = [float(row[name]) for name in ("difference", "difference_low", "difference_high")]
        np.testing.assert_allclose(told, expected, atol=1e-6)
        assert float(row["exported"]) - float(row["reference"]) == pytest.approx(-0.1, abs=2e-6)
        assert not is_met(row)


def test_a_clip_that_one_of_them_has_no_score_of_is_in_no_mean(
    exported: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def score(clean: np.ndarray, estimate: np.ndarray) -> Scores:
        nonlocal calls
        calls += 1
        if calls == 1:  # the first clip, of the reference at exit 0
            return Scores({}, dict.fromkeys(METRICS, "silent"))
        return energy(clean, estimate)

    use(monkeypatch, score)
    rows = quantisation_loss(exported, exported, pairs)
    assert [row["common_clips"] for row in rows] == ["2", "2", *["3"] * 6]
    assert all(row["reference"] == row["exported"] for row in rows)


def test_an_exit_that_the_reference_lacks_is_an_error_before_any_work(
    known_bundle: Path, exported: Path, pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, lambda clean, estimate: pytest.fail("began to work"))
    shallow = export_onnx(load_bundle(known_bundle), tmp_path / "shallow.onnx", (0, 1))
    with pytest.raises(InputError, match=r"shallow.onnx: has no exit 3, and known_int8.onnx has"):
        quantisation_loss(shallow, exported, pairs)


def test_the_table_says_what_is_met_and_leaves_empty_what_has_no_score() -> None:
    row = {"exit": "1", "metric": "pesq_wb", "common_clips": "3", "reference": "2.0", "exported": "1.98"}
    spread = {"difference_low": "-0.03", "difference_high": "0.01"}
    empty = dict.fromkeys(("reference", "exported", "difference", "difference_low", "difference_high"), "")
    lines = to_markdown(
        [
            {**row, "difference": "-0.020000", **spread},
            {**row, "difference": "-0.020001", **spread},
            {**row, "common_clips": "1", "difference": "0.1", "difference_low": "", "difference_high": ""},
            {**row, "common_clips": "0", **empty},
        ]
    ).splitlines()
    header, rule, *body = (line for line in lines if line.startswith("|"))
    assert len({line.count("|") for line in (header, rule, *body)}) == 1
    assert body[0] == "| 1 | PESQ-WB | 3 | 2.000 | 1.980 | -0.020 | -0.030 to +0.010 | met |"
    assert [line.split("|")[-2].strip() for line in body] == ["met", "missed", "met", ""]
