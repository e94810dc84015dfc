"""The four families: their size and cost, their wiring, and that leaving early saves what it should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from speechbrain.utils.streaming import infer_dependency_matrix
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.architecture import FAMILIES, Architecture
from speechbrain_dynsnet.model.network import DynamicNsNet2, State, make_network
from tests.model.reference import chain_masks, split_masks

BASELINE_MACS = 2_777_000
ALL = (0, 1, 2, 3, 4, 5)
SMALL = {"bins": 9, "hidden_size": 12, "dense_size": 14, "feature_size": 5}
FAMILIES_AND_EXITS = [("baseline", (5,)), ("pretrain", ALL), ("split", ALL), ("concat", ALL)]
every_family = pytest.mark.parametrize(("family", "exits"), FAMILIES_AND_EXITS, ids=FAMILIES)


def small(family: str, exits: Sequence[int], seed: int = 0, **sizes: Any) -> DynamicNsNet2:
    """A small network with weights large enough for every path to show in the masks."""
    torch.manual_seed(seed)
    network = make_network(family, exits, **(SMALL | sizes))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
    return network.eval()


def features(network: DynamicNsNet2, batch: int = 2, time: int = 11, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, time, network.architecture.bins, generator=generator)


@contextmanager
def counted_calls(network: nn.Module) -> Iterator[Counter[str]]:
    """Calls of every module that has no children, by name."""
    calls: Counter[str] = Counter()
    handles = [
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, module in network.named_modules()
        if not list(module.children())
    ]
    yield calls
    for handle in handles:
        handle.remove()


def layers_up_to(network: DynamicNsNet2, exit: int) -> set[str]:
    """The layers that the mask at `exit` needs: of its own stage, only the mask layer."""
    names = {name for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.GRU))}
    stage_of = {name: int(name.split(".")[1]) for name in names}
    return {name for name in names if stage_of[name] < exit or (stage_of[name] == exit and "feature_layer" not in name)}


@pytest.mark.parametrize(
    ("family", "exits", "count"),
    [
        ("baseline", (5,), 2_783_657),
        ("pretrain", ALL, 2_783_657),
        ("pretrain", (0, 1, 3, 5), 2_783_657),
        ("split", ALL, 1_621_152),
        ("split", (0, 1, 3, 5), 1_621_152),
        ("concat", ALL, 1_884_320),
        ("concat", (0, 1, 3, 5), 1_884_320),
    ],
)
def test_parameter_counts_are_those_of_the_paper(family: str, exits: Sequence[int], count: int) -> None:
    assert sum(parameter.numel() for parameter in make_network(family, exits).parameters()) == count


@pytest.mark.parametrize(
    ("family", "percent"),
    [
        ("pretrain", (3.7, 38.3, 72.8, 81.5, 94.5, 100.0)),
        ("split", (2.4, 21.4, 42.8, 49.9, 54.0, 58.2)),
        ("concat", (2.4, 21.4, 46.3, 57.0, 62.3, 67.6)),
    ],
)
def test_macs_are_those_of_the_paper(family: str, percent: Sequence[float]) -> None:
    network = make_network(family, ALL)
    # The 94.5 is the one share that weights alone do not give: 94.447. With biases three others would be wrong.
    shares = [100 * network.macs_per_frame(k) / BASELINE_MACS for k in ALL]
    assert shares == pytest.approx(percent, abs=0.054)
    assert make_network("baseline", (5,)).macs_per_frame() == BASELINE_MACS


@every_family
def test_macs_are_half_of_the_counted_flops(family: str, exits: Sequence[int]) -> None:
    network = make_network(family, exits)
    time = 3
    for exit in exits:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(features(network, batch=1, time=time), exit=exit)
        assert counter.get_total_flops() == 2 * time * network.macs_per_frame(exit)


@every_family
def test_macs_follow_the_weights_at_any_size(family: str, exits: Sequence[int]) -> None:
    network = small(family, exits)
    for exit in exits:
        path = network.path_parameters(exit)
        weights = sum(p.numel() for name, p in network.named_parameters() if name in path and p.dim() == 2)
        assert network.macs_per_frame(exit) == weights


@pytest.mark.parametrize("time", [1, 7], ids=["frame", "file"])
@every_family
@torch.no_grad()
def test_an_exit_halts(family: str, exits: Sequence[int], time: int) -> None:
    network = small(family, exits)
    x = features(network, time=time)
    for exit in exits:
        with counted_calls(network) as calls:
            network(x, exit=exit)
        assert calls == dict.fromkeys(layers_up_to(network, exit), 1)


@every_family
@torch.no_grad()
def test_all_exits_in_one_pass_run_each_layer_once(family: str, exits: Sequence[int]) -> None:
    network = small(family, exits)
    with counted_calls(network) as calls:
        network(features(network), exit=exits)
    everything = {name for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.GRU))}
    assert calls == dict.fromkeys(everything, 1)


@every_family
def test_masks_of_one_pass_are_those_of_single_passes_in_the_order_asked(family: str, exits: Sequence[int]) -> None:
    network = small(family, exits)
    x = features(network)
    asked = tuple(reversed(exits))
    masks, state = network(x, exit=asked)
    assert len(masks) == len(asked)
    for exit, mask in zip(asked, masks, strict=True):
        torch.testing.assert_close(mask, network(x, exit=exit)[0], rtol=0, atol=1e-6)
    assert_same_state(state, network(x, exit=exits[-1])[1], atol=1e-6)


@every_family
def test_no_exit_is_the_deepest(family: str, exits: Sequence[int]) -> None:
    network = small(family, exits)
    x = features(network)
    assert torch.equal(network(x)[0], network(x, exit=5)[0])


@pytest.mark.parametrize("family", ["pretrain", "split", "concat"])
def test_exits_give_different_masks(family: str) -> None:
    network = small(family, ALL)
    masks, _ = network(features(network), exit=ALL)
    for index, mask in enumerate(masks):
        for other in masks[:index]:
            assert (mask - other).abs().max() > 0.01


@torch.no_grad()
@every_family
def test_frame_by_frame_equals_the_whole_file_at_full_size(family: str, exits: Sequence[int]) -> None:
    torch.manual_seed(0)
    network = make_network(family, exits).eval()
    x = 3 * features(network, batch=2, time=12) - 8  # about as wide as log powers are
    for exit in exits:
        whole, end = network(x, exit=exit)
        state: State | None = None
        frames = []
        for frame in x.split(1, dim=1):
            mask, state = network(frame, state, exit=exit)
            frames.append(mask)
        torch.testing.assert_close(torch.cat(frames, dim=1), whole, rtol=0, atol=1e-5)
        assert state is not None
        assert_same_state(state, end, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("blocks", [(4, 7), (1, 9, 1), (10, 1)])
@every_family
def test_any_cut_into_blocks_equals_the_whole_file(family: str, exits: Sequence[int], blocks: Sequence[int]) -> None:
    network = small(family, exits)
    x = features(network, time=11)
    whole, _ = network(x, exit=exits)
    state: State | None = None
    parts = []
    for block in x.split(list(blocks), dim=1):
        masks, state = network(block, state, exit=exits)
        parts.append(masks)
    for index, mask in enumerate(whole):
        joined = torch.cat([part[index] for part in parts], dim=1)
        torch.testing.assert_close(joined, mask, rtol=0, atol=1e-5)


@every_family
def test_nothing_depends_on_the_future(family: str, exits: Sequence[int]) -> None:
    network = small(family, exits)
    time = 6
    for exit in exits:

        def mask(x: Tensor, exit: int = exit) -> Tensor:
            # (1, time, 1) in and out, as the helper wants it
            return network(x.expand(-1, -1, network.architecture.bins), exit=exit)[0].sum(-1, keepdim=True)

        seen = infer_dependency_matrix(mask, seq_shape=[1, time, 1])  # seen[i, j]: output j depends on input i
        assert not torch.tril(seen, diagonal=-1).any()
        assert torch.diagonal(seen).all()
        # behind a GRU, the past is heard
        assert torch.diagonal(seen, offset=1).any() == (exit > 0)


@every_family
def test_a_changed_future_changes_nothing_before_it(family: str, exits: Sequence[int]) -> None:
    network = small(family, exits)
    x = features(network, time=10)
    changed = x.clone()
    changed[:, 6:] += 5.0
    for before, after in zip(network(x, exit=exits)[0], network(changed, exit=exits)[0], strict=True):
        torch.testing.assert_close(before[:, :6], after[:, :6], rtol=0, atol=1e-6)
        assert (before[:, 6:] - after[:, 6:]).abs().max() > 1e-3


def test_clips_of_a_batch_do_not_mix() -> None:
    network = small("concat", ALL)
    x = features(network, batch=3)
    for one in range(3):
        torch.testing.assert_close(network(x)[0][one], network(x[one : one + 1])[0][0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["pretrain", "split", "concat"])
def test_states_of_layers_that_did_not_run_come_back_unchanged(family: str) -> None:
    network = small(family, ALL)
    x = features(network)
    _, state = network(x)
    for exit in ALL:
        _, after = network(x, state, exit=exit)
        for index in (1, 2):
            names = ["layer"] if family == "pretrain" else ["mask_layer", "feature_layer"]
            ran = [f"stages.{index}.{name}.gru" in layers_up_to(network, exit) for name in names]
            for one, old, new in zip(ran, state[index], after[index], strict=True):
                assert torch.equal(old, new) != one


@every_family
def test_states_are_one_hidden_vector_a_gru(family: str, exits: Sequence[int]) -> None:
    network = small(family, exits)
    sizes = (12,) if family in ("baseline", "pretrain") else (9, 5)
    for state in (network.initial_state(3), network(features(network, batch=3))[1]):
        assert [tuple(h.shape for h in stage) for stage in state] == [
            (),
            tuple((3, size) for size in sizes),
            tuple((3, size) for size in sizes),
            (),
            (),
            (),
        ]


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
@every_family
def test_masks_are_gains(family: str, exits: Sequence[int], scale: float) -> None:
    network = small(family, exits)
    for mask in network(scale * features(network), exit=exits)[0]:
        assert mask.shape == (2, 11, 9)
        assert torch.isfinite(mask).all()
        assert mask.min() >= 0.0
        assert mask.max() <= 1.0


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("fc1", ["relu", "none"])
def test_the_chain_is_wired_as_in_the_paper(fc1: str, seed: int) -> None:
    network = small("pretrain", ALL, seed, fc1_activation=fc1)
    assert_equals_reference(network, lambda weights, x: chain_masks(weights, x, bins=9, fc1_relu=fc1 == "relu"))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("family", ["split", "concat"])
def test_the_split_families_are_wired_as_in_the_paper(family: str, seed: int) -> None:
    network = small(family, ALL, seed)
    assert_equals_reference(network, lambda weights, x: split_masks(weights, x, concat=family == "concat"))


def test_the_baseline_is_the_pretrain_network_with_its_last_exit() -> None:
    baseline, pretrain = small("baseline", (5,)), small("pretrain", ALL, seed=3)
    pretrain.load_state_dict(baseline.state_dict())
    x = features(baseline)
    assert torch.equal(baseline(x)[0], pretrain(x, exit=5)[0])


@pytest.mark.parametrize("family", ["pretrain", "split", "concat"])
@pytest.mark.parametrize("exits", [(0, 5), (2,), (1, 4), (0,), (0, 1, 3, 5), (3, 4)])
@torch.no_grad()
def test_any_set_of_exits_gives_the_masks_of_the_full_network(family: str, exits: Sequence[int]) -> None:
    full, some = small(family, ALL), small(family, exits)
    missing = some.load_state_dict(full.state_dict(), strict=False).missing_keys
    assert not missing
    assert some.exits == exits
    assert len(some.stages) == exits[-1] + 1  # what no exit needs is not built
    x = features(full)
    for exit, mask in zip(exits, some(x, exit=exits)[0], strict=True):
        assert torch.equal(mask, full(x, exit=exit)[0])
    assert set(dict(some.named_parameters())) == some.path_parameters(exits[-1])


@pytest.mark.parametrize("family", ["pretrain", "split", "concat"])
def test_path_parameters_are_those_that_get_a_gradient(family: str) -> None:
    network = small(family, ALL)
    for exit in ALL:
        network.zero_grad()
        network(features(network), exit=ALL)[0][exit].square().sum().backward()
        reached = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
        assert reached == network.path_parameters(exit)


@pytest.mark.parametrize("exit", [2, 4, 6, -1])
def test_an_unknown_exit_raises_with_the_exits_that_there_are(exit: int) -> None:
    network = small("concat", (0, 1, 3, 5))
    x = features(network)
    for call in (
        lambda: network(x, exit=exit),
        lambda: network(x, exit=[0, exit]),
        lambda: network.macs_per_frame(exit),
        lambda: network.path_parameters(exit),
    ):
        with pytest.raises(InputError, match=rf"no exit {exit}\b.*\[0, 1, 3, 5\]"):
            call()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "other"}, "no family 'other': choose one of baseline, pretrain, split, concat"),
        ({"exits": ()}, "each stage number from 0 to 5"),
        ({"exits": (0, 6)}, "each stage number from 0 to 5"),
        ({"exits": (1, 1)}, "at most once"),
        ({"exits": (0.5,)}, "list of stage numbers"),
        ({"exits": 3}, "list of stage numbers"),
        ({"exits": "3"}, "list of stage numbers"),
        ({"exits": None}, "list of stage numbers"),
        ({"family": "baseline"}, r"the one exit \[5\]"),
        ({"fc1_activation": "gelu"}, "choose relu or none"),
        ({"fc1_activation": "none"}, "for baseline and pretrain, not concat"),
        ({"feature_size": 0}, "feature_size is 0"),
        ({"hidden_size": "400"}, "hidden_size is '400'"),
        ({"family": "pretrain", "dense_size": 256}, "first 257 features"),
    ],
)
def test_an_impossible_architecture_raises(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Architecture(**({"family": "concat", "exits": (0, 5)} | arguments))


def test_exits_are_sorted() -> None:
    assert Architecture("split", (5, 0, 3)).exits == (0, 3, 5)


def assert_same_state(state: State, other: State, atol: float) -> None:
    for stage, other_stage in zip(state, other, strict=True):
        for h, other_h in zip(stage, other_stage, strict=True):
            torch.testing.assert_close(h, other_h, rtol=0, atol=atol)


def assert_equals_reference(network: DynamicNsNet2, reference: Any) -> None:
    network = network.double()
    x = features(network, batch=2).double()
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    masks, _ = network(x, exit=ALL)
    for clip in range(2):
        for mask, expected in zip(masks, reference(weights, x[clip].numpy()), strict=True):
            np.testing.assert_allclose(mask[clip].detach().numpy(), expected, rtol=0, atol=1e-9)
