"""The recurrence for training gives torch's own GRU, and its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from speechbrain_dynsnet.model import layers
from speechbrain_dynsnet.model.layers import Recurrent, run_side_by_side
from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.model.recurrence import run_recurrence


def grus(dtype: torch.dtype = torch.float32) -> list[Recurrent]:
    torch.manual_seed(0)
    return [Recurrent(7, 5).to(dtype), Recurrent(3, 4).to(dtype)]


def inputs(dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Of two layers: (2, 6, inputs), and states that are not zero."""
    torch.manual_seed(1)
    xs = [torch.randn(2, 6, size, dtype=dtype, requires_grad=True) for size in (7, 3)]
    return xs, tuple(torch.rand(2, size, dtype=dtype, requires_grad=True) for size in (5, 4))


def everything(pair: list[Recurrent], xs: list[Tensor], states: tuple[Tensor, ...]) -> list[Tensor]:
    return [*xs, *states, *(parameter for layer in pair for parameter in layer.parameters())]


def by_torch(pair: list[Recurrent], xs: list[Tensor], states: tuple[Tensor, ...]) -> list[Tensor]:
    results = [layer.gru(x, state[None]) for layer, x, state in zip(pair, xs, states, strict=True)]
    return [output for output, _ in results] + [last[0] for _, last in results]


def by_us(pair: list[Recurrent], xs: list[Tensor], states: tuple[Tensor, ...]) -> list[Tensor]:
    outputs, last = run_side_by_side(pair, xs, states)
    return [*outputs, *last]


def gradients(values: list[Tensor], leaves: list[Tensor]) -> tuple[Tensor, ...]:
    torch.manual_seed(2)
    return torch.autograd.grad(sum((value * torch.randn_like(value)).sum() for value in values), leaves)


def test_outputs_states_and_gradients_are_those_of_torch() -> None:
    pair, (xs, states) = grus(), inputs()
    wanted, given = by_torch(pair, xs, states), by_us(pair, xs, states)
    for one, other in zip(wanted, given, strict=True):
        torch.testing.assert_close(other, one, atol=1e-6, rtol=1e-5)
    leaves = everything(pair, xs, states)
    for one, other in zip(gradients(wanted, leaves), gradients(given, leaves), strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)


def test_gradients_are_the_slopes() -> None:
    pair, (xs, states) = grus(torch.float64), inputs(torch.float64)
    leaves = everything(pair, xs, states)
    assert torch.autograd.gradcheck(lambda *_: tuple(by_us(pair, xs, states)), leaves)


def test_bfloat16_is_near() -> None:
    pair, (xs, states) = grus(), inputs()
    with torch.autocast("cpu", torch.bfloat16):
        given = by_us(pair, xs, states)
    leaves = everything(pair, xs, states)
    assert all(value.dtype == torch.float32 for value in given)
    for one, other in zip(by_torch(pair, xs, states), given, strict=True):
        torch.testing.assert_close(other, one, atol=0.02, rtol=0)
    wanted = gradients(by_torch(pair, xs, states), leaves)
    for one, other in zip(wanted, gradients(given, leaves), strict=True):
        assert (one - other).abs().max() < 0.03 * one.abs().max()


def test_a_frozen_layer_in_bfloat16_is_near_and_copies_no_weights_a_frame() -> None:
    pair, (xs, states) = grus(), inputs()
    for layer in pair:
        layer.requires_grad_(False)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), torch.profiler.profile(acc_events=True) as profile:
        given = by_us(pair, xs, states)
    for one, other in zip(by_torch(pair, xs, states), given, strict=True):
        torch.testing.assert_close(other, one, atol=0.02, rtol=0)
    assert "aten::bmm" not in {event.name for event in profile.events()}


@pytest.mark.parametrize("family", ["baseline", "split", "concat"])
def test_a_network_trains_as_with_torchs_own(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    exits = (5,) if family == "baseline" else (0, 1, 3, 5)
    network = make_network(family, exits)
    features = torch.randn(2, 5, 257)

    def gradients_of_masks() -> list[Tensor]:
        masks, _ = network(features, exit=exits)
        return list(torch.autograd.grad(sum(mask.square().sum() for mask in masks), list(network.parameters())))

    ours = gradients_of_masks()
    with monkeypatch.context() as context:
        context.setattr(torch.compiler, "is_compiling", lambda: True)  # then torch's own GRU runs
        calls: list[int] = []
        context.setattr(layers, "run_recurrence", lambda *_: calls.append(1))
        theirs = gradients_of_masks()
        assert not calls
    for one, other in zip(theirs, ours, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5 * max(1.0, one.abs().max().item()), rtol=1e-4)


def test_without_gradients_torchs_own_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "run_recurrence", None)
    pair, (xs, states) = grus(), inputs()
    with torch.no_grad():
        outputs, _ = run_side_by_side(pair, xs, states)
        assert torch.equal(outputs[0], pair[0].gru(xs[0], states[0][None])[0])


def test_one_frame_and_one_layer() -> None:
    gru = nn.GRU(4, 3, batch_first=True)
    x, state = torch.randn(2, 1, 4), torch.zeros(2, 3)
    products = nn.functional.linear(
        x, gru.weight_ih_l0, gru.bias_ih_l0 + torch.cat([gru.bias_hh_l0[:6], torch.zeros(3)])
    )
    given = run_recurrence(products.view(1, 2, 3, 3), [state], [gru.weight_hh_l0], [gru.bias_hh_l0[6:]])
    torch.testing.assert_close(given[0], gru(x)[0][:, 0])
