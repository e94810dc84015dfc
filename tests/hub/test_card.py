"""`dynsnet card`: what it says is in the files that it was made of, and what is in none is said to be not given."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import EvalResult, ModelCard

from speechbrain_dynsnet.cli import main
from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.inference import EnhanceDynamic
from speechbrain_dynsnet.model.bundle import SHIPPED_BUNDLE, load_bundle, save_bundle
from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.writing import write_table
from tests.hub.conftest import change_table, write_results

EXITS = (0, 1, 3, 5)
CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "manifest.csv"
TRAINING: dict[str, Any] = {
    "scheme": "joint",
    "seed": 1,
    "whitening": 0.5,
    "lr": 0.001,
    "clip_s": 2.0,
    "clips_per_epoch": 3200,
    "batch_size": 16,
    "phases": [{"exits": list(EXITS), "exit_weights": [1.0, 1.0, 1.0, 0.5], "max_epochs": 60}],
    "loss": {"compression": 0.3},
    "mixing": {"snr_db": [-5.0, 25.0], "level_dbfs": [-35.0, -15.0], "babble_probability": 0.1},
    "data": {"train": {"files": 4, "sha256": "cd" * 32}},
    "best": {"epoch": 49, "exit_0": 0.2876, "ones": 0.4126},
}


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bundle(known_bundle: Path, tmp_path: Path) -> Path:
    return save_bundle(load_bundle(known_bundle), tmp_path / "bundle", TRAINING)


@pytest.fixture
def results(bundle: Path, tmp_path: Path) -> Path:
    return write_results(tmp_path / "results", bundle)


@pytest.fixture
def bench(bundle: Path, tmp_path: Path) -> Path:
    rows = [
        {"family": "concat", "exit": cost.exit, "macs_per_frame": cost.macs_per_frame, "frames_timed": 1000}
        | {
            "cpu": "Some CPU",
            "threads": 1,
            "runtime_frame_median_ms": 0.1 + cost.exit / 100,
            "int8_frame_median_ms": 0.05,
        }
        for cost in exit_costs(load_bundle(bundle))
    ]
    write_table(tmp_path / "bench.csv", list(rows[0]), rows)
    return tmp_path / "bench.csv"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [
        ("a.wav", "clean", "train", "s1", "1800", "first/speech", "CC0"),
        ("b.wav", "clean", "train", "s2", "3600", "second/speech", "CC BY 4.0"),
        ("c.wav", "noise", "train", "wind_leaves", "5400", "a/noise", ""),
        ("d.wav", "noise", "train", "car", "1800", "a/noise", "MIT | Apache"),
        ("e.wav", "clean", "valid", "s3", "9999", "unseen/speech", "secret"),
    ]
    columns = ("path", "kind", "split", "speaker_or_category", "seconds", "source", "licence")
    write_table(tmp_path / "manifest.csv", columns, [dict(zip(columns, row, strict=True)) for row in rows])
    return tmp_path / "manifest.csv"


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["card", *map(str, words)])


def made(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return Path(result.stdout.strip().removeprefix("written: ")).read_text()


def refused(result: Result, *told: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert all(part in result.stderr for part in told), result.stderr


def cells(text: str, name: str) -> list[str]:
    """The cells of a row of any of the card's tables."""
    row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in row.strip("|").split(" | ")]


class TestFrontMatter:
    def test_the_hubs_own_classes_read_what_was_written(self, bundle: Path, results: Path) -> None:
        text = made(
            bundle, "--results", results, "--languages", "en, de", "--license", "mit", "--datasets", "user/set,glue",
            "--repo_id", "user/quiet",
        )  # fmt: skip
        data = ModelCard(text).data
        assert (data.language, data.license, data.datasets) == (["en", "de"], "mit", ["user/set", "glue"])
        assert data.model_name == "quiet" and {"audio-to-audio", "speech-enhancement", "speechbrain"} <= set(data.tags)
        assert data.metrics == ["pesq", "dnsmos", "stoi", "si-sdr"]
        assert len(data.eval_results) == 5 * len(EXITS)
        assert all(isinstance(figure, EvalResult) for figure in data.eval_results)
        # Written again by those classes, it is the same: nothing was lost or misplaced.
        assert ModelCard(str(ModelCard(text))).data.to_dict() == data.to_dict()

    def test_each_exit_has_its_figure(self, bundle: Path, results: Path) -> None:
        figures = ModelCard(made(bundle, "--results", results)).data.eval_results
        for exit in EXITS:
            own = {one.metric_name: one.metric_value for one in figures if one.metric_config == f"exit_{exit}"}
            assert own[f"PESQ-WB, exit {exit}"] == own[f"DNSMOS P.808, exit {exit}"]
            assert own[f"PESQ-WB, exit {exit}"] == pytest.approx(2 + exit / 100 + 0.0015, abs=1e-3)
        assert {one.dataset_name for one in figures} == {"four_clips"}

    def test_what_is_not_given_is_not_there(self, bundle: Path, results: Path) -> None:
        data = ModelCard(made(bundle, "--results", results)).data.to_dict()
        assert not {"license", "language", "datasets"} & set(data)

    @pytest.mark.parametrize(
        ("option", "value", "told"),
        [
            ("--languages", "English", "no language 'English'"),
            ("--license", "Apache 2", "no licence 'Apache 2': give it as the Hub calls it"),
            ("--license", "", "no licence ''"),
            ("--datasets", "a/b/c", "'a/b/c' cannot be the name of a data set"),
            ("--repo_id", "quiet", "names no user"),
        ],
    )
    def test_what_cannot_be_is_refused(self, bundle: Path, results: Path, option: str, value: str, told: str) -> None:
        before = (bundle / "README.md").read_bytes()
        refused(run(bundle, "--results", results, option, value), told)
        assert (bundle / "README.md").read_bytes() == before


