"""The governor keeps frames within the hop under any load it promises to, and does not flap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.governor import FRAME_OVERHEAD_MACS, HOP_MS, Governor
from speechbrain_dynsnet.runtime.model import RuntimeModel
from speechbrain_dynsnet.runtime.stream import Stream
from tests.runtime.streams import Clock

MACS = {0: 66_000, 1: 594_000, 3: 1_583_000, 5: 1_878_000}  # the shipped model's
DEEPEST = 5
MINUTE = 3750  # frames
Load = Callable[[int], float]  # from the number of a frame to the milliseconds of the deepest exit


@dataclass
class Machine:
    """Runs frames under a load. Its costs follow the MACs and an overhead, not always the governor's."""

    load: Load
    budget_ms: float = 2.0
    overhead: int = FRAME_OVERHEAD_MACS
    exits: list[int] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.governor = Governor(MACS, self.budget_ms, DEEPEST)

    def time_ms(self, exit: int, frame: int) -> float:
        return self.load(frame) * (MACS[exit] + self.overhead) / (MACS[DEEPEST] + self.overhead)

    def run(self, frames: int) -> Machine:
        for frame in range(len(self.exits), len(self.exits) + frames):
            self.exits.append(self.governor.exit)
            self.times_ms.append(self.time_ms(self.governor.exit, frame))
            self.governor.update(self.times_ms[-1])
        return self

    def switches(self, since: int = 0) -> int:
        return sum(a != b for a, b in zip(self.exits[since:], self.exits[since + 1 :], strict=False))

    @property
    def late(self) -> int:
        return sum(time > self.budget_ms for time in self.times_ms)

    @property
    def overruns(self) -> int:
        return sum(time > HOP_MS for time in self.times_ms)


def test_a_machine_with_time_to_spare_runs_the_deepest_exit() -> None:
    machine = Machine(lambda frame: 0.1).run(MINUTE)
    assert set(machine.exits) == {DEEPEST}


def test_a_late_frame_leads_down_at_once_to_what_fits() -> None:
    for load in np.geomspace(0.1, 40, 60):
        machine = Machine(lambda frame, load=load: load).run(2)
        fitting = [exit for exit in MACS if machine.time_ms(exit, 0) <= 0.8 * 2.0]
        wanted = DEEPEST if load <= 2.0 else max(fitting, default=0)
        assert machine.exits == [DEEPEST, wanted], load


@pytest.mark.parametrize("load", np.geomspace(0.2, 30, 25))
def test_a_constant_load_settles(load: float) -> None:
    """However near a boundary it is, the exits are left at most for one trial a hold, which grows to 30 s."""
    machine = Machine(lambda frame: load).run(5 * MINUTE)
    assert machine.late <= 1 or machine.time_ms(0, 0) > 2.0
    assert machine.switches() <= 1 + len(MACS)
    assert machine.switches(since=MINUTE) == 0


@pytest.mark.parametrize("high", [3.0, 8.0, 15.0])
def test_a_load_that_goes_again_leaves_the_deepest_exit(high: float) -> None:
    machine = Machine(lambda frame: high if 500 <= frame < 1500 else 0.5).run(1500 + 62 * 4)
    assert machine.exits[600] < DEEPEST and machine.exits[-1] == DEEPEST
    climbs = [frame for frame in range(1500, len(machine.exits)) if machine.exits[frame] > machine.exits[frame - 1]]
    assert all(later - earlier >= 62 for earlier, later in zip(climbs, climbs[1:], strict=False))  # an exit a second


@pytest.mark.parametrize("budget_ms", [1.0, 2.0, 5.0, 10.0])
@pytest.mark.parametrize("seed", range(6))
def test_no_overrun_while_loads_jump_by_less_than_promised(budget_ms: float, seed: int) -> None:
    """Steps, noise and spikes up to the stated factor between frames, with the first exit always fitting."""
    random = np.random.default_rng(seed)
    jump = 0.98 * HOP_MS / budget_ms
    first_share = (MACS[0] + FRAME_OVERHEAD_MACS) / (MACS[DEEPEST] + FRAME_OVERHEAD_MACS)
    most = budget_ms / first_share  # that the first exit fits
    loads = [target] = [0.3 * budget_ms]
    while len(loads) < 2 * MINUTE:
        if random.random() < 0.005:
            target = budget_ms * np.exp(random.uniform(-1.5, 1.5))
        wanted = target * np.exp(random.normal(0, 0.1)) * (jump if random.random() < 0.005 else 1)
        loads.append(float(min(wanted, jump * loads[-1], most)))
    machine = Machine(loads.__getitem__, budget_ms).run(len(loads))
    assert machine.overruns == 0
    assert machine.late >= 3 and len(set(machine.exits)) >= 3  # the loads do ask for something


