"""A bundle's way to the Hugging Face Hub: what would go, and its going, all of it in one commit or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import ModelInfo

from speechbrain_dynsnet.errors import InputError, one_line
from speechbrain_dynsnet.hub.card import read_card
from speechbrain_dynsnet.hub.repo_ids import check_repo_id
from speechbrain_dynsnet.model.bundle import BUNDLE_FILES, CONFIG, HYPERPARAMS, WEIGHTS, hyperparams_of, load_bundle

_MODEL_FILES = {CONFIG, HYPERPARAMS, WEIGHTS}
# The root of the HTTP library's errors; which library that is changes with huggingface_hub.
_TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]
_AGAIN = "nothing half is in it; give the same command again"


@dataclass(frozen=True)
class UploadFile:
    """A file as it would go: its name on the Hub, where it is, its bytes, and their SHA-256."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Upload:
    """What would go: the files of a bundle and no other, its card, and the names of what stays."""

    files: tuple[UploadFile, ...]
    card: ModelCard
    staying: tuple[str, ...]


@dataclass(frozen=True)
class Pushed:
    """Where a model is now.

    Arguments
    ---------
    url : str
        Its page.
    commit : str
        The revision that holds just these files.
    changed : bool
        False when all of it was there already.
    """

    url: str
    commit: str
    changed: bool


def plan_upload(bundle: Path) -> Upload:
    """What a push of a bundle would send; needs no connection.

    Raises
    ------
    InputError
        When the folder is no bundle, its parts do not fit together, it has no card of its own, or its
        `hyperparams.yaml`, which runs code where it is loaded, is not as `save_bundle` writes it.
    """
    network = load_bundle(bundle)
    if (bundle / HYPERPARAMS).read_text(encoding="utf-8", errors="replace") != hyperparams_of(network.architecture):
        raise InputError(
            f"{bundle / HYPERPARAMS}: is not as this package writes it, and runs code where it is loaded; save the "
            "model anew (`save_bundle(load_bundle(OLD), NEW)` in Python)"
        )
    card = read_card(bundle)
    files = []
    for name in BUNDLE_FILES:
        content = (bundle / name).read_bytes()
        files.append(UploadFile(name, bundle / name, len(content), sha256(content).hexdigest()))
    return Upload(
        tuple(files), card, tuple(sorted(path.name for path in bundle.iterdir() if path.name not in BUNDLE_FILES))
    )


def push(
    upload: Upload, repo_id: str, private: bool = False, report: Callable[[str], None] = lambda step: None
) -> Pushed:
    """Send a bundle in one commit; the repository is created when there is none.

    Arguments
    ---------
    upload : Upload
        See `plan_upload`.
    repo_id : str
        `user/name`.
    private : bool
        For a repository that is created. As with `huggingface_hub`'s own command, one is public otherwise, unless the
        organisation decided that its are private. Nothing is changed of one that exists.
    report : callable
        Told of each step as it begins.

    Returns
    -------
    Pushed
        Where the model is now.

    Raises
    ------
    InputError
        When the name is none, there is no token, the Hub does not accept it or denies the right to write, the
        repository holds another kind of model, or the connection fails.
    """
    check_repo_id(repo_id)
    token = get_token()
    if token is None:
        raise InputError(f"{repo_id}: no token to write with; log in with `hf auth login`, or set HF_TOKEN")
    api = HfApi(token=token)
    try:
        before = _find(api, repo_id)
        if before is None:
            api.create_repo(repo_id, private=private or None, exist_ok=True)
            before = api.model_info(repo_id)
            report(f"created {repo_id}, which is {'private' if before.private else 'public'}")
        else:
            _check_kind(repo_id, before)
            report(f"{repo_id} exists, and is {'private' if before.private else 'public'}: adding a commit")
        commit = api.create_commit(
            repo_id,
            [CommitOperationAdd(file.name, file.path) for file in upload.files],
            commit_message="Upload a Dynamic nsNet2 model",
        )
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, _TRANSPORT_ERROR) as error:
        raise InputError(_problem(repo_id, error)) from error
    except KeyboardInterrupt as error:
        raise InputError(f"{repo_id}: the push was stopped; {_AGAIN}") from error
    return Pushed(f"{api.endpoint}/{repo_id}", commit.oid, commit.oid != before.sha)


def _find(api: HfApi, repo_id: str) -> ModelInfo | None:
    try:
        return api.model_info(repo_id)
    except RepositoryNotFoundError:
        return None


def _check_kind(repo_id: str, found: ModelInfo) -> None:
    """A slip in the name must not put this model over one of another kind."""
    present = _MODEL_FILES & {file.rfilename for file in found.siblings or ()}
    if present and present != _MODEL_FILES:
        raise InputError(
            f"{repo_id}: holds another kind of model ({', '.join(sorted(present))} without "
            f"{', '.join(sorted(_MODEL_FILES - present))}); give the name of another repository, or of a new one"
        )


def _problem(repo_id: str, error: Exception) -> str:
    # huggingface_hub wraps what goes wrong with a file's transfer.
    cause = error.__cause__ if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception) else error
    response = getattr(cause, "response", None)
    status = getattr(response, "status_code", None)
    if status == 401:
        return f"{repo_id}: the Hugging Face Hub does not accept the token; log in again with `hf auth login`"
    if status == 403:
        return (
            f"{repo_id}: the token has no right to write there; give a token with the role `write`, "
            "or a repository of your own"
        )
    reason = one_line(cause)[:200] or type(cause).__name__
    return f"{repo_id}: not pushed to the Hugging Face Hub ({reason}); {_AGAIN}"