class TestText:
    def test_the_table_has_costs_scores_and_times(self, bundle: Path, results: Path, bench: Path) -> None:
        text = made(bundle, "--results", results, "--bench", bench)
        assert cells(text, "noisy input")[3:5] == ["1.50", "1.50"]
        for cost in exit_costs(load_bundle(bundle)):
            row = cells(text, f"exit {cost.exit}")
            assert row[1] == f"{cost.macs_per_frame:,}" and row[2] == f"{100 * cost.share_of_baseline:.1f} %"
            assert row[3] == row[4] == f"{2 + cost.exit / 100:.2f}"
            assert row[-2:] == [f"{0.1 + cost.exit / 100:.3f}", "0.050"]
        assert "4 clips" in text and "SNR 0.0 to 15.0 dB, 2 speakers" in text and "Some CPU" in text

    def test_without_a_bench_there_are_no_times(self, bundle: Path, results: Path) -> None:
        text = made(bundle, "--results", results.parent)
        assert "Times were not measured" in text and "ms a frame" not in text

    def test_the_deepest_exit_is_told_to_be_below_others(self, bundle: Path, results: Path) -> None:
        with results.open(newline="") as file:
            rows = list(csv.DictReader(file))
        better = {"pesq_wb": "2.0501", "p808_mos": "4.44", "sig_mos": "4.4", "stoi": "0.5"}
        peer = [row | {"system": "peer", "model": "", "exit": ""} for row in rows if row["system"] == "noisy"]
        write_table(results, list(rows[0]), [*rows, *(row | {"mean": better.get(row["metric"], "1")} for row in peer)])
        limits = made(bundle, "--results", results).partition("## Limits")[2]
        # Not in what is the same as printed, nor in what the table does not show.
        assert "Exit 5 has a lower mean than peer in DNSMOS P.808 (2.05 against 4.44)." in limits

    def test_figures_without_a_record_of_the_weights_say_so(self, bundle: Path, results: Path, tmp_path: Path) -> None:
        told = "That it was these weights is not recorded beside the figures."
        assert told not in made(bundle, "--results", results)
        alone = shutil.copy(results, tmp_path / "alone.csv")
        assert told in made(bundle, "--results", alone, "--overwrite")

    def test_other_systems_stand_below(self, bundle: Path, results: Path) -> None:
        with results.open(newline="") as file:
            rows = list(csv.DictReader(file))
        peers = [
            row | {"system": system, "model": model, "exit": "", "mean": "1.11", "macs_share": "0.5"}
            for system, model in (("rnnoise", ""), ("baseline", "theirs.npz"), ("nsnet2", "nsnet2"))
            for row in rows
            if row["system"] == "noisy"
        ]
        write_table(results, list(rows[0]), [*peers, *rows])
        text = made(bundle, "--results", results)
        assert cells(text, "rnnoise")[1:4] == ["1,388,500", "50.0 %", "1.11"]
        assert "has a lower mean" not in text
        assert "| baseline (theirs.npz) |" in text and "| nsnet2 |" in text
        assert (
            text.index("| noisy input |")
            < text.index("| exit 0 |")
            < text.index("| exit 5 |")
            < text.index("| rnnoise |")
        )
        assert not any("rnnoise" in str(one.metric_name) for one in ModelCard(text).data.eval_results)

    def test_an_exit_that_loses_or_gains_nothing_is_named(self, bundle: Path, results: Path) -> None:
        def change(row: dict[str, str]) -> dict[str, str]:
            if row["system"] == "exit_0" and row["metric"] == "stoi":
                return row | {"difference": "-0.02", "difference_low": "-0.03", "difference_high": "-0.01"}
            if row["system"] == "exit_5" and row["metric"] == "pesq_wb":
                return row | {"difference_low": "-0.01", "difference_high": "0.01"}
            return row

        change_table(results, change)
        limits = made(bundle, "--results", results).partition("## Limits")[2]
        assert "Exit 0 scores below the noisy input in STOI (-0.020)." in limits
        assert "Exit 5 is not measurably better than exit 3 in PESQ-WB." in limits
        assert len(re.findall(r"Exit \d", limits)) == 2

    def test_clips_without_a_score_are_told(self, bundle: Path, results: Path) -> None:
        def change(row: dict[str, str]) -> dict[str, str]:
            of_one = row["system"] == "exit_1" and row["metric"] == "pesq_wb"
            return row | {"clips": "3", "failures": "1"} if of_one else row

        change_table(results, change)
        assert "exit 1 has no PESQ-WB on 1 of these clips" in made(bundle, "--results", results)

    def test_it_shows_how_to_use_it(self, bundle: Path, results: Path) -> None:
        text = made(bundle, "--results", results, "--repo_id", "user/quiet")
        assert 'EnhanceDynamic.from_hparams("user/quiet")' in text
        assert "dynsnet enhance noisy.wav -o clean.wav --model user/quiet --exit 3" in text
        assert "`hyperparams.yaml` runs code" in text and "2308.16678" in text
        assert "`speechbrain_dynsnet` (where to get it is not given):" in text

    def test_it_says_where_to_get_the_package(self, bundle: Path, results: Path) -> None:
        text = made(bundle, "--results", results, "--package", "git+https://example.org/a b")
        assert "```bash\npip install 'git+https://example.org/a b'\n```" in text and "not given), in" not in text

    @pytest.mark.parametrize(
        ("name", "load", "option"),
        [
            ("default", "()", ""),
            ("another", '("another")', " --model another"),
            ("elsewhere", '("THIS_MODEL")', " --model THIS_MODEL"),
        ],
    )
    def test_a_model_of_the_package_is_loaded_by_its_name(
        self, known_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, load: str, option: str
    ) -> None:
        models = tmp_path / "models"
        monkeypatch.setattr("speechbrain_dynsnet.hub.card.SHIPPED_MODELS", models)
        monkeypatch.setattr("speechbrain_dynsnet.hub.card.SHIPPED_BUNDLE", models / "default")
        bundle = save_bundle(load_bundle(known_bundle), (tmp_path if name == "elsewhere" else models) / name)
        text = made(bundle, "--results", write_results(tmp_path / "results", bundle))
        assert f"EnhanceDynamic.from_hparams{load}  #" in text
        assert f"-o clean.wav{option} --exit" in text

    def test_a_model_of_one_exit_says_so(self, tmp_path: Path) -> None:
        bundle = save_bundle(make_network("baseline", (5,)), tmp_path / "bundle", {"scheme": "joint"})
        text = made(bundle, "--results", write_results(tmp_path / "results", bundle))
        assert "16 kHz speech with one exit, after stage 5 of nsNet2" in text and "may stop" not in text
        assert "# Dynamic nsNet2: baseline, exit 5\n" in text

    def test_the_training_is_told_as_recorded(self, bundle: Path, results: Path) -> None:
        text = made(bundle, "--results", results)
        for part in (
            "scheme `joint`, at most 60 epochs of 3,200 pairs; these weights are of epoch 49",
            "features whitened by 0.5, seed 1",
            "SNR -5 to 25 dB, level -35 to -15 dBFS, 10 % with babble",
            "exits 0, 1, 3 and 5 weighted 1, 1, 1 and 0.5",
            "0.288 at exit 0 (a mask of ones, which changes nothing: 0.413)",
            "started from random weights",
            "No teacher was used",
        ):
            assert part in text, part

    @pytest.mark.parametrize("note", ["", "Weights of somebody's."])
    def test_distillation_is_named(self, known_bundle: Path, tmp_path: Path, note: str) -> None:
        taught = TRAINING | {"teacher_weights": "ef" * 32, "teacher_weight": 3.0}
        bundle = save_bundle(load_bundle(known_bundle), tmp_path / "bundle", taught)
        results = write_results(tmp_path / "results", bundle)
        text = made(bundle, "--results", results, "--teacher_note", note)
        assert "**Distilled from a teacher**" in text and "weighted 3," in text and "ef" * 32 in text
        assert "No teacher" not in text
        assert (note or "What the teacher is, and what it was trained on, is not given") in text

    @pytest.mark.parametrize("training", [{}, {"epochs": 3}])
    def test_a_training_that_is_not_recorded_is_not_made_up(
        self, known_bundle: Path, tmp_path: Path, training: dict[str, int]
    ) -> None:
        bundle = save_bundle(load_bundle(known_bundle), tmp_path / "bundle", training)
        text = made(bundle, "--results", write_results(tmp_path / "results", bundle))
        assert ("`epochs: 3`" if training else "The bundle does not record how.") in text
        for claim in ("random weights", "No teacher", "reverberation", "equations"):
            assert claim not in text
        assert "Which data these were, and under which licences, is not given." in text
        assert "Languages of the training speech: not given" in text and "Types of noise in training: not given" in text
        assert "Of the weights: not given" in text

    def test_sources_hours_and_licences(self, bundle: Path, results: Path, manifest: Path) -> None:
        text = made(bundle, "--results", results, "--data", manifest, "--data_note", "Heard by nobody.")
        assert cells(text, "second/speech")[1:] == ["1.00", "1", "CC BY 4.0"]
        assert cells(text, "a/noise")[1:] == ["2.00", "2", "MIT \\| Apache"]
        assert "Speech, 1.5 hours in 2 files" in text and text.index("second/speech") < text.index("first/speech")
        assert "wind leaves 75 % and car 25 % (of the hours)" in text
        assert "unseen" not in text and "secret" not in text
        assert "Heard by nobody." in text and "is not given.\n\n## Limits" not in text

    def test_a_manifest_without_lengths_and_licences_says_so(self, bundle: Path, results: Path, manifest: Path) -> None:
        change_table(manifest, lambda row: {name: row[name] for name in row if name not in ("seconds", "licence")})
        text = made(bundle, "--results", results, "--data", manifest)
        assert cells(text, "a/noise")[1:] == ["2", "not given"] and "hours" not in text.partition("## Training data")[2]

    def test_a_manifest_may_spell_it_license(self, bundle: Path, results: Path, manifest: Path, tmp_path: Path) -> None:
        text = made(bundle, "--results", results, "--data", manifest)
        change_table(manifest, lambda row: {{"licence": "license"}.get(name, name): row[name] for name in row})
        assert made(bundle, "--results", results, "--data", manifest, "-o", tmp_path / "card.md") == text

    @pytest.mark.skipif(not CORPUS.is_file(), reason="needs the shared corpus's manifest")
    def test_the_shipped_models_data(self, tmp_path: Path) -> None:
        results = write_results(tmp_path / "results", SHIPPED_BUNDLE)
        text = made(SHIPPED_BUNDLE, "--results", results, "--data", CORPUS, "-o", tmp_path / "card.md")
        assert "Speech, 7.6 hours in 6,605 files" in text and "Noise, 3.0 hours" in text
        assert "**Distilled from a teacher**" in text and "EnhanceDynamic.from_hparams()" in text


