"""Whole clips only, of one kind of settings, and none lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from speechbrain_dynsnet.audio.files import Audio, write_audio
from speechbrain_dynsnet.data import clip_folder
from speechbrain_dynsnet.data.clip_folder import ClipFolder, Row
from speechbrain_dynsnet.data.folder_lock import LOCK
from speechbrain_dynsnet.data.manifest import read_whole_corpus
from speechbrain_dynsnet.data.recordings import Recordings, open_recordings
from speechbrain_dynsnet.data.synthesis import SynthesisSettings, draw_clip, make_clip
from speechbrain_dynsnet.errors import InputError
from tests.data.marked import make_marked_set

ROOT = Path(__file__).parents[2]
SETTINGS = SynthesisSettings(audio_length=1.0)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    folder = make_marked_set(tmp_path_factory.mktemp("marked"))
    return open_recordings(read_whole_corpus(folder), folder, folder / "decoded")


@pytest.fixture
def folder(tmp_path: Path) -> ClipFolder:
    folder = ClipFolder(tmp_path / "out")
    claim(folder, {"seed": 0, "recordings": "abc"})
    return folder


def claim(folder: ClipFolder, settings: Mapping[str, object]) -> None:
    with folder.claim(settings):
        pass


def write(folder: ClipFolder, recordings: Recordings, *file_ids: int) -> list[Row]:
    many = [draw_clip(recordings, SETTINGS, file_id) for file_id in file_ids]
    return [folder.write(parameters, make_clip(parameters), recordings) for parameters in many]


def files(folder: ClipFolder) -> set[str]:
    return {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file()}


def test_a_clip_is_finished_when_all_of_it_is_there(folder: ClipFolder, recordings: Recordings) -> None:
    assert folder.finished(SETTINGS.samples) == {}
    rows = write(folder, recordings, *range(6))
    folder.write_log(rows[:2])
    for row in rows[2:5]:
        folder.add_to_log(row)  # and the last one not: killed just before
    (folder.path / "noise" / "noise_fileid_1.wav").unlink()
    (folder.path / "clean" / "clean_fileid_2.wav").write_bytes(b"")  # what a power cut can leave
    (folder.path / "noisy" / rows[3]["noisy"]).rename(folder.path / "noisy" / "other.wav")
    assert folder.finished(SETTINGS.samples) == {0: rows[0], 4: rows[4]}


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_half_a_line_of_the_log_is_not_believed(folder: ClipFolder, recordings: Recordings, cut: int) -> None:
    rows = write(folder, recordings, 0, 1)
    folder.write_log(rows)
    log = folder.path / "log.csv"
    log.write_bytes(log.read_bytes()[:-cut])
    assert folder.finished(SETTINGS.samples) == {0: rows[0]}


def test_the_log_is_sorted_and_keeps_odd_names(folder: ClipFolder, recordings: Recordings) -> None:
    rows = [row | {"speaker": 'a "b", \u2028c\nd'} for row in write(folder, recordings, 10, 9, 0)]
    folder.write_log(rows)
    assert list(folder.finished(SETTINGS.samples).values()) == [rows[2], rows[1], rows[0]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 1, "recordings": "abc"}, "made with seed 0, not 1"),
        ({"seed": 0, "recordings": "abd"}, "made from other recordings"),
        ({"recordings": "abc"}, "made with seed 0, not None"),
    ],
)
def test_clips_of_other_settings_are_not_mixed_in(
    folder: ClipFolder, recordings: Recordings, settings: dict[str, object], message: str
) -> None:
    write(folder, recordings, 0)
    with pytest.raises(InputError, match=message):
        claim(folder, settings)


def test_the_settings_of_a_run_that_made_no_clips_bind_nobody(folder: ClipFolder, recordings: Recordings) -> None:
    claim(folder, {"seed": 1, "recordings": "abd"})
    write(folder, recordings, 0)
    with pytest.raises(InputError, match="made with seed 1, not 0"):
        claim(folder, {"seed": 0, "recordings": "abd"})


def test_what_a_killed_run_left_is_removed(folder: ClipFolder, recordings: Recordings) -> None:
    before = files(folder)
    left = folder.path / ".unfinished-abc"
    left.mkdir()
    (left / "noisy.wav").write_bytes(b"RIFF")
    claim(folder, {"seed": 0, "recordings": "abc"})
    assert files(folder) == before


def test_a_folder_is_one_run_s_until_that_ends(folder: ClipFolder) -> None:
    settings = {"seed": 0, "recordings": "abc"}
    (left := folder.path / ".unfinished-abc").mkdir()
    with folder.claim(settings):
        left.mkdir()  # the clip that is being written
        with pytest.raises(InputError, match=r"out: another run is writing to it; wait for it, or give another"):
            claim(ClipFolder(folder.path), settings)
        assert left.is_dir()
    claim(ClipFolder(folder.path), settings)
    assert not left.exists()


def test_a_run_that_fails_lets_go_of_the_folder(folder: ClipFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"seed": 0, "recordings": "abc"}
    with pytest.raises(ZeroDivisionError), folder.claim(settings):
        raise ZeroDivisionError
    with monkeypatch.context() as patch, pytest.raises(InputError, match="cannot be written to"):
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        claim(folder, settings)
    claim(folder, settings)


def test_a_killed_run_lets_go_of_the_folder(folder: ClipFolder) -> None:
    code = "import sys; from pathlib import Path; from speechbrain_dynsnet.data.folder_lock import hold\n"
    code += "with hold(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, str(folder.path)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another run is writing to it"):
            claim(folder, {"seed": 0, "recordings": "abc"})
        process.kill()
        process.wait()
        claim(folder, {"seed": 0, "recordings": "abc"})


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    make_marked_set(tmp_path / "data")
    before = files(ClipFolder(tmp_path / "data"))
    with pytest.raises(InputError, match="holds something else"):
        claim(ClipFolder(tmp_path / "data"), {"seed": 0})
    assert files(ClipFolder(tmp_path / "data")) == before
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written to"):
        claim(ClipFolder(tmp_path / "file" / "out"), {"seed": 0})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "settings.json").write_text("{")
    for content in ("{", "[]", "\0"):
        (tmp_path / "broken" / "settings.json").write_text(content)
        with pytest.raises(InputError, match="damaged"):
            claim(ClipFolder(tmp_path / "broken"), {"seed": 0})
    (tmp_path / "broken" / "settings.json").write_text('{"theme": "dark"}')
    with pytest.raises(InputError, match="made with seed None, not 0"):
        claim(ClipFolder(tmp_path / "broken"), {"seed": 0})


@pytest.mark.parametrize("fails", ["write_text", "replace", "mkdir"])
def test_a_folder_that_could_not_be_begun_can_be_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    folder = ClipFolder(tmp_path / "out")
    mkdir = Path.mkdir

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def full_within(path: Path, *words: Any, **named: Any) -> None:
        full() if path.parent == folder.path else mkdir(path, *words, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os if fails == "replace" else Path, fails, full_within if fails == "mkdir" else full)
        with pytest.raises(InputError, match=r"out: cannot be written to \(No space left on device\)"):
            claim(folder, {"seed": 0})
    assert not list(folder.path.glob("*.part"))
    claim(folder, {"seed": 0})
    assert {path.name for path in folder.path.iterdir()} == {LOCK, "settings.json", "noisy", "clean", "noise"}


def test_too_little_space_is_said_before_any_work(folder: ClipFolder) -> None:
    folder.check_space(10, 480000)
    with pytest.raises(InputError, match=re.escape("2,880,000.0 GB are needed and ")):
        folder.check_space(10**9, 480000)


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_clip_that_cannot_be_written_leaves_nothing(
    folder: ClipFolder, recordings: Recordings, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    folder.write_log(write(folder, recordings, 0))
    before = files(folder)
    calls = []

    def fill_up(path: Path, audio: Audio) -> None:
        calls.append(path)
        if len(calls) == fails_at:
            raise InputError(f"{path}: no space left")
        write_audio(path, audio)

    monkeypatch.setattr(clip_folder, "write_audio", fill_up)
    with pytest.raises(InputError, match="clip 1 could not be written, .* are free .* make room .*no space left"):
        write(folder, recordings, 1)
    assert files(folder) == before
    assert list(folder.finished(SETTINGS.samples)) == [0]


def test_the_row_belongs_to_the_files(folder: ClipFolder, recordings: Recordings) -> None:
    parameters = replace(draw_clip(recordings, SETTINGS, 0), file_id=77)
    row = folder.write(parameters, make_clip(parameters), recordings)
    assert files(folder) == {
        LOCK,
        "settings.json",
        f"noisy/{row['noisy']}",
        "clean/clean_fileid_77.wav",
        "noise/noise_fileid_77.wav",
    }
