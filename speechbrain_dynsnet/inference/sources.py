"""Where a model comes from: this package, a local folder, or the Hugging Face Hub."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import uuid
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from speechbrain.utils.logger import get_logger

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.bundle import BUNDLE_FILES, CARD, SHIPPED_BUNDLE, SHIPPED_MODELS, check_bundle

logger = get_logger(__name__)
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_HUB_TIMEOUT_S = 10.0
_UNAUTHORIZED = 401
_SHORT = 12  # digits of a commit
# The root of the HTTP library's errors; which library that is changes with huggingface_hub.
_TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]


def resolve_source(source: str | Path | None, revision: str | None = None) -> Path:
    """The local folder of a model, downloaded first when it is on the Hub.

    Arguments
    ---------
    source : str, Path or None
        A folder, or a Hub id of the form `user/repo`, or the name of a model in this package, such as
        `concat_joint_4`, where no folder is called so. None for the package's default.
    revision : str or None
        Branch, tag or commit of a Hub id; of nothing else.

    Returns
    -------
    Path
        A folder that holds a bundle.

    Raises
    ------
    InputError
        When there is no such folder, it holds no bundle, or the Hub does not give it; or for a revision of a folder.
    """
    if source is not None and is_hub_id(source):
        folder = _download(str(source), revision)
    elif revision is not None:
        what = "the model of this package" if source is None else source
        raise InputError(f"{what}: is not taken from the Hub, so revision {revision!r} means nothing; leave it out")
    elif source is None:
        folder = SHIPPED_BUNDLE
    else:
        names = shipped_names()
        folder = Path(source).expanduser()
        if not folder.exists() and str(source) in names:
            folder = SHIPPED_MODELS / str(source)
        if not folder.is_dir():
            problem = "is a file, not a folder" if folder.is_file() else "no such folder"
            raise InputError(
                f"{source}: {problem}; a model is a folder with {', '.join(BUNDLE_FILES)}, a Hub id user/repo, or "
                f"{' or '.join(names)}, which this package has"
            )
    check_bundle(folder)
    return folder


def shipped_names() -> list[str]:
    """The models in this package."""
    return sorted(folder.name for folder in SHIPPED_MODELS.iterdir() if folder.is_dir())


def find_model(source: str | None) -> Path:
    """A file of public nsNet2 weights (.npz) or of an exported model (.onnx) as it is; else see `resolve_source`."""
    if source is not None and source.endswith((".npz", ".onnx")):
        return Path(source)
    return resolve_source(source)


def is_hub_id(source: str | Path) -> bool:
    """Whether a source means the Hub: exactly `user/repo`, and nothing like it on this disk."""
    if isinstance(source, Path) or not _HUB_ID.fullmatch(source):
        return False
    return not Path(source).exists() and not Path(source).parent.is_dir()


def copy_bundle(folder: Path, savedir: str | Path) -> Path:
    """Copy a bundle into the folder that the user wants it in, unless it is there already; a new card replaces the old.

    Arguments
    ---------
    folder : Path
        A bundle.
    savedir : str or Path
        Created when missing.

    Returns
    -------
    Path
        `savedir`, which now holds this bundle.

    Raises
    ------
    InputError
        When `savedir` holds another model, or cannot be written.
    """
    savedir = Path(savedir).expanduser()
    names = [name for name in BUNDLE_FILES if (folder / name).is_file()]
    for name in names:
        # SpeechBrain would quietly use what is there; overwriting could destroy the only copy.
        if name != CARD and (savedir / name).exists() and not _is_same(folder / name, savedir / name):
            raise InputError(
                f"{savedir}: already holds another model ({name} differs); delete it or choose another savedir"
            )
    try:
        savedir.mkdir(parents=True, exist_ok=True)
        for name in names:
            _copy_whole(folder / name, savedir / name)
    except OSError as error:
        raise InputError(f"{savedir}: cannot be written ({error.strerror}); choose another savedir") from error
    return savedir


def _is_same(one: Path, other: Path) -> bool:
    return filecmp.cmp(one, other, shallow=False)


def _copy_whole(source: Path, target: Path) -> None:
    if target.exists() and _is_same(source, target):
        return
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _download(repo_id: str, revision: str | None) -> Path:
    try:
        problem = _connection_problem(repo_id, revision)
        folder = Path(
            snapshot_download(
                repo_id,
                revision=revision,
                allow_patterns=list(BUNDLE_FILES),
                local_files_only=problem is not None,
            )
        )
        if problem is not None:
            logger.warning("%s: taken from the cache (commit %s), for %s", repo_id, folder.name[:_SHORT], problem)
        return folder
    except RevisionNotFoundError as error:
        raise InputError(f"{repo_id}: has no revision {revision} on the Hugging Face Hub") from error
    except GatedRepoError as error:
        raise InputError(
            f"{repo_id}: access must be granted first; ask on its Hugging Face page, then log in"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{repo_id}: neither a local folder nor a model on the Hugging Face Hub that you may read; check the name"
        ) from error
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{repo_id}: no such local folder, no whole copy in the cache, and {problem or _describe(error)}"
        ) from error
    except (OSError, ValueError, _TRANSPORT_ERROR) as error:
        raise InputError(
            f"{repo_id}: cannot be fetched from the Hugging Face Hub ({_reason(error)}); "
            "try again, or give a local folder"
        ) from error


def _connection_problem(repo_id: str, revision: str | None) -> str | None:
    # One request decides, because huggingface_hub repeats some of its own for half a minute.
    try:
        HfApi().model_info(repo_id, revision=revision, timeout=_HUB_TIMEOUT_S)
    except (RevisionNotFoundError, RepositoryNotFoundError):
        raise
    except (OSError, _TRANSPORT_ERROR) as error:
        return _describe(error)
    return None


def _describe(error: Exception) -> str:
    """What keeps the Hub from giving something, and what to do."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == _UNAUTHORIZED:
        return "the Hugging Face Hub does not accept the token; log in again with `hf auth login`, or unset HF_TOKEN"
    if status is not None:
        return f"the Hugging Face Hub answers {status}; try again later"
    return f"the Hugging Face Hub cannot be reached ({_reason(error)}); check the name and the connection"


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
