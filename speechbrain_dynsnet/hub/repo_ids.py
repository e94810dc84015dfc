"""Names on the Hugging Face Hub, checked by its own rules before anything is asked or written."""

from __future__ import annotations

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from speechbrain_dynsnet.errors import InputError, one_line


def check_repo_id(repo_id: str) -> str:
    """A repository's name, `user/name`; InputError for one that cannot be."""
    check_hub_name(repo_id, "repository")
    if "/" not in repo_id:
        raise InputError(f"{repo_id!r} names no user or organisation; give user/{repo_id}")
    return repo_id


def check_hub_name(name: str, kind: str) -> str:
    """The name of anything there, a user before it or not; InputError, which says `kind`, for one that cannot be."""
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        reason = one_line(error).partition(": '")[0]  # after that it says the name again
        raise InputError(f"{name!r} cannot be the name of a {kind}: give user/name, no URL ({reason})") from error
    return name
