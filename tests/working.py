"""Work for processes of their own, which import this by its name; some of it ends them."""

from __future__ import annotations

import os
import signal
import sys


def has(module: str) -> bool:
    """Whether this process has imported a module."""
    return module in sys.modules


def sign(number: int) -> int:
    """The number, as it is; a negative one kills, and 0 raises ZeroDivisionError."""
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number // number
