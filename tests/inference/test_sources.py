"""Where a model may come from: mistakes are named at once, and nothing stale is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from speechbrain.inference.interfaces import Pretrained

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.inference import EnhanceDynamic, sources
from speechbrain_dynsnet.inference.sources import is_hub_id, resolve_source, shipped_names
from speechbrain_dynsnet.model.bundle import BUNDLE_FILES, SHIPPED_BUNDLE, save_bundle
from speechbrain_dynsnet.model.network import make_network

CPU = {"device": "cpu"}


@pytest.fixture
def bundle(known_bundle: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(known_bundle, tmp_path / "bundle"))


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("asked the Hub")

    monkeypatch.setattr(sources, "_download", fail)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    "source",
    ["none", "./none", "../user/none", "/none/none", "~/none", "a/b/c", "here/none", "a b/c", ""],
)
def test_a_mistyped_folder_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no such folder|not a model folder"):
        EnhanceDynamic.from_hparams(source, run_opts=CPU)


def test_hub_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("user/some.model-4")
    assert not is_hub_id(Path("user/some.model-4"))
    Path("user").mkdir()
    assert not is_hub_id("user/some.model-4")


@pytest.mark.usefixtures("no_hub")
def test_a_folder_of_the_form_of_a_hub_id_is_a_folder(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundle, "models/mine")
    assert EnhanceDynamic.from_hparams("models/mine", run_opts=CPU).exits == (0, 1, 3, 5)


@pytest.mark.usefixtures("no_hub")
def test_the_packages_models_have_names_and_a_folder_goes_before_them(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = shipped_names()
    assert SHIPPED_BUNDLE.name in names
    assert [resolve_source(name) for name in names] == [SHIPPED_BUNDLE.parent / name for name in names]
    with pytest.raises(InputError, match=f"no such folder; a model is .*{SHIPPED_BUNDLE.name}"):
        resolve_source("concat")
    bundle.rename(SHIPPED_BUNDLE.name)
    assert resolve_source(SHIPPED_BUNDLE.name) == Path(SHIPPED_BUNDLE.name)


@pytest.mark.parametrize("name", ["config.json", "hyperparams.yaml", "model.safetensors"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(InputError, match=name):
        EnhanceDynamic.from_hparams(bundle, run_opts=CPU)


def test_a_file_is_no_model(bundle: Path) -> None:
    with pytest.raises(InputError, match="is a file, not a folder"):
        EnhanceDynamic.from_hparams(bundle / "config.json", run_opts=CPU)


def test_truncated_weights_are_named(bundle: Path) -> None:
    weights = bundle / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(InputError, match="damaged"):
        EnhanceDynamic.from_hparams(bundle, run_opts=CPU)


@pytest.mark.parametrize("name", ["config.json", "hyperparams.yaml", "model.safetensors"])
@pytest.mark.parametrize(("family", "exits"), [("split", (0, 1, 3, 5)), ("concat", (0, 1, 5))])
def test_a_file_of_another_model_is_named(
    bundle: Path, tmp_path: Path, name: str, family: str, exits: tuple[int, ...]
) -> None:
    other = save_bundle(make_network(family, exits), tmp_path / "other")
    shutil.copy(other / name, bundle / name)
    with pytest.raises(InputError, match=r"(config\.json|model\.safetensors): .*; the files .* fetch all"):
        EnhanceDynamic.from_hparams(bundle, run_opts=CPU)


@pytest.mark.parametrize("savedir", [None, "saved"])
def test_speechbrains_own_loader_reads_a_bundle(bundle: Path, tmp_path: Path, savedir: str | None) -> None:
    ours = EnhanceDynamic.from_hparams(bundle, run_opts=CPU).mods["model"].state_dict()
    theirs = Pretrained.from_hparams(source=str(bundle), savedir=savedir and tmp_path / savedir, run_opts=CPU)
    for name, value in theirs.mods["model"].state_dict().items():
        assert torch.equal(value, ours[name])


def test_savedir_gets_a_copy_that_loads(bundle: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second time it is there already
        enhancer = EnhanceDynamic.from_hparams(bundle, tmp_path / "new/saved", run_opts=CPU)
        assert enhancer.exits == (0, 1, 3, 5)
    saved = tmp_path / "new/saved"
    assert {path.name for path in saved.iterdir()} == set(BUNDLE_FILES)
    assert EnhanceDynamic.from_hparams(saved, saved, run_opts=CPU).exits == (0, 1, 3, 5)


def test_savedir_with_another_model_is_refused_and_stays(bundle: Path, tmp_path: Path) -> None:
    other = save_bundle(make_network("concat", (0, 5)), tmp_path / "other")
    before = {path.name: path.read_bytes() for path in other.iterdir()}
    with pytest.raises(InputError, match="holds another model"):
        EnhanceDynamic.from_hparams(bundle, savedir=other, run_opts=CPU)
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before


def test_savedir_gets_a_new_card_of_the_same_model(bundle: Path, tmp_path: Path) -> None:
    EnhanceDynamic.from_hparams(bundle, savedir=tmp_path / "saved", run_opts=CPU)
    (bundle / "README.md").write_text("corrected")
    EnhanceDynamic.from_hparams(bundle, savedir=tmp_path / "saved", run_opts=CPU)
    assert (tmp_path / "saved/README.md").read_text() == "corrected"


@pytest.mark.parametrize("source", [None, "baseline", "folder"])
def test_a_revision_of_what_is_not_on_the_hub_is_refused(bundle: Path, source: str | None) -> None:
    with pytest.raises(InputError, match="is not taken from the Hub, so revision 'v1' means nothing"):
        EnhanceDynamic.from_hparams(bundle if source == "folder" else source, revision="v1", run_opts=CPU)


def test_a_savedir_that_cannot_be_made_is_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        EnhanceDynamic.from_hparams(bundle, savedir=tmp_path / "file/saved", run_opts=CPU)


def test_fetch_config_is_not_swallowed(bundle: Path) -> None:
    with pytest.raises(TypeError, match="revision"):
        EnhanceDynamic.from_hparams(bundle, fetch_config=None)


class TestOffline:
    """With no connection, as huggingface_hub's own offline switch makes it."""

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache"

    @pytest.mark.parametrize("revision", [None, "v1", "a" * 40])
    def test_a_hub_model_that_cannot_be_had_is_one_line(self, revision: str | None) -> None:
        with pytest.raises(InputError, match="user/none: no such local folder") as caught:
            resolve_source("user/none", revision)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("revision", [None, "a" * 40])
    def test_the_cached_copy_serves(self, bundle: Path, cache: Path, revision: str | None) -> None:
        repo = cache / "models--user--mine"
        snapshot = Path(shutil.copytree(bundle, repo / "snapshots" / ("a" * 40)))
        (repo / "refs").mkdir()
        (repo / "refs/main").write_text("a" * 40)
        assert resolve_source("user/mine", revision) == snapshot


