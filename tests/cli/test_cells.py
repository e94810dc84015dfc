"""The grid's cells: every configuration of the paper once, after what it starts from."""

from __future__ import annotations

import pytest

from speechbrain_dynsnet.cli.cells import HALF, REPEATED, baseline_cell, choose, make_cells, read_seeds
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.configurations import PAPER_CONFIGURATIONS
from speechbrain_dynsnet.model.architecture import LAST_STAGE

BASELINE = f"baseline_{LAST_STAGE}"


def test_every_cell_of_the_paper_is_there_once_and_after_what_it_starts_from() -> None:
    cells = make_cells(1234)
    rows = [cell for cell in cells if cell.is_row]
    assert sorted(str(cell.configuration) for cell in rows) == sorted(map(str, PAPER_CONFIGURATIONS))
    assert [cell.name for cell in cells[:3]] == [HALF, BASELINE, REPEATED]
    assert [cell.name for cell in cells if not cell.is_row] == [HALF]
    schemes = [cell.configuration.scheme for cell in rows[1:]]
    assert schemes == sorted(schemes)  # joint, then layerwise
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(names)
    for cell in cells:
        assert (cell.start is not None) == (cell.configuration.family == "pretrain")
        assert cell.start is None or names.index(cell.start) < names.index(cell.name)


def test_more_seeds_are_more_cells_of_one_configuration_and_other_grids_beside() -> None:
    plain = [cell.name for cell in make_cells(1234)]
    assert [cell.name for cell in make_cells(1234, [1234, 7])] == [*plain, f"{REPEATED}_seed7"]
    others = make_cells(1234, [7])
    assert [cell.name for cell in others] == [f"{name}_seed7" for name in plain]
    assert {cell.start for cell in others} == {None, f"{HALF}_seed7"}


def test_the_baseline_is_the_one_that_got_the_whole_budget() -> None:
    assert baseline_cell(make_cells(1234, [7])).name == f"{BASELINE}_seed7"


def test_pretrain_hears_other_pairs_than_what_it_starts_from() -> None:
    cells = {cell.name: cell for cell in make_cells(1, [1, 2, 3])}
    for cell in cells.values():
        assert cell.start is None or cells[cell.start].seed != cell.seed


def test_what_is_chosen_brings_what_it_starts_from() -> None:
    cells = make_cells(1234)
    assert choose(cells, None) == cells
    assert [cell.name for cell in choose(cells, f"pretrain_joint_0135, {REPEATED}")] == [
        HALF,
        REPEATED,
        "pretrain_joint_0135",
    ]
    with pytest.raises(InputError, match="no cell is called 'concat'; there are baseline_half, "):
        choose(cells, "concat")


def test_seeds_are_different_whole_numbers() -> None:
    assert read_seeds(None) == [] and read_seeds("1, 2,1") == [1, 2]
    for text in ("", "1,", "a", "1.5", "-1"):
        with pytest.raises(InputError, match="give whole numbers with commas between"):
            read_seeds(text)
