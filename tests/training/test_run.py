"""A whole run: what its folder holds, whose it is, and what `pretrain` starts from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from speechbrain_dynsnet.data.pairs import EpochSampler
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.bundle import load_bundle, save_bundle
from speechbrain_dynsnet.model.network import DynamicNsNet2, make_network
from speechbrain_dynsnet.model.whitening import Whitening
from speechbrain_dynsnet.training import run
from speechbrain_dynsnet.training.brain import DynBrain
from speechbrain_dynsnet.training.folder import open_run_folder
from speechbrain_dynsnet.training.recipe import load_recipe
from speechbrain_dynsnet.training.run import train
from tests.training.conftest import HPARAMS, SMALL

Train = Callable[..., Path]


@pytest.fixture(scope="module")
def finished(train_small: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a finished run of concat_joint."""
    results = tmp_path_factory.mktemp("results")
    train_small(results)
    return results


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    return save_bundle(make_network("baseline", [5]), tmp_path_factory.mktemp("models") / "baseline")


def test_the_folder_holds_what_repeats_the_run(finished: Path, small_set: Path, tmp_path: Path) -> None:
    folder = finished / "concat_joint_01"
    assert json.loads((folder / "settings.json").read_text())["clips_per_epoch"] == 16
    assert "torch==" in (folder / "env.log").read_text()
    assert "exits_0_1 epoch 2/2" in (folder / "log.txt").read_text()
    assert {path.name for path in folder.iterdir()} == {
        *("bundle", "env.log", "hyperparams.yaml", "log.txt", "phase_0_exits_0_1", "settings.json"),
        "whitening.safetensors",
    }
    again = folder / "hyperparams.yaml"  # every override resolved: it needs nothing else
    overrides = f"output_folder: {tmp_path / 'again'}"
    bundle = train(load_recipe(again, overrides), {"device": "cpu", "noprogressbar": True}, again, overrides)
    expected, weights = (load_file(path / "model.safetensors") for path in (folder / "bundle", bundle))
    assert all(expected[name].equal(weights[name]) for name in expected)


def test_the_bundle_tells_how_it_was_trained_and_nothing_of_this_machine(finished: Path, small_set: Path) -> None:
    bundle = finished / "concat_joint_01" / "bundle"
    config = json.loads((bundle / "config.json").read_text())
    assert config["training"]["processes"] == 1 and config["training"]["phases"][0]["exits"] == [0, 1]
    for file in ("config.json", "hyperparams.yaml", "README.md"):
        assert str(small_set.parent) not in (bundle / file).read_text()


def test_every_epoch_is_logged_with_the_loss_of_every_exit(finished: Path) -> None:
    (log,) = finished.rglob("log.csv")
    assert log.read_text().splitlines()[0] == "epoch,lr,train_loss,loss,exit_0,exit_1,ones"
    assert len(log.read_text().splitlines()) == 3
    assert list((log.parent / "tensorboard").glob("events.*"))


