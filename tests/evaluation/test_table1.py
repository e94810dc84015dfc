"""Table 1 has every family, with the paper's parameters."""

from __future__ import annotations

import pytest

from speechbrain_dynsnet.evaluation.table1 import table1_to_markdown


@pytest.mark.parametrize(
    ("family", "parameters", "cells"),
    [
        ("baseline", "2,783,657", ["", "", "", "", "", "175.0 (100.0%)"]),
        ("pretrain", "2,783,657", ["6.5 (3.7%)", "67.0 (38.3%)", "127.4 (72.8%)"]),
        ("split", "1,621,152", ["4.2 (2.4%)", "37.4 (21.4%)", "74.8 (42.8%)", "87.2 (49.9%)"]),
        ("concat", "1,884,320", ["4.2 (2.4%)", "37.4 (21.4%)", "81.0 (46.3%)", "99.7 (57.0%)"]),
    ],
)
def test_each_family_has_its_parameters_and_its_macs_at_each_exit(
    family: str, parameters: str, cells: list[str]
) -> None:
    (line,) = (line for line in table1_to_markdown().splitlines() if line.startswith(f"| {family} |"))
    assert line.startswith(f"| {family} | {parameters} | {' | '.join(cells)} |") and line.count("|") == 9
