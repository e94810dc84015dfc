"""Text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def align(columns: Sequence[Sequence[str]]) -> list[str]:
    """Columns of cells as lines, each column as wide as its widest cell.

    >>> align([["cell", "a"], ["hours", "50"]])
    ['cell  hours', 'a     50']
    """
    widths = [max(map(len, column)) for column in columns]
    rows: Iterable[tuple[str, ...]] = zip(*columns, strict=True)
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
