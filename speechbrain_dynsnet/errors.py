"""The one error for bad input, and how a command ends with it."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDOUT = 1


class InputError(ValueError):
    """Bad input of the user's: the message is one line that says what is wrong and what to do."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line on stderr and exit code 2, for bad input.

    What the system refuses (a permission, a name that is too long) and nobody foresaw counts as bad input too. Where
    nobody reads stdout any more, as with `| head`, it ends without a word, as the system's own tools do.
    """
    try:
        yield
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads_stdout():
            os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)  # for what is flushed at the end
            sys.exit(128 + signal.SIGPIPE)
        print(f"Error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)


def _nobody_reads_stdout() -> bool:
    """Whether it is a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(_STDOUT, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def one_line(error: Exception) -> str:
    """The message of an error, without line breaks."""
    if isinstance(error, OSError) and error.filename is not None:
        return printable(f"{error.filename}: {error.strerror}; check its name and permissions")
    # An error in a worker of a loader comes with the worker's traceback, of which the message is the end.
    message = str(error).rpartition(f"{__name__}.{InputError.__name__}: ")[2]
    return printable(re.sub(r"\s*\n\s*", " ", message.strip()))


def printable(text: str) -> str:
    r"""One line that any terminal takes: control characters, and bytes of a name that are no UTF-8, become escapes.

    >>> printable("two\nlines, and \udcff")
    'two\\nlines, and \\xff'
    """
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python carries a byte that it could not decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
