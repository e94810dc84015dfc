"""What is said of the shipped model's scores is in its card, wherever it is said: a new model alters all places."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechbrain_dynsnet.model.bundle import SHIPPED_BUNDLE, load_bundle

ROOT = Path(__file__).parents[2]
SCORES = ("PESQ-WB", "DNSMOS P.808", "DNSMOS P.835 OVRL", "STOI", "SI-SDR (dB)")
MACS = ("of nsNet2", "MACs of nsNet2", "MACs of the baseline")  # one figure under three names
PAGES = ("README.md", "docs/choose_an_exit.md", "recipes/DNS2020/README.md")
Table = dict[tuple[str, str], str]


def tables_of(page: Path) -> list[Table]:
    """The tables of a Markdown page: cells by the first one of their row and of their column."""
    tables: list[list[list[str]]] = [[]]
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif tables[-1]:
            tables.append([])
    return [
        {(row[0], name): cell for row in body for name, cell in zip(head, row, strict=True)}
        for head, _, *body in filter(None, tables)
    ]


def scores_of(table: Table) -> Table:
    """Scores by system and metric, whichever of the two a table has in its rows."""
    turned = {(column, row): cell for (row, column), cell in table.items()}
    named = {}
    for (system, metric), cell in (*table.items(), *turned.items()):
        kind = system.split()[0] if system else ""
        if kind in ("exit", "noisy", "baseline") and cell:
            system = system if kind == "exit" else kind
            if metric in SCORES:
                named[system, metric] = cell
            elif metric in MACS:
                named[system, MACS[0]] = cell
    return named


CARD = next(found for table in tables_of(SHIPPED_BUNDLE / "README.md") if (found := scores_of(table)))


def test_the_card_has_all_scores_of_all_exits() -> None:
    systems = ["noisy", *(f"exit {exit}" for exit in load_bundle().exits)]
    assert set(CARD) >= {(system, metric) for system in systems for metric in SCORES}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_scores_of_the_card(name: str) -> None:
    said = [scores for table in tables_of(ROOT / name) if (scores := scores_of(table))]
    assert said
    for scores in said:
        for key, cell in scores.items():
            figure, unit = cell.partition(" ")[::2]
            digits = len(figure.partition(".")[2])
            exact, its_unit = CARD[key].partition(" ")[::2]
            # Both are rounded: they may differ by half a digit of each.
            assert (abs(float(figure) - float(exact)) <= 0.51 * 10**-digits, unit) == (True, its_unit), (key, cell)


# A frame's times by the name of their column: those of the network are on the card, those of a stream are not.
TIMES = {
    "ms a frame, float32": ("ms a frame, float32", "network, float32", "float32"),
    "ms a frame, int8": ("ms a frame, int8", "network, int8", "int8"),
    "stream, float32": ("stream, float32",),
    "stream, int8": ("stream, int8", "stream in int8", "ms a frame"),
}


def times_of(page: Path) -> dict[tuple[str, str], set[str]]:
    """What a page says that a frame takes, by exit and kind of time."""
    said: dict[tuple[str, str], set[str]] = {}
    for table in tables_of(page):
        for (row, column), cell in table.items():
            for kind, names in TIMES.items():
                exit = row.partition(" (")[0].removeprefix("exit ")
                if column in names and (exit.isdigit() or exit == "baseline") and cell:
                    said.setdefault((exit, kind), set()).add(cell)
    return said


def test_all_pages_have_the_same_times() -> None:
    pages = [SHIPPED_BUNDLE / "README.md", *(ROOT / name for name in PAGES), ROOT / "docs/stream.md"]
    together: dict[tuple[str, str], set[str]] = {}
    for page in pages:
        said = times_of(page)
        assert said, page
        for key, cells in said.items():
            together.setdefault(key, set()).update(cells)
    assert {kind for _, kind in together} == set(TIMES)
    assert {key: cells for key, cells in together.items() if len(cells) > 1} == {}