class TestFile:
    def test_the_short_card_gives_way_and_the_model_still_loads(self, bundle: Path, results: Path) -> None:
        made(bundle, "--results", results)
        assert EnhanceDynamic.from_hparams(bundle, run_opts={"device": "cpu"}).exits == EXITS

    def test_a_card_that_is_there_stays_unless_asked(self, bundle: Path, results: Path, tmp_path: Path) -> None:
        card = bundle / "README.md"
        card.write_text("# By hand\n")
        refused(run(bundle, "--results", results), "README.md", "--overwrite", "-o")
        other = made(bundle, "--results", results, "-o", tmp_path / "card.md")
        assert card.read_text() == "# By hand\n"
        refused(run(bundle, "--results", results, "-o", tmp_path / "card.md"), "card.md", "--overwrite")
        assert made(bundle, "--results", results, "--overwrite") == other == card.read_text()

    @pytest.mark.parametrize("output", ["folder", "missing/card.md"])
    def test_a_place_that_cannot_be_written_is_named(self, bundle: Path, results: Path, output: str) -> None:
        Path("folder").mkdir()
        refused(run(bundle, "--results", results, "-o", output), output)

    def test_the_card_of_a_model_of_the_package_stays(self, results: Path) -> None:
        refused(run("baseline", "--results", results, "--overwrite"), "baseline: is no folder here", "-o")

    @pytest.mark.parametrize("model", ["nowhere", "bundle/config.json", "user/model"])
    def test_no_such_model(self, bundle: Path, results: Path, model: str) -> None:
        refused(run(model, "--results", results), model)