def test_every_epoch_of_every_phase_has_new_pairs(
    train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    indices_of = EpochSampler.__iter__

    def told(sampler: EpochSampler) -> Iterator[int]:
        indices = list(indices_of(sampler))
        if sampler.clips_per_epoch == SMALL["clips_per_epoch"]:  # not that of validation
            heard.extend(indices)
        return iter(indices)

    monkeypatch.setattr(EpochSampler, "__iter__", told)
    train_small(tmp_path, "concat_layerwise", max_epochs=1)
    assert len(heard) == (1 + 2) * 16  # of exit 0, then of exit 1
    assert len(set(heard)) == len(heard)


def test_a_finished_run_says_so_and_does_not_train(
    finished: Path, train_small: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(DynBrain, "train_phase", lambda *_: pytest.fail("trained again"))
    assert train_small(finished).name == "bundle"
    assert "this run is finished: its model is in" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("settings.json", b'{"lr":', "damaged .*; give another --output_folder, or delete"),
        ("settings.json", b"[1, 2]", "damaged .*; give another --output_folder, or delete"),
        ("whitening.safetensors", b"\0" * 20, "damaged .*; delete it, it is fitted again"),
        ("whitening.safetensors", save({"mean": torch.zeros(257)}), "damaged .*; delete it, it is fitted again"),
        (
            "whitening.safetensors",
            save({"mean": torch.zeros(257), "matrix": torch.full((257, 257), torch.nan)}),
            "damaged .not finite.; delete it, it is fitted again",
        ),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    finished: Path, train_small: Train, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    shutil.copytree(finished, tmp_path / "results")
    folder = tmp_path / "results" / "concat_joint_01"
    for path in (folder / "bundle").iterdir():  # an empty folder is no model
        path.unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: {message}") as error:
        train_small(tmp_path / "results")
    assert "\n" not in str(error.value)
    assert not any((folder / "bundle").iterdir())


def test_another_recipe_into_the_same_folder_is_refused_with_what_differs(finished: Path, train_small: Train) -> None:
    with pytest.raises(InputError, match=r"holds another run \(batch_size 4 -> 8; lr 0.001 -> 0.01\)"):
        train_small(finished, lr=0.01, batch_size=8)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("MultiExitLoss\n", "MultiExitLoss {compression: 0.5}\n", "loss .*0.3.* -> .*0.5"),
        ("  exits: !ref <exits>\nbaseline", "  exits: !ref <exits>\n  feature_size: 64\nbaseline", "architecture"),
        ("lr: !ref <lr>", "lr: !ref <lr>\n  weight_decay: 0.1", "optimizer .*0.0001.* -> .*0.1"),
    ],
    ids=["loss", "network", "optimizer"],
)
def test_what_is_built_otherwise_is_another_run(
    finished: Path, small_set: Path, tmp_path: Path, before: str, after: str, message: str
) -> None:
    shutil.copytree(HPARAMS, tmp_path / "hparams")
    yaml = tmp_path / "hparams" / "concat_joint.yaml"
    text = yaml.read_text()
    if before.endswith("baseline"):
        before, after = (part.replace("\nbaseline", "\n\n# Data") for part in (before, after))
    assert before in text
    yaml.write_text(text.replace(before, after))
    values = SMALL | {"data_folder": str(small_set), "results_folder": str(finished)}
    overrides = "\n".join(f"{key}: {json.dumps(value)}" for key, value in values.items())
    with pytest.raises(InputError, match=f"holds another run .*{message}"):
        train(load_recipe(yaml, overrides), {"device": "cpu", "noprogressbar": True}, yaml, overrides)


def test_other_data_and_other_options_are_another_run(
    finished: Path, small_set: Path, train_small: Train, tmp_path: Path
) -> None:
    moved = shutil.copytree(small_set, tmp_path / "moved")
    assert train_small(finished, data_folder=str(moved)).is_dir()  # the same data elsewhere is the same
    next((moved / "clean").iterdir()).unlink()
    with pytest.raises(InputError, match=r"holds another run \(data "):
        train_small(finished, data_folder=str(moved))
    with pytest.raises(InputError, match=r"holds another run \(options .*'precision': 'bf16'"):
        train_small(finished, run_opts={"precision": "bf16"})


@pytest.mark.parametrize("options", [{"device": "nonsense"}, {"device": "meta"}, {"precision": "fp16"}])
def test_a_device_that_is_not_there_is_one_line_and_leaves_no_run(
    train_small: Train, tmp_path: Path, options: dict[str, str]
) -> None:
    with pytest.raises(InputError, match="device|fp16"):
        train_small(tmp_path, run_opts=options)
    assert not (tmp_path / "concat_joint_01").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_in_half_precision(train_small: Train, tmp_path: Path) -> None:
    assert train_small(tmp_path, run_opts={"device": "cuda", "precision": "bf16"}).is_dir()


def test_what_does_not_matter_to_the_result_may_change(finished: Path, train_small: Train) -> None:
    assert train_small(finished, num_workers=1, trial_epochs=7).is_dir()


