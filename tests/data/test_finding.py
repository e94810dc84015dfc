"""Every audio file once, behind whatever links, and never for ever."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from speechbrain_dynsnet.data.finding import find_audio


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent))


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_audio(folder)]


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "disk", "anna/1.wav", "anna/deep/2.flac", "rain.ogg")
    link(tmp_path / "set" / "speakers" / "a", tmp_path / "disk" / "anna")
    link(tmp_path / "set" / "noise.ogg", tmp_path / "disk" / "rain.ogg")
    link(tmp_path / "whole", tmp_path / "set")
    expected = ["noise.ogg", "speakers/a/1.wav", "speakers/a/deep/2.flac"]
    assert found(tmp_path / "set") == expected
    assert found(tmp_path / "whole") == expected


def test_a_file_is_listed_once_and_under_its_own_name_where_it_has_one(tmp_path: Path) -> None:
    touch(tmp_path / "set", "zoe/1.wav")
    touch(tmp_path / "disk", "ben/1.wav", "ben/inner/2.wav")
    link(tmp_path / "set" / "an_earlier_name", tmp_path / "set" / "zoe")
    link(tmp_path / "set" / "a.wav", tmp_path / "set" / "zoe" / "1.wav")
    link(tmp_path / "set" / "b_first", tmp_path / "disk" / "ben" / "inner")
    link(tmp_path / "set" / "b_second", tmp_path / "disk" / "ben")
    assert found(tmp_path / "set") == ["b_first/2.wav", "b_second/1.wav", "zoe/1.wav"]


def test_hard_links_are_files_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    os.link(tmp_path / "a.wav", tmp_path / "b.wav")
    assert found(tmp_path) == ["a.wav", "b.wav"]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    touch(tmp_path / "set", "anna/1.wav")
    link(tmp_path / "set" / "anna" / "above", tmp_path / "set")
    link(tmp_path / "set" / "here", tmp_path / "set" / "here")
    link(tmp_path / "set" / "to", tmp_path / "set" / "fro")
    link(tmp_path / "set" / "fro", tmp_path / "set" / "to")
    assert found(tmp_path / "set") == ["anna/1.wav"]


def reachable(folder: Path, entered: set[Path]) -> set[Path]:
    """The real paths of all audio files, found the slow way."""
    real = folder.resolve()
    if real in entered:
        return set()
    entered.add(real)
    files: set[Path] = set()
    for path in real.iterdir():
        if path.is_dir():
            files |= reachable(path, entered)
        elif path.suffix == ".wav":
            files.add(path.resolve())
    return files


@pytest.mark.parametrize("seed", range(20))
def test_any_tangle_of_links_gives_each_file_once_whatever_the_order_on_disk(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    folders = [""]
    for number in range(8):
        folders.append(f"{rng.choice(folders)}/d{number}".lstrip("/"))
    files = [f"{rng.choice(folders)}/f{number}.wav".lstrip("/") for number in range(12)]
    links = {
        f"{rng.choice(folders)}/l{number}{suffix}".lstrip("/"): target
        for number in range(10)
        for suffix, target in [rng.choice([("", rng.choice(folders)), (".wav", rng.choice(files))])]
    }
    lists = []
    for order in range(2):
        root = tmp_path / str(order) / "root"
        for folder in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name in rng.sample([*files, *links], len(files) + len(links)):
            if name in links:
                link(root / name, root / links[name])
            else:
                touch(root, name)
        # From a folder within, links lead outside, too.
        lists.append([found(root / start) for start in folders])
        for start, names in zip(folders, lists[-1], strict=True):
            real = [(root / start / name).resolve() for name in names]
            assert len(set(real)) == len(real)
            assert set(real) == reachable(root / start, set())
    assert lists[0] == lists[1]


def test_links_that_lead_nowhere_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a.wav")
    link(tmp_path / "gone.wav", tmp_path / "unmounted" / "gone.wav")  # whoever opens it will say so
    assert found(tmp_path) == ["a.wav", "gone.wav"]
    assert caplog.messages == []
    for name in ("anna", "ben"):
        link(tmp_path / name, tmp_path / "unmounted" / name)
    assert found(tmp_path) == ["a.wav", "gone.wav"]
    (message,) = caplog.messages
    assert message.startswith(f"2 symbolic links lead nowhere, the first is {tmp_path / 'anna'}; mount")


def test_names_that_are_not_utf_8_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a.wav", "né.wav")
    try:
        os.link(tmp_path / "a.wav", os.fsencode(tmp_path) + b"/caf\xe9.wav")
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    assert found(tmp_path) == ["a.wav", "né.wav"]
    (message,) = caplog.messages
    assert message.startswith("1 audio files left out, for their names are not UTF-8, the first is ")
    assert f"{tmp_path}/caf\\udce9.wav; rename" in message


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    link(tmp_path / "link.wav", tmp_path / "pipe.wav")
    touch(tmp_path, "folder.wav/a.wav", ".wav", "notes.txt")
    assert found(tmp_path) == ["folder.wav/a.wav"]


def test_no_folder_has_no_files(tmp_path: Path) -> None:
    assert find_audio(tmp_path / "none") == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is readable to root")
def test_a_folder_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "closed/a.wav")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(PermissionError, match="closed"):
            find_audio(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
