"""Learning rates go where the paper sends them."""

from __future__ import annotations

import pytest
import torch

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.training.schedules import make_schedule


def optimizer(lr: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rate(of: torch.optim.Optimizer) -> float:
    return float(of.param_groups[0]["lr"])


def test_plateau_acts_after_five_bad_epochs_and_again_after_five_more() -> None:
    one = optimizer()
    schedule = make_schedule("plateau", one, total_steps=100)
    schedule.after_epoch(1.0)
    rates = []
    for _ in range(10):
        schedule.after_epoch(1.0)
        rates.append(rate(one))
    assert rates == pytest.approx([1e-3] * 4 + [0.9e-3] * 5 + [0.81e-3])


def test_plateau_counts_anew_after_an_improvement() -> None:
    one = optimizer()
    schedule = make_schedule("plateau", one, total_steps=100)
    for loss in (1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.9, 0.9, 0.9, 0.9):  # four bad ones, twice
        schedule.after_epoch(loss)
    assert rate(one) == 1e-3
    schedule.after_epoch(0.9)
    assert rate(one) == pytest.approx(0.9e-3)


def test_plateau_does_not_move_within_an_epoch() -> None:
    one = optimizer()
    schedule = make_schedule("plateau", one, total_steps=100)
    for _ in range(50):
        schedule.after_step()
    assert rate(one) == 1e-3


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 4000])
def test_one_cycle_peaks_once_and_ends_at_nothing(steps: int) -> None:
    one = optimizer()
    schedule = make_schedule("one_cycle", one, total_steps=steps)
    rates = []
    for _ in range(steps - 1):
        rates.append(rate(one))
        one.step()
        schedule.after_step()
        schedule.after_epoch(1.0)  # has no say
    rates.append(rate(one))
    assert max(rates) <= 1e-3 * (1 + 1e-9)
    assert rates[-1] < 1e-3 * 1e-5 or steps == 1
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert peak <= 500
    if steps > 100:
        assert max(rates) == pytest.approx(1e-3)


@pytest.mark.parametrize("name", ["plateau", "one_cycle"])
def test_a_schedule_goes_on_where_it_was(name: str) -> None:
    def run(epochs: int, one: torch.optim.Optimizer, schedule: object) -> list[float]:
        for _ in range(epochs):
            for _ in range(4):
                one.step()
                schedule.after_step()  # type: ignore[attr-defined]
            schedule.after_epoch(1.0)  # type: ignore[attr-defined]
        return [rate(one)]

    whole = optimizer()
    run(12, whole, make_schedule(name, whole, 60))
    first, second = optimizer(), optimizer()
    before, after = make_schedule(name, first, 60), make_schedule(name, second, 60)
    run(7, first, before)
    second.load_state_dict(first.state_dict())
    after.scheduler.load_state_dict(before.scheduler.state_dict())
    run(5, second, after)
    assert rate(second) == rate(whole)
    assert rate(whole) < 1e-3


def test_an_unknown_schedule_lists_those_there_are() -> None:
    with pytest.raises(InputError, match="no schedule 'cosine': choose one of plateau, one_cycle"):
        make_schedule("cosine", optimizer(), total_steps=10)