def test_a_slow_drift_costs_a_late_frame_an_exit_and_no_overrun() -> None:
    machine = Machine(lambda frame: 0.5 * np.exp(frame / MINUTE)).run(int(2.9 * MINUTE))  # to 9 ms
    assert machine.overruns == 0 and machine.exits[-1] == 0
    assert machine.late == machine.switches() == len(set(machine.exits)) - 1


@pytest.mark.parametrize("boundary", [0.7, 0.8, 0.9, 1.0, 1.1])
@pytest.mark.parametrize("noise", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("overhead", [0, FRAME_OVERHEAD_MACS, 1_500_000])
def test_no_flapping_at_a_noisy_load_near_the_boundary(boundary: float, noise: float, overhead: int) -> None:
    """On machines too whose times follow the MACs otherwise than the governor thinks."""
    noisy = np.exp(np.random.default_rng(0).normal(0, noise, 5 * MINUTE)) * boundary * 2.0
    machine = Machine(noisy.__getitem__, overhead=overhead).run(len(noisy))
    assert machine.switches(since=MINUTE) / 4 <= 20  # a minute


def test_rare_spikes_cost_a_few_seconds_each() -> None:
    machine = Machine(lambda frame: 5.0 if frame % MINUTE == 1000 else 0.1).run(10 * MINUTE)
    assert machine.late == 10 and machine.overruns == 0
    assert np.mean(np.array(machine.exits) == DEEPEST) > 0.9


def test_frequent_spikes_end_the_climbing() -> None:
    machine = Machine(lambda frame: 15.0 if frame % 90 == 0 else 1.2).run(5 * MINUTE)
    assert machine.switches(since=MINUTE) / 4 <= 10  # a minute


def test_failed_climbs_are_forgiven_after_a_good_stretch() -> None:
    machine = Machine(lambda frame: 15.0 if frame % 90 == 0 and frame < MINUTE else 0.5).run(4 * MINUTE)
    assert machine.exits[-1] == DEEPEST
    machine.load = lambda frame: 15.0 if frame == 4 * MINUTE else 0.5
    machine.run(63 * len(MACS))
    assert machine.exits[-1] == DEEPEST  # the hold is a second again


def test_the_ceiling_is_never_passed_and_can_be_raised() -> None:
    machine = Machine(lambda frame: 0.5)
    machine.governor.ceiling = 1
    machine.run(300)
    assert set(machine.exits) == {1}
    machine.governor.ceiling = 3
    assert machine.governor.exit == 3  # it fits, as far as one knows
    machine.governor.ceiling = 0
    assert machine.governor.exit == 0


def test_a_raised_ceiling_does_not_pass_what_fits() -> None:
    machine = Machine(lambda frame: 4.0)  # exit 1 takes 1.75 ms of the 2
    machine.governor.ceiling = 1
    machine.run(300)
    machine.governor.ceiling = DEEPEST
    assert machine.governor.exit == 1
    machine.run(300)
    assert machine.late == 0


@pytest.mark.parametrize("budget_ms", [0.0, -1.0, np.nan, np.inf, 16.1])
def test_a_budget_out_of_range_is_refused(budget_ms: float) -> None:
    with pytest.raises(InputError, match="budget_ms is .*: give milliseconds above 0, at most the 16 of a frame"):
        Governor(MACS, budget_ms, DEEPEST)


def test_a_stream_on_a_slow_machine_goes_down_and_comes_back(model: RuntimeModel, speech: np.ndarray) -> None:
    clock = Clock()
    stream = Stream(model, budget_ms=2.0, clock=clock)
    clock.frame_s = 0.003
    stream.process(speech[:256])
    assert stream.exit == 5 and stream.current_exit < 5
    clock.frame_s = 0.0001
    stream.process(speech)
    assert stream.current_exit == 5
    stats = stream.stats
    assert stats.switches >= 2 and stats.late == 1 and stats.overruns == 0
    assert stats.frames == sum(stats.frames_by_exit.values()) == 1 + len(speech) // 256
    assert stats.max_ms == pytest.approx(3)


def test_a_budget_changes_nothing_while_it_is_kept(model: RuntimeModel, speech: np.ndarray) -> None:
    clock = Clock()
    clock.frame_s = 0.0001
    governed = Stream(model, budget_ms=2.0, clock=clock).process(speech)
    np.testing.assert_array_equal(governed, Stream(model).process(speech))
