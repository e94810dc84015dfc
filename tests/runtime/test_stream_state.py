"""A saved stream goes on exactly, and what no stream saved is refused."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from speechbrain_dynsnet.audio.constants import HOP
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.model import RuntimeModel
from speechbrain_dynsnet.runtime.stream import Stream


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("fixed_delay", [False, True])
@pytest.mark.parametrize("position", [0, 100, 256, 20_000, 20 * HOP + 2 * HOP])
def test_a_saved_stream_goes_on_exactly(
    model: RuntimeModel, speech: np.ndarray, dtype: type, fixed_delay: bool, position: int
) -> None:
    samples = speech if dtype == np.float32 else (speech * 32767).astype(np.int16)
    stream = Stream(model, 1, fixed_delay=fixed_delay)
    stream.process(samples[: min(position, 20 * HOP)])
    stream.exit = 5  # at one of the positions the fade is on its way
    stream.process(samples[min(position, 20 * HOP) : position])
    state = pickle.loads(pickle.dumps(stream.save_state()))
    expected = [stream.process(samples[position : position + 9000]), stream.flush()]
    other = Stream(model, 5, fixed_delay=fixed_delay)
    other.process(samples[:3333])
    for _ in range(2):  # a state can be loaded twice
        other.load_state(state)
        for result, wanted in zip(
            [other.process(samples[position : position + 9000]), other.flush()], expected, strict=True
        ):
            assert result.dtype == wanted.dtype
            np.testing.assert_array_equal(result, wanted)


def test_a_stream_saved_amid_bad_samples_goes_on_exactly(model: RuntimeModel, speech: np.ndarray) -> None:
    spoilt, border = speech.copy(), 78 * HOP
    spoilt[border - 200 : border + 100] = np.nan  # only with both its hops is the frame beyond use
    stream, other = Stream(model), Stream(model)
    stream.process(spoilt[: border + 10])
    other.load_state(stream.save_state())
    rest = spoilt[border + 10 :]
    np.testing.assert_array_equal(other.process(rest), stream.process(rest))


def test_a_saved_state_does_not_change(model: RuntimeModel, speech: np.ndarray) -> None:
    stream = Stream(model, fixed_delay=True)
    stream.process(speech[:5001])
    state = stream.save_state()
    before = pickle.dumps(state)
    stream.exit = 1
    stream.process(speech[5001:20_000])
    assert pickle.dumps(state) == before
    assert len(fields(state)) > 10


def test_a_state_of_another_model_is_refused(models: dict[str, RuntimeModel], speech: np.ndarray) -> None:
    state = Stream(models["fp32"]).save_state()
    with pytest.raises(InputError, match="the state is not of this model") as error:
        Stream(models["int8"]).load_state(state)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="the state is not of this model"):
        Stream(models["int8"]).load_state({"pending": 1})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a stream with fixed_delay=False; make this one so too"):
        Stream(models["fp32"], fixed_delay=True).load_state(state)


BAD = np.full(256, np.nan, np.float32)


@pytest.mark.parametrize(
    "change",
    [
        {"pending": np.zeros(HOP, np.float32)},
        {"pending": np.zeros(3)},
        {"history": BAD},
        {"overlap": np.zeros(257, np.float32)},
        {"mask": np.zeros(257)},
        {"held": None},
        {"network": ()},
        {"dtype": "float64"},
        {"last_exit": 2},
        {"fade_frame": 9},
        {"bad_before": -1},
        {"started": None},
    ],
)
def test_a_damaged_state_is_refused_and_leaves_no_trace(
    model: RuntimeModel, speech: np.ndarray, change: dict[str, Any]
) -> None:
    stream, other = Stream(model), Stream(model)
    for one in (stream, other):
        one.process(speech[:5001])
    state = stream.save_state()
    network_of_nan = tuple(np.full_like(array, np.nan) for array in state.network)
    for damaged in (replace(state, **change), replace(state, network=network_of_nan)):
        with pytest.raises(InputError, match="the state is damaged: .*; save it again"):
            other.load_state(damaged)
    np.testing.assert_array_equal(other.process(speech[5001:]), stream.process(speech[5001:]))


def test_states_compare_by_identity(model: RuntimeModel) -> None:
    stream = Stream(model)
    state = stream.save_state()
    assert state == state and state != stream.save_state()
