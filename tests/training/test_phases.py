"""Training schemes as data: which parameters train when, for how long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.training.phases import joint, layerwise

SIZES = {"bins": 3, "hidden_size": 4, "dense_size": 5, "feature_size": 2}
EXIT_SETS = [(0, 1, 3, 5), (0, 1, 2, 3, 4, 5), (5,), (2,), (1, 4), (0, 5)]
every_set = pytest.mark.parametrize("exits", EXIT_SETS, ids=str)
every_family = pytest.mark.parametrize("family", ["pretrain", "split", "concat"])


def layers(names: set[str]) -> set[str]:
    """`stages.2.mask_layer.gru.bias_hh_l0` -> `mask_layer 2`; all of a layer's parameters must be there."""
    return {f"{name.split('.')[2]} {name.split('.')[1]}" for name in names}


def phi(*stages: int) -> set[str]:
    return {f"mask_layer {stage}" for stage in stages}


def star(*stages: int) -> set[str]:
    return {f"feature_layer {stage}" for stage in stages}


def layer(*stages: int) -> set[str]:
    return {f"layer {stage}" for stage in stages}


LAYERWISE = {
    # (family, exits): what trains in each phase
    ("split", (0, 1, 3, 5)): [
        phi(0),
        star(0) | phi(1),
        star(1) | phi(2) | star(2) | phi(3),
        star(3) | phi(4) | star(4) | phi(5),
    ],
    ("concat", (0, 1, 3, 5)): [
        phi(0),
        star(0) | phi(1),
        star(1) | phi(2) | star(2) | phi(3),
        star(3) | phi(4) | star(4) | phi(5),
    ],
    ("concat", (0, 1, 2, 3, 4, 5)): [phi(0)] + [star(k - 1) | phi(k) for k in range(1, 6)],
    ("split", (0, 1, 2, 3, 4, 5)): [phi(0)] + [star(k - 1) | phi(k) for k in range(1, 6)],
    ("concat", (1, 4)): [phi(0, 1) | star(0), star(1, 2, 3) | phi(2, 3, 4)],
    ("split", (2,)): [phi(0, 1, 2) | star(0, 1)],
    ("pretrain", (0, 1, 3, 5)): [layer(0), layer(1), layer(2, 3), layer(4, 5)],
    ("pretrain", (0, 1, 2, 3, 4, 5)): [layer(k) for k in range(6)],
    ("pretrain", (1, 4)): [layer(0, 1), layer(2, 3, 4)],
}


@pytest.mark.parametrize(("family", "exits"), LAYERWISE, ids=str)
def test_a_layerwise_phase_trains_the_path_that_no_earlier_one_did(family: str, exits: Sequence[int]) -> None:
    network = make_network(family, exits, **SIZES)
    phases = layerwise(exits)
    assert [phase.exits for phase in phases] == [(exit,) for exit in exits]
    for phase, expected in zip(phases, LAYERWISE[family, tuple(exits)], strict=True):
        trainable = phase.trainable(network)
        assert layers(trainable) == expected
        # whole layers, weights and biases
        assert trainable == {name for name, _ in network.named_parameters() if layers({name}) <= expected}


@every_family
@every_set
def test_every_parameter_trains_in_exactly_one_layerwise_phase(family: str, exits: Sequence[int]) -> None:
    network = make_network(family, exits, **SIZES)
    trained = [name for phase in layerwise(exits) for name in phase.trainable(network)]
    assert sorted(trained) == sorted(name for name, _ in network.named_parameters())


@every_family
@every_set
def test_no_phase_changes_an_earlier_mask(family: str, exits: Sequence[int]) -> None:
    network = make_network(family, exits, **SIZES)
    for index, phase in enumerate(layerwise(exits)):
        for earlier in exits[:index]:
            assert not phase.trainable(network) & network.path_parameters(earlier)


@every_family
@every_set
def test_joint_is_one_phase_in_which_everything_trains(family: str, exits: Sequence[int]) -> None:
    network = make_network(family, exits, **SIZES)
    (phase,) = joint(exits)
    assert phase.exits == exits
    assert phase.max_epochs == 400
    assert phase.exit_weights == (1.0,) * len(exits)
    assert phase.trainable(network) == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize(
    ("exits", "growing", "caps"),
    [
        ((0, 1, 3, 5), False, [50, 50, 50, 50]),
        ((0, 1, 3, 5), True, [50, 100, 200, 300]),
        ((0, 1, 2, 3, 4, 5), True, [50, 100, 150, 200, 250, 300]),
        ((2, 4), True, [150, 250]),
    ],
)
def test_layerwise_caps_are_those_of_the_paper(exits: Sequence[int], growing: bool, caps: list[int]) -> None:
    assert [phase.max_epochs for phase in layerwise(exits, growing=growing)] == caps
    tenth = [cap // 10 for cap in caps]
    assert [phase.max_epochs for phase in layerwise(exits, max_epochs=5, growing=growing)] == tenth


@every_set
def test_names_of_phases_are_unique(exits: Sequence[int]) -> None:
    names = [phase.name for phase in layerwise(exits)]
    assert len(set(names)) == len(names)
    assert all("/" not in name and " " not in name for name in names)


def test_exit_weights_are_settable_one_each() -> None:
    assert joint((0, 1, 5), exit_weights=[0.5, 1, 2])[0].exit_weights == (0.5, 1, 2)
    with pytest.raises(ValueError, match="2 exit weights for the 3 exits"):
        joint((0, 1, 5), exit_weights=[1, 1])


@pytest.mark.parametrize("exits", [(), (6,), (0, 0), "0135", 3])
def test_impossible_exits_raise(exits: Sequence[int]) -> None:
    for scheme in (joint, layerwise):
        with pytest.raises(InputError, match="exits is"):
            scheme(exits)
