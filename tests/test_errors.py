"""A command ends with one line and code 2 for bad input, and with its traceback for a bug."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechbrain_dynsnet.errors import InputError, one_line_errors


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


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError), one_line_errors():
        raise KeyError("bug")