def test_a_folder_that_cannot_be_made_is_one_line(train_small: Train, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: not writable .*--output_folder"):
        train_small(tmp_path, output_folder=str(tmp_path / "file"))


@pytest.mark.parametrize("name", ["pretrain_joint", "pretrain_layerwise"])
def test_pretrain_starts_from_the_baseline(
    name: str, baseline: Path, train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = -10.0 + 5.0 * torch.randn(2, 20, 257, generator=torch.Generator().manual_seed(0))
    masks = []

    class Enough(Exception):
        pass

    def before_any_step(self: DynBrain, *_: object) -> None:
        with torch.no_grad():
            masks.append(self.network(self.whitening(features), exit=5)[0])
        raise Enough

    monkeypatch.setattr(DynBrain, "train_phase", before_any_step)
    with pytest.raises(Enough):
        train_small(tmp_path, name, exits=[0, 1, 3, 5], baseline=str(baseline))
    with torch.no_grad():
        expected, _ = load_bundle(baseline)(features)
    torch.testing.assert_close(masks[0], expected, atol=1e-5, rtol=0)


def test_a_run_keeps_its_whitening_and_null_is_none(
    train_small: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train_small(tmp_path, max_epochs=1).parent
    kept = (folder / "whitening.safetensors").read_bytes()
    shutil.rmtree(folder / "bundle")  # as if it had been stopped before its end

    def fit(*_: object) -> None:
        raise AssertionError("fitted anew")

    monkeypatch.setattr(Whitening, "fit", fit)
    train_small(tmp_path, max_epochs=1)
    assert (folder / "whitening.safetensors").read_bytes() == kept
    assert not (train_small(tmp_path / "plain", max_epochs=1, whitening=None).parent / "whitening.safetensors").exists()


def test_pretrain_that_is_cut_short_starts_from_what_there_is_of_the_baseline(
    baseline: Path, train_small: Train, tmp_path: Path
) -> None:
    assert load_bundle(train_small(tmp_path, "pretrain_joint", baseline=str(baseline), max_epochs=1)).exits == (0, 1)


def test_pretrain_without_a_baseline_says_so(
    train_small: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train_small(tmp_path, "pretrain_joint", max_epochs=1)
    assert "no --baseline: the pretrain family starts from random weights" in caplog.text


def other_family(folder: Path) -> DynamicNsNet2:
    return make_network("concat", [0, 1])


def other_activation(folder: Path) -> DynamicNsNet2:
    return make_network("baseline", [5], fc1_activation="none")


def other_size(folder: Path) -> DynamicNsNet2:
    return make_network("baseline", [5], hidden_size=300)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (other_family, "holds a concat model; give a bundle of the baseline family"),
        (other_activation, "has fc1_activation none, this network relu"),
        (other_size, "does not fit this pretrain network: of another shape: stages.0"),
        (None, "no such folder"),
    ],
)
def test_a_baseline_that_does_not_serve_is_one_line_and_leaves_no_run(
    make: Callable[[Path], DynamicNsNet2] | None, message: str, train_small: Train, tmp_path: Path
) -> None:
    if make:
        save_bundle(make(tmp_path), tmp_path / "model")
    with pytest.raises(InputError, match=message) as error:
        train_small(tmp_path / "results", "pretrain_joint", baseline=str(tmp_path / "model"))
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "results").glob("pretrain*"))


def test_a_baseline_is_for_pretrain_only(train_small: Train, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--baseline is for the pretrain family, not for concat"):
        train_small(tmp_path, "concat_joint", baseline="anything")


def test_a_small_trial_run_is_capped_and_named(
    train_small: Train, small_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make = "speechbrain_dynsnet.training.run.make_trial_set"
    with pytest.MonkeyPatch.context() as context:
        context.setattr(make, lambda folder: folder.symlink_to(small_set))
        bundle = train_small(tmp_path, data_folder=None, trial_epochs=1, max_epochs=9)
    assert bundle.parent.name == "trial_concat_joint_01"
    assert "no --data_folder: a trial run on the generated set" in caplog.text
    assert len((bundle.parent / "phase_0_exits_0_1" / "log.csv").read_text().splitlines()) == 2


def test_a_debug_run_leaves_no_model_that_looks_finished(
    train_small: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = train_small(tmp_path, run_opts={"debug": True})
    assert not bundle.exists()
    assert "this was a debug run of a few batches: no model is kept" in caplog.text
    assert train_small(tmp_path).is_dir()


def test_speechbrains_options_that_need_care(train_small: Train, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing was trained: leave --test_only out"):
        train_small(tmp_path, run_opts={"test_only": True})
    bundle = train_small(tmp_path, run_opts={"optimizer_step_limit": "2"})  # as the command line gives it
    assert len((bundle.parent / "phase_0_exits_0_1" / "log.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_training_goes_on_without_a_file_that_breaks_and_says_so_once(
    train_small: Train,
    small_set: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    data = shutil.copytree(small_set, tmp_path / "data")
    broken = sorted((data / "noise").rglob("*.wav"))[0]

    def after_all_is_opened(*args: object) -> None:
        broken.unlink()
        open_run_folder(*args)

    monkeypatch.setattr(run, "open_run_folder", after_all_is_opened)
    bundle = train_small(tmp_path, data_folder=str(data), num_workers=workers, max_epochs=3, valid_clips=16)
    assert bundle.is_dir()
    told = [record.getMessage() for record in caplog.records if "in place of" in record.getMessage()]
    assert len(told) == 1
    assert "others were used in place of 1 audio files" in told[0] and broken.name in told[0]
