"""Checks of what users give the runtime."""

from __future__ import annotations

from numbers import Real


def is_number(value: object) -> bool:
    """Whether it is a real number of Python's or numpy's; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)
