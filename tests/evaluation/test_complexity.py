"""The costs are the paper's Table 1."""

from __future__ import annotations

import pytest

from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.model.network import make_network

SHARES_OF_BASELINE = {
    "pretrain": [3.7, 38.3, 72.8, 81.5, 94.4, 100.0],
    "split": [2.4, 21.4, 42.8, 49.9, 54.0, 58.2],
    "concat": [2.4, 21.4, 46.3, 57.0, 62.3, 67.6],
}


@pytest.mark.parametrize("family", SHARES_OF_BASELINE)
@pytest.mark.parametrize("exits", [(0, 1, 3, 5), (0, 1, 2, 3, 4, 5)])
def test_shares_of_the_baseline(family: str, exits: tuple[int, ...]) -> None:
    costs = exit_costs(make_network(family, exits))
    assert [round(100 * cost.share_of_baseline, 1) for cost in costs] == [
        SHARES_OF_BASELINE[family][exit] for exit in exits
    ]
    assert [cost.exit for cost in costs] == list(exits)
    assert costs[-1].share_of_deepest == 1.0


def test_the_baseline_is_its_own_yardstick() -> None:
    (cost,) = exit_costs(make_network("baseline", (5,)))
    assert (cost.macs_per_frame, cost.macs_per_second) == (2_777_000, 2_777_000 * 63)
    assert (cost.share_of_deepest, cost.share_of_baseline) == (1.0, 1.0)
