"""Every file is in one batch, shared by short ones of about one size and one format; a failure stays with its file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speechbrain_dynsnet.audio.enhancement import FileFacts, MaskModel, Settings, enhance_file
from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.cli import enhance_files
from speechbrain_dynsnet.cli.batches import Batch, batches
from speechbrain_dynsnet.cli.enhance_files import FileWorker
from speechbrain_dynsnet.cli.worklist import Task, plan
from speechbrain_dynsnet.cli.worklog import FOLDER, Row, Worklog, rows_of
from speechbrain_dynsnet.errors import InputError
from tests.audio.masks import REMEMBERING
from tests.cli.deadly import DeadlyChoice

RATE = 16000


def tasks_of(folder: Path, sizes: list[int], suffix: str = ".wav") -> list[Task]:
    tasks = [Task(folder / f"{number}{suffix}", folder / f"out{number}{suffix}") for number in range(len(sizes))]
    for task, size in zip(tasks, sizes, strict=True):
        with task.source.open("wb") as file:
            file.truncate(size)
    return tasks


def bytes_of(batch: Batch) -> list[int]:
    return [task.source.stat().st_size for task in batch]


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_all_files_once_the_most_work_first_and_neighbours_alike(tmp_path: Path, jobs: int) -> None:
    sizes = [int(size) for size in np.random.default_rng(0).lognormal(13.0, 1.5, 100)]
    tasks = tasks_of(tmp_path, sizes) + tasks_of(tmp_path, [sizes[0]] * 9, ".flac")
    found = batches(tasks, jobs)
    assert sorted(task.source for batch in found for task in batch) == sorted(task.source for task in tasks)
    work = [sum(bytes_of(batch)) for batch in found]
    assert work == sorted(work, reverse=True)
    assert any(len(batch) == 8 for batch in found)
    for batch in found:
        assert len(batch) <= 8 and len({task.source.suffix for task in batch}) == 1
        if len(batch) > 1:
            assert max(bytes_of(batch)) <= 4_000_000 and min(bytes_of(batch)) >= 0.7 * max(bytes_of(batch))


@pytest.mark.parametrize(("count", "jobs", "least"), [(8, 1, 1), (8, 2, 4), (3, 2, 3), (12, 3, 6)])
def test_no_process_is_left_without_work(tmp_path: Path, count: int, jobs: int, least: int) -> None:
    assert len(batches(tasks_of(tmp_path, [1000] * count), jobs)) >= least


def test_a_file_that_is_not_there_is_in_a_batch_too(tmp_path: Path) -> None:
    assert batches([Task(tmp_path / "none.wav", tmp_path / "out.wav")]) == [
        (Task(tmp_path / "none.wav", tmp_path / "out.wav"),)
    ]
    assert batches([]) == []


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Six of one channel, a little longer each, and one of two channels."""
    paths = [tmp_path / "in" / f"{number}.wav" for number in range(7)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).normal(0.0, 0.1, (1, 4 * RATE + 900 * number)).astype(np.float32)
        write_audio(path, Audio(noise if number < 6 else noise[:, : 2 * RATE].repeat(2, axis=0), RATE, "WAV", "FLOAT"))
    return paths


def worker_for(folder: Path) -> FileWorker:
    worklog = Worklog(folder)
    worklog.begin("key")
    return FileWorker(DeadlyChoice(), Settings(), worklog, "key", model=REMEMBERING)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("bad", [None, 2])