def _answer(error: Exception) -> Any:
    def model_info(*_: Any, **__: Any) -> None:
        raise error

    return model_info


def _hub_error(kind: str) -> Exception:
    # Built without a response: which HTTP library makes those depends on huggingface_hub's version.
    error_class: type[Exception] = getattr(huggingface_hub.errors, kind)
    error = error_class.__new__(error_class)
    Exception.__init__(error, "a long answer\nof several lines")
    return error


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("RepositoryNotFoundError", "neither a local folder nor a model on the Hugging Face Hub"),
        ("GatedRepoError", "access must be granted"),
        ("RevisionNotFoundError", "has no revision v9"),
    ],
)
def test_what_the_hub_answers_becomes_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", _answer(_hub_error(kind)))
    with pytest.raises(InputError, match=message) as caught:
        resolve_source("user/mine", "v9")
    assert "\n" not in str(caught.value)


def test_a_failed_connection_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", _answer(sources._TRANSPORT_ERROR("no route")))
    asked: list[bool] = []

    def snapshot(*_: Any, local_files_only: bool, **__: Any) -> None:
        asked.append(local_files_only)
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(sources, "snapshot_download", snapshot)
    with pytest.raises(InputError, match=r"cannot be reached \(no route\)"):
        resolve_source("user/mine")
    assert asked == [True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("modules:", "modul:"),
        ("make_network", "make_nothing"),
        ("pretrainer: !new:", "pretrainer: !no:"),
        ("model: !apply", "model: [!apply"),
        ("  model: !ref <model>\npretrainer", "  other: !ref <model>\npretrainer"),
        ("family", "famous"),
    ],
)
def test_a_damaged_description_is_named(bundle: Path, old: str, new: str) -> None:
    path = bundle / "hyperparams.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match="hyperparams.yaml: cannot be loaded") as error:
        EnhanceDynamic.from_hparams(bundle, run_opts=CPU)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("end", "lacking"),
    [("# ", "modules and pretrainer"), ("modules:", "modules and pretrainer"), ("pretrainer:", "pretrainer")],
)
def test_a_description_that_was_cut_short_says_what_it_lacks(bundle: Path, end: str, lacking: str) -> None:
    path = bundle / "hyperparams.yaml"
    path.write_text(path.read_text().partition(end)[0])
    with pytest.raises(InputError, match=rf"hyperparams.yaml: cannot be loaded \(it lacks {lacking}\)"):
        EnhanceDynamic.from_hparams(bundle, run_opts=CPU)
