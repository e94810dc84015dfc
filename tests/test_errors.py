"""A command ends with one line and code 2 for bad input, and with its traceback for a bug."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from speechbrain_dynsnet.errors import InputError, one_line_errors
from speechbrain_dynsnet.model.bundle import SHIPPED_BUNDLE


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("wrong\n  here"), "Error: wrong here\n"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), "Error: a.wav: No such file or directory; "),
        (OSError("disk gone"), "Error: disk gone\n"),
        (InputError("two  spaces.wav: is empty"), "Error: two  spaces.wav: is empty\n"),
        (InputError("escape\x1b[31m\udcff.wav: is empty"), "Error: escape\\x1b[31m\\xff.wav: is empty\n"),
        (FileNotFoundError(2, "No such file", "new\nline.wav"), "Error: new\\nline.wav: No such file; "),
    ],
)
def test_bad_input_is_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors():
        raise error
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (2, "")
    assert said.err.startswith(line) and said.err.count("\n") == 1


def test_what_the_system_refuses_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), one_line_errors():
        (tmp_path / ("x" * 300)).write_text("")
    assert "File name too long" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["dynsnet enhance --help", "dynsnet push MODEL user/name --dry_run"])
def test_a_reader_that_has_had_enough_is_no_error(command: str, tmp_path: Path) -> None:
    words = [str(SHIPPED_BUNDLE) if word == "MODEL" else word for word in command.split()[1:]]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "speechbrain_dynsnet.cli", *words], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    said = [line for line in done.stderr.splitlines() if not line.startswith("the card's example loads ")]
    assert said == [] and done.returncode not in (0, 2)


def test_another_broken_pipe_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors():
        raise BrokenPipeError(32, "Broken pipe")
    assert end.value.code == 2 and "Broken pipe" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError), one_line_errors():
        raise KeyError("bug")
