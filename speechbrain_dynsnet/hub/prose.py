"""Small pieces of the card's Markdown: lists in a sentence, tables, and cells that cannot break them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def listing(items: Iterable[object]) -> str:
    """Items as a sentence has them.

    >>> listing([0, 1, 3, 5])
    '0, 1, 3 and 5'
    """
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; what would end a cell or a row is escaped.

    >>> print(table(["a", "b"], [["1", "x|y"]]))
    | a | b |
    |---|---|
    | 1 | x\\|y |
    """
    return "\n".join([_row(header), f"|{'---|' * len(header)}", *map(_row, rows)])


def counted(number: int, one: str, more: str | None = None) -> str:
    """A number of things; `more` is what more than one are called, where it takes more than an s.

    >>> counted(1, "speaker"), counted(1200, "speaker"), counted(2, "kind of noise", "kinds of noise")
    ('1 speaker', '1,200 speakers', '2 kinds of noise')
    """
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def percent(share: float) -> str:
    """A share, to one decimal, or as whole where that says the same.

    >>> percent(0.0238), percent(0.3)
    ('2.4 %', '30 %')
    """
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
