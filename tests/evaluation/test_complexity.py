"""The costs are the paper's Table 1, and what torch itself counts."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from speechbrain_dynsnet.evaluation.complexity import check_flops, exit_costs
from speechbrain_dynsnet.model.network import DynamicNsNet2, make_network

SHARES_OF_BASELINE = {
    "pretrain": [3.7, 38.3, 72.8, 81.5, 94.4, 100.0],
    "split": [2.4, 21.4, 42.8, 49.9, 54.0, 58.2],
    "concat": [2.4, 21.4, 46.3, 57.0, 62.3, 67.6],
}
PARAMETERS = {"baseline": 2_783_657, "pretrain": 2_783_657, "split": 1_621_152, "concat": 1_884_320}
ALL = (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize("family", SHARES_OF_BASELINE)
@pytest.mark.parametrize("exits", [(0, 1, 3, 5), ALL])
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


@pytest.mark.parametrize("family", PARAMETERS)
def test_the_parameters_are_those_of_the_paper(family: str) -> None:
    costs = exit_costs(make_network(family, (5,) if family == "baseline" else (0, 1, 3, 5)))
    assert {cost.parameters_in_all for cost in costs} == {PARAMETERS[family]}
    assert costs[-1].parameters == PARAMETERS[family]


@pytest.mark.parametrize("family", SHARES_OF_BASELINE)
def test_the_parameters_of_an_exit_are_those_that_its_mask_has_a_gradient_for(family: str) -> None:
    network = make_network(family, ALL)
    for cost in exit_costs(network):
        network.zero_grad()
        network(torch.randn(1, 2, 257), exit=cost.exit)[0].sum().backward()
        reached = sum(parameter.numel() for parameter in network.parameters() if parameter.grad is not None)
        assert (cost.parameters, cost.weight_bytes) == (reached, 4 * reached)


@pytest.mark.parametrize("family", SHARES_OF_BASELINE)
def test_a_deeper_exit_costs_more(family: str) -> None:
    for shallow, deep in pairwise(exit_costs(make_network(family, ALL))):
        assert shallow.macs_per_frame < deep.macs_per_frame
        assert shallow.weight_bytes < deep.weight_bytes


@pytest.mark.parametrize("family", PARAMETERS)
def test_torch_counts_the_same_flops(family: str) -> None:
    network = make_network(family, (5,) if family == "baseline" else ALL)
    check_flops(network)
    assert all(cost.flops_per_second == 63 * 2 * cost.macs_per_frame for cost in exit_costs(network))


def test_a_count_that_torch_does_not_share_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DynamicNsNet2.macs_per_frame
    monkeypatch.setattr(DynamicNsNet2, "macs_per_frame", lambda self, exit: right(self, exit) + (exit == 3))
    with pytest.raises(RuntimeError, match="exit 3: torch counts"):
        check_flops(make_network("concat", (0, 1, 3, 5)))
