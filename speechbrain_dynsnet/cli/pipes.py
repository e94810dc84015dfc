"""stdin and stdout as pipes of bytes, which are read as they come and end well with Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import stat
import termios
from collections.abc import Iterator
from typing import Any

from speechbrain_dynsnet.errors import InputError

_STDIN, _STDOUT = 0, 1
_READ_BYTES = 65536  # at most: a read returns what is there


class StandardPipes:
    """Takes over stdin, stdout and SIGINT, for the rest of the process.

    The first SIGINT ends the input after what is in the pipe by then, and changes nothing else; a second one kills.
    Either end may be non-blocking.

    Raises
    ------
    InputError
        When one of them is closed, or a terminal.
    """

    def __init__(self) -> None:
        example = "as in `dynsnet stream < in.raw > out.raw`"
        for descriptor, name, other in ((_STDIN, "stdin", "pipe raw audio in"), (_STDOUT, "stdout", "send it on")):
            try:
                os.fstat(descriptor)
            except OSError as error:
                raise InputError(f"{name} is closed: {other}, {example}") from error
            if os.isatty(descriptor):
                raise InputError(f"{name} is a terminal: {other}, {example}")
        self._interrupted, wake = os.pipe()  # has something to read from the first SIGINT on
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGINT, _let_the_next_kill)

    def chunks(self) -> Iterator[bytes]:
        """What comes on stdin, as soon as it comes, until its end or a SIGINT."""
        while True:
            ready, _, _ = select.select([_STDIN, self._interrupted], [], [])
            if self._interrupted in ready:
                break
            data = _read(_READ_BYTES)
            if data == b"":
                return
            if data is not None:
                yield data
        left = _waiting_bytes()
        while left and (data := _read(min(left, _READ_BYTES))):
            left -= len(data)
            yield data

    def write(self, data: bytes) -> None:
        """All of it to stdout, at once; BrokenPipeError when nobody reads any more."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(_STDOUT, left) :]
            except BlockingIOError:
                select.select([], [_STDOUT], [])


def _read(size: int) -> bytes | None:
    """What is there, b"" at the end; None when a non-blocking stdin has nothing now."""
    try:
        return os.read(_STDIN, size)
    except BlockingIOError:
        return None


def _waiting_bytes() -> int:
    """How much can be read from the pipe without waiting; of a file, which does not wait for us, nothing."""
    if stat.S_ISREG(os.fstat(_STDIN).st_mode):
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(_STDIN, termios.FIONREAD, bytes(4)), "little")
    except OSError:  # a device, which has no end
        return 0


def _let_the_next_kill(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)
