"""Which files to enhance and what each becomes, decided before any work.

No result replaces an input or another result.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_dynsnet.audio.files import check_output
from speechbrain_dynsnet.audio.formats import AUDIO_EXTENSIONS, container_for
from speechbrain_dynsnet.errors import InputError


@dataclass(frozen=True)
class Task:
    """A file to enhance, and the file that it becomes: itself when it is done in place."""

    source: Path
    target: Path

    @property
    def in_place(self) -> bool:
        """Whether the result replaces the source."""
        return self.source == self.target


def plan(inputs: Sequence[str], output: str | None, recursive: bool = False) -> list[Task]:
    """What to do, sorted by target, so that everybody who plans the same has the same list.

    Arguments
    ---------
    inputs : sequence of str
        Files, and folders, which stand for the audio files in them (by extension; hidden ones are left out). A file
        that is meant twice, through a link too, is there once.
    output : str or None
        A file for one file; a folder for several, where the tree of an input folder is kept. What is in it already is
        no input. What is missing of it is made by whoever does the work. None is in place: links are followed, and
        stay.
    recursive : bool
        Look into the folders in folders, too; links to folders are followed, each folder is visited once.

    Returns
    -------
    list of Task

    Raises
    ------
    InputError
        When a folder holds nothing, the output cannot be written, or a result would replace an input or another result.
    """
    if "" in inputs or output == "":
        raise InputError("a file name is empty: is a variable unset? For the folder that you are in give .")
    if output is None:
        return _sorted(
            Task(real, real) for real in {Path(os.path.realpath(file)) for file, _ in _find(inputs, recursive)}
        )
    target = Path(output)
    if not to_folder(inputs, output):
        if target.parent.is_dir():
            check_output(target, source=inputs[0])
        else:
            _check_folder(target.parent)
            container_for(target)
        return [Task(Path(inputs[0]), target)]
    if target.suffix.lower() in AUDIO_EXTENSIONS and not target.is_dir() and not _ends_as_folder(output):
        raise InputError(f"{output}: is the name of a file, and there are several inputs; end it in / for a folder")
    _check_folder(target)
    found = _find(inputs, recursive, besides=target)
    originals = {os.path.realpath(file) for file, _ in found}
    by_result: dict[Path, Path] = {}
    for source, name in found:
        result = target / name
        if result in by_result:
            raise InputError(f"{by_result[result]} and {source} would both become {result}; enhance them apart")
        if os.path.realpath(result) in originals:
            raise InputError(f"{result}: is an input; give another folder, so that it stays")
        by_result[result] = source
    return _sorted(Task(source, result) for result, source in by_result.items())


def to_folder(inputs: Sequence[str], output: str) -> bool:
    """Whether `output` means a folder: for several inputs or a folder, or when it is one or ends as one."""
    return len(inputs) > 1 or Path(inputs[0]).is_dir() or Path(output).is_dir() or _ends_as_folder(output)


def share(tasks: Sequence[Task], rank: int, ranks: int) -> list[Task]:
    """The part of one of several processes that plan the same: each task is in one part."""
    return list(tasks[rank::ranks])


def _sorted(tasks: Iterator[Task]) -> list[Task]:
    return sorted(tasks, key=lambda task: os.fsencode(task.target))


def _check_folder(folder: Path) -> None:
    ground = next(path for path in (folder, *folder.parents) if path.exists())
    if not (ground.is_dir() and os.access(ground, os.W_OK | os.X_OK)):
        raise InputError(f"{folder}: {ground} is no writable folder; choose another output")


def _find(inputs: Sequence[str], recursive: bool, besides: Path | None = None) -> list[tuple[Path, Path]]:
    """Each file that is meant, and its result's name in the output folder."""
    files: dict[str, tuple[Path, Path]] = {}
    skipped = None if besides is None else os.path.realpath(besides)
    for path in map(Path, inputs):
        if not path.is_dir():
            found = [(path, Path(_result_name(path)))]
        else:
            if os.path.realpath(path) == skipped:
                raise InputError(f"{besides}: is an input; give another folder, so that its files stay, or --in_place")
            found = [(file, file.relative_to(path)) for file in _walk(path, recursive, skipped)]
            if not found:
                hint = "" if recursive else "; --recursive looks into the folders in it, too"
                raise InputError(f"{path}: no audio files in this folder ({' '.join(AUDIO_EXTENSIONS)}){hint}")
        for file, name in found:
            files.setdefault(os.path.realpath(file), (file, name))
    return list(files.values())


def _walk(folder: Path, recursive: bool, skipped: str | None) -> Iterator[Path]:
    """What is called audio, each folder once: links come last, and one that leads back leads nowhere."""
    visited = {skipped}
    folders, links = deque([folder]), deque[Path]()
    while folders or links:
        here = (folders or links).popleft()
        if (where := os.path.realpath(here)) in visited:
            continue
        visited.add(where)
        try:
            with os.scandir(here) as entries:
                named = sorted(
                    (entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name
                )
        except PermissionError:
            if here == folder:
                raise
            yield here  # as a file: to enhance it fails, which the user is told
            continue
        for entry in named:
            path = here / entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.extend([path] if recursive else [])
            elif entry.is_symlink() and path.is_dir():
                links.extend([path] if recursive else [])
            elif path.suffix.lower() in AUDIO_EXTENSIONS:
                yield path  # also what is no regular file: to enhance it fails, which the user is told


def _result_name(source: Path) -> str:
    """The input's name; .wav in place of an extension that is read but not written."""
    return source.name if source.suffix.lower() in AUDIO_EXTENSIONS else source.with_suffix(".wav").name


def _ends_as_folder(output: str) -> bool:
    return output.endswith(tuple(filter(None, (os.sep, os.altsep))))
