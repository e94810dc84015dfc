"""Every file is looked at as what it is, and never taken for audio that it does not hold."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_dynsnet.data.check import CheckedFile, Problem, check_file, check_files

RATE = 16000
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:777bf587dcf6b2b6a2c2cc38f0048b9eecd4a0d8fa8b8549ca3697dd68f3eea8\nsize 320044\n"
)


def write(path: Path, seconds: float = 1.0, rate_hz: int = RATE, channels: int = 1, gain: float = 0.1) -> Path:
    noise = gain * np.random.default_rng(0).standard_normal((round(seconds * rate_hz), channels))
    soundfile.write(path, noise, rate_hz)
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.aiff"])
@pytest.mark.parametrize("decode", [False, True])
def test_a_good_file_is_measured(tmp_path: Path, name: str, decode: bool) -> None:
    path = write(tmp_path / name, seconds=0.75)
    assert check_file(path, decode) == CheckedFile(path, 0.75, RATE, 1)


def test_rate_and_channels_are_told_and_are_no_problem(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", rate_hz=44100, channels=2)
    assert check_file(path) == CheckedFile(path, 1.0, 44100, 2)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_cut_file_is_found_by_its_header(tmp_path: Path, name: str, share: float) -> None:
    checked = check_file(cut(write(tmp_path / name), share))
    assert checked.problem is Problem.CUT
    assert "bytes are there" in checked.detail


def test_a_cut_flac_is_found(tmp_path: Path) -> None:
    checked = check_file(cut(write(tmp_path / "a.flac")))
    assert checked.problem in (Problem.CUT, Problem.UNREADABLE)


def test_a_wav_written_into_a_pipe_is_whole(tmp_path: Path) -> None:
    """Its header could not know the length: the chunk's size is the largest there is."""
    path = write(tmp_path / "a.wav")
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert check_file(path) == CheckedFile(path, 1.0, RATE, 1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", Problem.EMPTY),
        (POINTER, Problem.POINTER),
        (b"\x00" * 4000, Problem.UNREADABLE),
        (b"RIFF", Problem.UNREADABLE),
        (b"version https://git-lfs.github.com/spec/v1\nno pointer at all\n", Problem.UNREADABLE),
        (b"<html>404</html>", Problem.UNREADABLE),
    ],
    ids=["zero bytes", "pointer", "zeros", "start of a header", "broken pointer", "a web page"],
)
def test_what_is_no_audio_is_named_as_what_it_is(tmp_path: Path, content: bytes, problem: Problem) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    assert check_file(tmp_path / "a.wav").problem is problem


def test_a_header_without_samples_is_empty(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    assert check_file(tmp_path / "a.wav").problem is Problem.EMPTY


def test_a_missing_file_is_gone(tmp_path: Path) -> None:
    assert check_file(tmp_path / "a.wav").problem is Problem.GONE


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is readable to root")
def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    path.chmod(0)
    checked = check_file(path)
    assert (checked.problem, checked.detail) == (Problem.UNREADABLE, "Permission denied")


def test_silence_and_bad_samples_are_found_by_decoding_only(tmp_path: Path) -> None:
    silent = write(tmp_path / "silent.wav", gain=0.0)
    bad = tmp_path / "nan.wav"
    soundfile.write(bad, np.full(100, np.nan), RATE, subtype="FLOAT")
    assert [checked.problem for checked in check_files([silent, bad])] == [None, None]
    decoded = check_files([silent, bad], decode=True)
    assert [checked.problem for checked in decoded] == [Problem.SILENT, Problem.DAMAGED]
    assert str(tmp_path) not in decoded[1].detail  # the path is told once


def test_clipping_is_found_by_decoding_only_and_is_no_problem(tmp_path: Path) -> None:
    loud, full = tmp_path / "loud.wav", tmp_path / "full.wav"
    soundfile.write(loud, 0.98 * np.sin(np.arange(1000)), RATE)
    soundfile.write(full, np.sin(np.arange(1000)), RATE)
    assert [checked.is_clipped for checked in check_files([loud, full])] == [False, False]
    decoded = check_files([loud, full], decode=True)
    assert [(checked.is_clipped, checked.problem) for checked in decoded] == [(False, None), (True, None)]


def test_raw_samples_are_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(4000))
    checked = check_file(tmp_path / "a.raw")
    assert (checked.problem, checked.detail) == (Problem.UNREADABLE, "raw samples carry no rate or format")


@pytest.mark.parametrize("jobs", [1, 16])
def test_many_files_come_back_in_their_order(tmp_path: Path, jobs: int) -> None:
    paths = [write(tmp_path / f"{index}.wav", seconds=0.01 * (1 + index % 7)) for index in range(200)]
    checked = check_files(paths, jobs)
    assert [file.path for file in checked] == paths
    assert [file.seconds for file in checked] == pytest.approx([0.01 * (1 + index % 7) for index in range(200)])
