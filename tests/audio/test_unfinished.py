"""Files that are being written are left alone by those who clear up, from the first moment to the last."""

from __future__ import annotations

import threading
from io import FileIO
from pathlib import Path

import pytest

from speechbrain_dynsnet.audio import unfinished
from speechbrain_dynsnet.audio.unfinished import remove_unfinished, unfinished_beside


def test_a_file_that_was_removed_before_it_was_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = 0

    class Slow(FileIO):
        def __init__(self, path: Path, mode: str) -> None:
            nonlocal removed
            super().__init__(path, mode)
            if removed < 3:
                removed += remove_unfinished(tmp_path)

    monkeypatch.setattr(unfinished, "FileIO", Slow)
    with unfinished_beside(tmp_path / "a.wav") as (temporary, file):
        assert removed == 3
        assert [temporary] == list(tmp_path.iterdir())
        file.write(b"samples")
        assert remove_unfinished(tmp_path) == 0
        temporary.rename(tmp_path / "a.wav")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.wav", b"samples")]


def test_who_clears_up_all_the_time_removes_nothing_that_is_being_written(tmp_path: Path) -> None:
    stop = threading.Event()

    def clear() -> None:
        while not stop.is_set():
            remove_unfinished(tmp_path)

    thread = threading.Thread(target=clear)
    thread.start()
    try:
        for number in range(300):
            with unfinished_beside(tmp_path / "a.wav") as (temporary, _):
                temporary.rename(tmp_path / f"{number}.wav")
    finally:
        stop.set()
        thread.join()
    assert len(list(tmp_path.iterdir())) == 300


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), unfinished_beside(tmp_path / "a.wav"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
