"""The moving average of the weights: what it is, and that it is what a run validates and keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.training.average import make_average

Train = Callable[..., Path]


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_every_step_moves_it_by_its_share(decay: float) -> None:
    torch.manual_seed(0)
    network = make_network("split", [0])
    average = make_average(network, decay)
    expected: dict[str, torch.Tensor] = {}
    for step in range(30):
        for parameter in network.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        average.update_parameters(network)
        kept = min(decay, (1 + step) / (10 + step)) if step else 0.0  # the first step is copied
        for name, value in network.state_dict().items():
            expected[name] = kept * expected.get(name, torch.zeros(())) + (1 - kept) * value
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=1e-5)


def test_a_run_keeps_the_average_and_not_the_last_step(train_small: Train, tmp_path: Path) -> None:
    weights = {}
    for decay in (0.0, 1e-9, 0.9):
        bundle = train_small(tmp_path / str(decay), average_decay=decay, max_epochs=1)
        weights[decay] = torch.cat([value.flatten() for value in load_bundle(bundle).parameters()])
    torch.testing.assert_close(weights[1e-9], weights[0.0], atol=1e-5, rtol=1e-5)  # an average over one step
    assert not torch.allclose(weights[0.9], weights[0.0], atol=1e-5)


@pytest.mark.parametrize("decay", [-0.1, 1.0, "much"])
def test_a_decay_that_is_none_is_one_line(train_small: Train, tmp_path: Path, decay: object) -> None:
    with pytest.raises(InputError, match="average_decay is .*: give a number from 0"):
        train_small(tmp_path, average_decay=decay)