@pytest.mark.parametrize("count", [6, 7])
def test_a_batch_gives_what_its_files_give_alone_and_a_bad_one_fails_alone(
    recordings: list[Path], tmp_path: Path, count: int, bad: int | None, in_place: bool
) -> None:
    recordings = recordings[:count]
    if bad is not None:
        content = bytearray(recordings[bad].read_bytes())
        content[-4000:-3996] = np.float32(np.nan).tobytes()
        recordings[bad].write_bytes(content)
    before = [path.read_bytes() for path in recordings]
    for number, path in enumerate(recordings):
        if number != bad:
            enhance_file(REMEMBERING, path, tmp_path / f"alone{number}.wav")
    folder = recordings[0].parent if in_place else tmp_path / "out"
    tasks = plan([str(path) for path in recordings], None if in_place else str(folder))
    rows = worker_for(folder)(tasks)
    assert [row.target for row in rows] == [path.name for path in recordings]
    assert sum(1 for row in rows_of(folder) if row.facts or row.failure) == len(recordings)
    for number, row in enumerate(rows):
        result = folder / recordings[number].name
        if number == bad:
            assert "NaN" in row.failure and (result.read_bytes() == before[number] if in_place else not result.exists())
        else:
            assert not row.failure and row.facts is not None and row.took_s > 0
            np.testing.assert_allclose(
                read_audio(result).samples, read_audio(tmp_path / f"alone{number}.wav").samples, atol=2e-6
            )
    assert not list(folder.glob(".*.part"))


def test_when_the_record_is_full_no_file_is_enhanced_twice(
    recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Path] = []
    together = enhance_files.enhance_together

    def counting(model: MaskModel, files: Sequence[tuple[Path, Path]], *others: Any) -> Iterator[tuple[int, FileFacts]]:
        for index, facts in together(model, files, *others):
            done.append(files[index][0])
            yield index, facts

    monkeypatch.setattr(enhance_files, "enhance_together", counting)
    monkeypatch.setattr(enhance_files, "enhance_file", lambda *_: pytest.fail("again"))
    worker = worker_for(recordings[0].parent)
    tasks = plan([str(path) for path in recordings[:6]], None)
    append = worker.worklog.append

    def full(row: Row) -> None:
        if row.facts:
            raise InputError("the disk is full")
        append(row)

    monkeypatch.setattr(worker.worklog, "append", full)
    rows = worker(tasks)
    assert [row.failure for row in rows] == ["the disk is full"] * 6
    assert sorted(done) == recordings[:6] and (recordings[0].parent / FOLDER).is_dir()


def failing_with(error: Exception, done: list[Path]) -> Any:
    """`enhance_together` that replaces the first file and then fails, before it can say so."""
    together = enhance_files.enhance_together

    def failing(model: MaskModel, files: Sequence[tuple[Path, Path]], *others: Any) -> Iterator[tuple[int, FileFacts]]:
        for index, _ in together(model, files, *others):
            done.append(files[index][1])
            raise error
            yield

    return failing


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), TypeError("a fault of ours")])
def test_in_place_what_went_wrong_after_a_file_was_replaced_does_not_enhance_it_twice(
    recordings: list[Path], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    done: list[Path] = []
    alone = enhance_files.enhance_file

    def counting(model: MaskModel, source: Path, target: Path, *others: Any) -> FileFacts:
        done.append(target)
        return alone(model, source, target, *others)

    monkeypatch.setattr(enhance_files, "enhance_together", failing_with(error, done))
    monkeypatch.setattr(enhance_files, "enhance_file", counting)
    folder = recordings[0].parent
    rows = worker_for(folder)(plan([str(path) for path in recordings[:4]], None))
    assert sorted(done) == recordings[:4]
    assert not any(row.failure for row in rows)
    finished = Worklog(folder).finished("key")
    assert all(finished.find(Task(path, path)) for path in recordings[:4])


@pytest.mark.parametrize(
    ("error", "told"),
    [(TypeError("of ours"), True), (InputError("bad file"), False), (RuntimeError("out of memory"), False)],
)
def test_a_fault_that_shows_side_by_side_only_is_told(
    recordings: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    told: bool,
) -> None:
    monkeypatch.setattr(enhance_files, "enhance_together", failing_with(error, []))
    rows = worker_for(tmp_path / "out")(plan([str(path) for path in recordings[:4]], str(tmp_path / "out")))
    assert all(row.facts for row in rows)
    assert ("please report it" in caplog.text) == told