def _drop(column: str, value: str) -> Callable[[dict[str, str]], dict[str, str] | None]:
    return lambda row: None if row[column] == value else row


def _set(column: str, value: str, metric: str = "pesq_wb") -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda row: row | {column: value} if (row["system"], row.get("metric")) == ("exit_1", metric) else row


class TestWrongTables:
    @pytest.mark.parametrize("option", ["--results", "--bench", "--data"])
    def test_a_file_that_is_not_there(self, bundle: Path, results: Path, option: str) -> None:
        refused(run(bundle, "--results", results, option, "nowhere.csv"), "nowhere.csv: no such file")

    @pytest.mark.parametrize("content", [b"", b"system,exit\n", b"a,b\n1,2\n", b"\xff\xfe\x00", b'"' * 200_000])
    @pytest.mark.parametrize("option", ["--results", "--bench", "--data"])
    def test_a_file_that_is_no_table(self, bundle: Path, results: Path, option: str, content: bytes) -> None:
        Path("bad.csv").write_bytes(content)
        refused(run(bundle, "--results", results, option, "bad.csv"), "bad.csv")

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (_drop("system", "exit_3"), "has the exits [0, 1, 5], and this model [0, 1, 3, 5]"),
            (lambda row: row if row["system"] == "noisy" else None, "no exit of a model"),
            (_drop("metric", "p808_mos"), "has no p808_mos of exit 0"),
            (_set("mean", ""), "has no pesq_wb of exit 1"),
            (_set("mean", "good"), "mean 'good'"),
            (_set("mean", "nan"), "mean 'nan'"),
            (_set("failures", "-1"), "failures '-1'"),
            (_set("macs_share", "0.5"), "another model"),
            *[
                (lambda row, name=name: {key: row[key] for key in row if key != name}, f"lacks the columns {name}")
                for name in ("mean", "compared_with", "difference")
            ],
        ],
    )
    def test_figures_of_another_model_or_with_gaps(
        self, bundle: Path, results: Path, change: Callable[[dict[str, str]], dict[str, str] | None], told: str
    ) -> None:
        change_table(results, change)
        before = (bundle / "README.md").read_bytes()
        refused(run(bundle, "--results", results), "summary.csv", told)
        assert (bundle / "README.md").read_bytes() == before

    def test_figures_of_other_weights(self, results: Path, tmp_path: Path) -> None:
        other = save_bundle(make_network("concat", EXITS), tmp_path / "other")
        refused(run(other, "--results", results), "measured with other weights")

    def test_a_summary_by_itself_says_less(self, bundle: Path, results: Path, tmp_path: Path) -> None:
        shutil.copy(results, tmp_path / "alone.csv")
        text = made(bundle, "--results", "alone.csv")
        assert "a test set that is not named" in text and "SNR 0.0" not in text

    def test_clips_of_another_evaluation_tell_nothing(self, bundle: Path, results: Path) -> None:
        change_table(results.parent / "clips.csv", _drop("clip", "clip_3"))
        assert "SNR 0.0" not in made(bundle, "--results", results)

    def test_damaged_settings_are_named(self, bundle: Path, results: Path) -> None:
        (results.parent / "settings.json").write_text("{")
        refused(run(bundle, "--results", results), "settings.json: damaged")

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (_drop("exit", "3"), "has the exits [0, 1, 5]"),
            (lambda row: row | {"family": "split"}, "is of another model"),
            (lambda row: row | {"macs_per_frame": "7"}, "is of another model"),
            (lambda row: row | {"runtime_frame_median_ms": "fast"}, "runtime_frame_median_ms 'fast'"),
        ],
    )
    def test_times_of_another_model(
        self, bundle: Path, results: Path, bench: Path, change: Callable[[dict[str, str]], Any], told: str
    ) -> None:
        change_table(bench, change)
        refused(run(bundle, "--results", results, "--bench", bench), "bench.csv", told)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda row: {name: row[name] for name in row if name != "source"}, "no column source"),
            (_drop("path", "b.wav"), "lists 3 files for train, and the model was trained on 4"),
            (_drop("split", "train"), "no row has the split train"),
            (lambda row: row | {"seconds": "long"}, "column seconds"),
            (lambda row: row | {"seconds": "nan"}, "column seconds"),
        ],
    )
    def test_a_manifest_of_other_data(
        self, bundle: Path, results: Path, manifest: Path, change: Callable[[dict[str, str]], Any], told: str
    ) -> None:
        change_table(manifest, change)
        refused(run(bundle, "--results", results, "--data", manifest), "manifest.csv", told)
