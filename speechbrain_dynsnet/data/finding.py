"""Find the audio files below a folder, behind symbolic links too, each of them once."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import soundfile

logger = logging.getLogger(__name__)
_SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {".opus", ".oga", ".aif"}


def find_audio(folder: Path) -> list[Path]:
    """The audio files at any depth below a folder, by their extensions.

    Links to folders and files are followed. A file that several names lead to is listed once: under its own name where
    that lies below the folder, else under the first link to it. So a link to a folder above ends nowhere.

    Arguments
    ---------
    folder : Path
        Where to look; need not exist.

    Returns
    -------
    list of Path
        In the order of their names. A link with an audio file's name that leads nowhere is listed as well, for the
        reader to name it. Other such links, and files whose names are not UTF-8 (no manifest could list them), are
        left out and named in one warning each.

    Raises
    ------
    OSError
        When a folder may not be read.
    """
    found: dict[str, str] = {}  # by the real path, which a link's target is compared with
    entered: set[str] = set()
    dead: list[str] = []
    links = [os.fspath(folder)] if folder.is_dir() else []
    for link in links:  # grows as links are found: all of one round come before those behind them
        real = os.path.realpath(link)
        if os.path.isdir(link):
            links += sorted(_enter(link, real, found, entered))
        elif _is_audio(link) and (os.path.isfile(link) or not os.path.exists(link)):
            found.setdefault(real, link)
        elif not os.path.exists(link):
            dead.append(link)
    _warn("symbolic links lead nowhere", dead, "mount what they point to, or delete them")
    odd = [path for path in found.values() if not _is_utf8(path)]
    _warn("audio files left out, for their names are not UTF-8", odd, "rename them, such as with convmv")
    return sorted(Path(path) for path in set(found.values()).difference(odd))


def _enter(folder: str, real: str, found: dict[str, str], entered: set[str]) -> list[str]:
    """Add the files below a folder that no link leads to; gives the links."""
    links = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        here = real + parent[len(folder) :]
        if here in entered:
            folders.clear()
            continue
        entered.add(here)
        for name in (*folders, *names):
            path = os.path.join(parent, name)
            if os.path.islink(path):
                links.append(path)
            elif _is_audio(name) and os.path.isfile(path):
                found.setdefault(f"{here}{os.sep}{name}", path)
    return links


def _is_audio(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in _SUFFIXES


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _raise(error: OSError) -> NoReturn:
    raise error  # os.walk would go on without the folder


def _warn(what: str, paths: Sequence[str], advice: str) -> None:
    if paths:
        first = min(paths).encode(errors="backslashreplace").decode()
        logger.warning("%d %s, the first is %s; %s", len(paths), what, first, advice)
