"""A model's way to the Hub and back, against a stand-in for it: all of it arrives or none, and errors are one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from click.testing import CliRunner, Result
from huggingface_hub import HfApi

from speechbrain_dynsnet.cli import main
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.hub.card import Given, make_card
from speechbrain_dynsnet.inference import EnhanceDynamic
from speechbrain_dynsnet.inference.sources import resolve_source
from speechbrain_dynsnet.model.bundle import BUNDLE_FILES, load_bundle, save_bundle
from speechbrain_dynsnet.model.network import make_network
from tests.hub.stand_in import READER, Hub, Repo

CPU = {"device": "cpu"}
NAME = "user/model"


@pytest.fixture
def bundle(known_bundle: Path, results: Path, tmp_path: Path) -> Path:
    """A model with a card."""
    folder = save_bundle(load_bundle(known_bundle), tmp_path / "bundle")
    (folder / "README.md").write_text(str(make_card(folder, results)))
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["push", *map(str, words)])


def refused(result: Result, *told: str) -> None:
    assert result.exit_code == 2, result.output
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("Error: ") and all(part in message for part in told), message
    assert "Traceback" not in result.output


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in BUNDLE_FILES}


class TestPush:
    @pytest.mark.parametrize("private", [False, True])
    def test_what_goes_up_comes_down(self, hub: Hub, bundle: Path, private: bool) -> None:
        (bundle / "notes.txt").write_text("not for others")
        result = run(bundle, NAME, *["--private"] * private)
        assert result.exit_code == 0, result.output
        assert hub.repos[NAME].commits == [{}, contents(bundle)] and hub.repos[NAME].private is private
        assert f"created {NAME}, which is {'private' if private else 'public'}" in result.stderr
        revision = hub.repos[NAME].sha()
        assert f'EnhanceDynamic.from_hparams("{NAME}", revision="{revision}")' in result.stdout
        for asked in (None, "main", revision):
            enhancer = EnhanceDynamic.from_hparams(NAME, revision=asked, run_opts=CPU)
            assert enhancer.exits == (0, 1, 3, 5)
        assert contents(resolve_source(NAME)) == contents(bundle)

    def test_a_commit_goes_on_top_and_the_old_one_stays_loadable(self, hub: Hub, bundle: Path) -> None:
        hub.repos[NAME] = Repo(commits=[{"picture.png": b"theirs"}])
        assert run(bundle, NAME).exit_code == 0
        first, before = hub.repos[NAME].sha(), contents(bundle)
        card = bundle / "README.md"
        card.write_text(card.read_text() + "\nMore.\n")
        result = run(bundle, NAME)
        assert result.exit_code == 0 and f"{NAME} exists, and is public: adding a commit" in result.stderr
        assert len(hub.repos[NAME].commits) == 3 and hub.repos[NAME].commits[-1]["picture.png"] == b"theirs"
        assert contents(resolve_source(NAME, first)) == before != contents(resolve_source(NAME))

    def test_the_same_again_makes_no_commit(self, hub: Hub, bundle: Path) -> None:
        assert "pushed: " in run(bundle, NAME).stdout
        result = run(bundle, NAME)
        assert result.exit_code == 0 and "nothing has changed" in result.stdout
        assert len(hub.repos[NAME].commits) == 2

    def test_a_dry_run_lists_all_and_asks_nobody(
        self, disconnect: Callable[[], None], hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disconnect()
        monkeypatch.delenv("HF_TOKEN")
        (bundle / "notes.txt").write_text("not for others")
        result = run(bundle, NAME, "--dry_run")
        assert result.exit_code == 0, result.output
        listed = {
            line.split(" | ")[0][2:]: line.split(" | ")[1:] for line in result.stdout.splitlines() if " | " in line
        }
        sizes = {name: int(listed[name][0].replace(",", "")) for name in BUNDLE_FILES}
        assert sizes == {name: len(content) for name, content in contents(bundle).items()}
        assert len(listed) == 1 + len(BUNDLE_FILES)
        assert "stays here, as no part of the model: notes.txt" in result.stdout
        assert "license: not given" in result.stdout and "PESQ-WB, exit 3: 2.03" in result.stdout
        assert not hub.asked and not hub.repos

    @pytest.mark.parametrize(("named", "noted"), [(None, "loads THIS_MODEL"), ("user/other", "user/other"), (NAME, "")])
    def test_a_card_whose_example_loads_another_model_is_noted(
        self, hub: Hub, bundle: Path, results: Path, named: str | None, noted: str
    ) -> None:
        (bundle / "README.md").write_text(str(make_card(bundle, results, given=Given(repo_id=named))))
        told = run(bundle, NAME, "--dry_run").stderr
        assert noted in told and (f"--repo_id {NAME}" in told) is bool(noted)

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            *[(name, "give user/") for name in ("", "model", "a/b/c", "user/", "us er/model")],
            ("user/mo--del", "-- or .."),
            ("user/m.git", "'.git'"),
            ("https://hf.co/user/m", "no URL"),
        ],
    )
    def test_a_name_that_cannot_be_is_refused(self, hub: Hub, bundle: Path, name: str, told: str) -> None:
        refused(run(bundle, name), told)
        assert not hub.asked

    def test_no_token(self, hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HF_TOKEN")
        refused(run(bundle, NAME), "no token", "hf auth login")
        assert not hub.asked

    @pytest.mark.parametrize("exists", [False, True])
    @pytest.mark.parametrize(
        ("token", "told"), [(READER, "no right to write"), ("hf_wrong", "does not accept the token")]
    )
    def test_no_rights(
        self, hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch, token: str, told: str, exists: bool
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", token)
        if exists:
            hub.repos[NAME] = Repo()
        refused(run(bundle, NAME), NAME, told)
        assert (NAME in hub.repos) is exists and not hub.large
        assert not exists or len(hub.repos[NAME].commits) == 1

    @pytest.mark.parametrize("theirs", [{"config.json"}, {"hyperparams.yaml"}, {"config.json", "model.safetensors"}])
    def test_another_kind_of_model_is_not_covered(self, hub: Hub, bundle: Path, theirs: set[str]) -> None:
        hub.repos[NAME] = Repo(commits=[dict.fromkeys(theirs, b"{}")])
        refused(run(bundle, NAME), "another kind of model")
        assert len(hub.repos[NAME].commits) == 1

    def test_a_card_that_the_hub_refuses(self, hub: Hub, bundle: Path) -> None:
        card = bundle / "README.md"
        card.write_text(card.read_text().replace("library_name", "license: mine\nlibrary_name", 1))
        refused(run(bundle, NAME), '"license" must be one of')
        assert hub.repos[NAME].commits == [{}] and not hub.large

    def test_an_upload_that_breaks_goes_on_by_itself(self, hub: Hub, bundle: Path) -> None:
        hub.cut_uploads = 1
        assert run(bundle, NAME).exit_code == 0
        assert hub.repos[NAME].commits[-1] == contents(bundle)

    def test_an_upload_that_keeps_breaking_leaves_nothing_half(self, hub: Hub, bundle: Path) -> None:
        hub.cut_uploads = 1000
        refused(run(bundle, NAME), "not pushed", "nothing half", "same command again")
        assert hub.repos[NAME].commits == [{}]
        hub.cut_uploads = 0
        assert run(bundle, NAME).exit_code == 0
        assert hub.repos[NAME].commits[-1] == contents(bundle)

    def test_no_connection(self, disconnect: Callable[[], None], bundle: Path) -> None:
        disconnect()
        refused(run(bundle, NAME), "not pushed", "refused")

    def test_control_c(self, hub: Hub, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(HfApi, "preupload_lfs_files", stop)
        refused(run(bundle, NAME), "was stopped", "same command again")
        assert hub.repos[NAME].commits == [{}]

    @pytest.mark.parametrize("damage", ["none", "short", "no front matter", "broken front matter", "of other weights"])
    def test_a_card_must_be_made_first(self, hub: Hub, bundle: Path, tmp_path: Path, damage: str) -> None:
        card = bundle / "README.md"
        text = card.read_text()
        if damage == "none":
            card.unlink()
        elif damage == "short":
            card.write_bytes((save_bundle(load_bundle(bundle), tmp_path / "fresh") / "README.md").read_bytes())
        elif damage == "no front matter":
            card.write_text("# A model\n")
        elif damage == "broken front matter":
            card.write_text(text.replace("tags:", "tags: [", 1))
        else:
            folder = save_bundle(make_network("concat", (0, 1, 3, 5)), tmp_path / "other", card=text)
            refused(run(folder, NAME, "--dry_run"), "other weights", "--overwrite")
            return
        refused(run(bundle, NAME), "README.md", f"dynsnet card {bundle} --results")
        assert not hub.asked

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
    def test_a_damaged_model_stays(self, hub: Hub, bundle: Path, name: str) -> None:
        (bundle / name).write_bytes((bundle / name).read_bytes()[:-10])
        refused(run(bundle, NAME), name)
        assert not hub.asked

    @pytest.mark.parametrize("more", ["boom: !apply:os.getcwd\n", "# a word\n", ""])
    def test_a_description_that_runs_other_code_stays(self, hub: Hub, bundle: Path, more: str) -> None:
        path = bundle / "hyperparams.yaml"
        path.write_text(path.read_text() + more if more else "modules: !new:os.nothing\n")
        refused(run(bundle, NAME, "--dry_run"), "hyperparams.yaml", "is not as this package writes it")
        assert not hub.asked

    def test_no_such_model(self, hub: Hub) -> None:
        refused(run("nowhere", NAME), "nowhere: no such folder")
        refused(run("user/other", NAME), "user/other: no such folder")
        assert not hub.asked

    @pytest.mark.parametrize("name", ["concat_joint_4", "baseline"])
    def test_a_model_of_the_package_goes_with_a_word_on_its_card(self, hub: Hub, name: str) -> None:
        told = run(name, NAME, "--dry_run")
        assert told.exit_code == 0 and "| model.safetensors |" in told.stdout
        assert f"loads {name}: make the card of a copy anew" in told.stderr and f"--repo_id {NAME}" in told.stderr


class TestFetch:
    @pytest.fixture
    def published(self, hub: Hub, bundle: Path) -> Iterator[Path]:
        hub.repos[NAME] = Repo(commits=[contents(bundle)])
        yield bundle

    @pytest.mark.parametrize("token", [True, False])
    def test_a_wrong_id(self, hub: Hub, published: Path, monkeypatch: pytest.MonkeyPatch, token: bool) -> None:
        if not token:
            monkeypatch.delenv("HF_TOKEN")
        with pytest.raises(InputError, match="user/modle: neither a local folder nor a model") as caught:
            EnhanceDynamic.from_hparams("user/modle", run_opts=CPU)
        assert "\n" not in str(caught.value)

    def test_a_wrong_revision(self, hub: Hub, published: Path) -> None:
        with pytest.raises(InputError, match="has no revision v9"):
            EnhanceDynamic.from_hparams(NAME, revision="v9", run_opts=CPU)

    @pytest.mark.parametrize("by_name", [False, True])
    def test_no_connection_but_a_copy(
        self,
        hub: Hub,
        published: Path,
        disconnect: Callable[[], None],
        caplog: pytest.LogCaptureFixture,
        by_name: bool,
    ) -> None:
        revision = hub.repos[NAME].sha() if by_name else None
        EnhanceDynamic.from_hparams(NAME, revision=revision, run_opts=CPU)
        assert "cache" not in caplog.text
        disconnect()
        assert EnhanceDynamic.from_hparams(NAME, revision=revision, run_opts=CPU).exits == (0, 1, 3, 5)
        taken = (
            f"{NAME}: taken from the cache (commit {hub.repos[NAME].sha()[:12]}), for the Hugging Face Hub cannot be"
        )
        assert taken in caplog.text

    @pytest.mark.parametrize("has_copy", [True, False])
    @pytest.mark.parametrize(
        ("is_down", "told"),
        [
            (False, "does not accept the token; log in again with `hf auth login`"),
            (True, "answers 503; try again later"),
        ],
    )
    def test_what_the_hub_answers_is_not_taken_for_no_connection(
        self,
        hub: Hub,
        published: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        is_down: bool,
        told: str,
        has_copy: bool,
    ) -> None:
        if has_copy:
            EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
        if is_down:
            hub.is_down = True
        else:
            monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        if has_copy:
            EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
            assert "taken from the cache" in caplog.text and told in caplog.text
        else:
            with pytest.raises(InputError, match=rf"no whole copy in the cache, and the Hugging Face Hub {told}"):
                EnhanceDynamic.from_hparams(NAME, run_opts=CPU)

    def test_no_connection_and_no_copy(self, disconnect: Callable[[], None]) -> None:
        disconnect()
        with pytest.raises(InputError, match=r"no whole copy in the cache.*cannot be reached.*refused") as caught:
            EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("buffer", "ranges"), [(None, ["", "", ""]), (1000, ["", "bytes=1000000-", "bytes=3000000-"])]
    )
    def test_a_download_that_breaks_goes_on_by_itself(
        self, hub: Hub, published: Path, monkeypatch: pytest.MonkeyPatch, buffer: int | None, ranges: list[str]
    ) -> None:
        """Where it was, but for what `huggingface_hub` had not yet written: it may hold 10 MB back."""
        if buffer is not None:
            monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", buffer)
        hub.cuts["model.safetensors"] = [1_000_000, 2_000_000]
        EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
        assert hub.ranges("model.safetensors") == ranges
        assert contents(resolve_source(NAME)) == contents(published)

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
    def test_a_download_that_keeps_breaking_is_one_line_and_never_used(
        self, hub: Hub, published: Path, disconnect: Callable[[], None], tmp_path: Path, name: str
    ) -> None:
        hub.cuts[name] = [100, *[0] * 100]
        with pytest.raises(InputError, match=rf"{NAME}: cannot be fetched") as caught:
            EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
        assert "\n" not in str(caught.value)
        assert not [path for path in (tmp_path / "cache").rglob(name) if path.exists()]
        del hub.cuts[name]
        EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
        assert contents(resolve_source(NAME)) == contents(published)

    def test_half_a_copy_is_not_used_without_a_connection(
        self, hub: Hub, published: Path, disconnect: Callable[[], None]
    ) -> None:
        hub.cuts["model.safetensors"] = [1_000_000, *[0] * 100]
        with pytest.raises(InputError, match="cannot be fetched"):
            EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
        disconnect()
        with pytest.raises(InputError, match=rf"{NAME}: .*no whole copy in the cache.*cannot be reached") as caught:
            EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
        assert "\n" not in str(caught.value)

    def test_a_new_version_of_which_half_came_leaves_the_old_one_whole(
        self, hub: Hub, published: Path, tmp_path: Path
    ) -> None:
        """A mix of the old configuration and the new weights is what must not be."""
        EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
        first = hub.repos[NAME].sha()
        other = save_bundle(
            make_network("split", (0, 5)), tmp_path / "other", card=(published / "README.md").read_text()
        )
        hub.repos[NAME].commits.append(contents(other))
        hub.cuts["model.safetensors"] = [1_000_000, *[0] * 100]
        with pytest.raises(InputError, match="cannot be fetched"):
            EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
        assert contents(resolve_source(NAME, first)) == contents(published)
        hub.cuts.clear()
        assert EnhanceDynamic.from_hparams(NAME, run_opts=CPU).exits == (0, 5)

    def test_a_folder_on_the_hub_that_is_no_model(self, hub: Hub) -> None:
        hub.repos[NAME] = Repo(commits=[{"config.json": json.dumps({"architectures": ["Bert"]}).encode()}])
        with pytest.raises(InputError, match=r"not a model folder, hyperparams.yaml, model.safetensors missing"):
            EnhanceDynamic.from_hparams(NAME, run_opts=CPU)
