"""Samples that are no audio leave no trace in a stream."""

from __future__ import annotations

import numpy as np
import pytest

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.runtime.at_rate import StreamAtRate
from speechbrain_dynsnet.runtime.model import RuntimeModel
from speechbrain_dynsnet.runtime.stream import Stream
from tests.runtime.streams import cut, run

SECOND = SAMPLE_RATE


@pytest.mark.parametrize("exit", [0, 1, 3, 5])
@pytest.mark.parametrize("start", [30_000, 60_000, 80_000, 100_000])
def test_a_burst_of_nan_is_soon_over(model: RuntimeModel, speech: np.ndarray, exit: int, start: int) -> None:
    spoilt, end = speech.copy(), start + 1600  # 100 ms
    spoilt[start:end:3] = np.nan
    spoilt[start + 1 : end : 3] = np.inf
    spoilt[start + 2 : end : 3] = -1e30
    stream = Stream(model, exit)
    streamed, clean = run(stream, spoilt), run(Stream(model, exit), speech)
    assert np.isfinite(streamed).all()
    np.testing.assert_array_equal(streamed[: start - 512], clean[: start - 512])
    left = np.abs(streamed - clean)[end:]
    assert left[SECOND:].max() < 0.02  # the network remembers for longer than the burst
    assert left[3 * SECOND :].max() < 0.004
    assert stream.stats.bad_samples == 1600


@pytest.mark.parametrize("exit", [1, 5])
def test_a_second_of_nan_is_forgotten_sooner_than_silence(model: RuntimeModel, speech: np.ndarray, exit: int) -> None:
    """The network lacks what it would have heard meanwhile, so that this takes longer than after a short burst."""
    clean = run(Stream(model, exit), speech)
    left: dict[str, list[float]] = {"nan": [], "0": []}
    for start in (30_000, 60_000, 90_000):
        end = start + SECOND
        for value, of_value in left.items():
            spoilt = speech.copy()
            spoilt[start:end] = float(value)
            difference = (run(Stream(model, exit), spoilt) - clean)[end + SECOND :]
            assert value == "0" or np.abs(difference).max() < 0.02
            of_value.append(float(np.square(difference).sum()))
    assert sum(left["nan"]) < sum(left["0"])


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_a_burst_of_nan_at_another_rate_skips_the_network_too(
    model: RuntimeModel, speech: np.ndarray, rate: int
) -> None:
    samples = resample(speech[np.newaxis], SAMPLE_RATE, rate)[0]
    start = 4 * rate
    end, second = start + rate // 10, rate
    spoilt = samples.copy()
    spoilt[start:end] = np.nan
    stream = Stream(model)
    at_rate = StreamAtRate(stream, rate)
    streamed = np.concatenate([*(at_rate.process(chunk) for chunk in cut(spoilt, 0, 3000)), at_rate.flush()])
    clean = StreamAtRate(Stream(model), rate)
    wanted = np.concatenate([clean.process(samples), clean.flush()])
    assert np.isfinite(streamed).all() and at_rate.stats.bad_samples == end - start
    assert stream.stats.bad_samples == pytest.approx(SAMPLE_RATE // 10, abs=2)  # the same time at its own rate
    assert np.abs(streamed - wanted)[end + second :].max() < 1e-3  # silence would leave 3 to 6e-3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_signal_of_nothing_else_gives_finite_samples(model: RuntimeModel, speech: np.ndarray, value: float) -> None:
    stream = Stream(model)
    silent = run(stream, np.full(10_001, value, np.float32))
    assert silent.shape == (10_001,) and not silent.any()
    assert stream.stats.bad_samples == 10_001
    np.testing.assert_array_equal(run(stream, speech[:9999]), run(Stream(model), speech[:9999]))


def test_a_few_bad_samples_do_not_stop_the_denoising(model: RuntimeModel, speech: np.ndarray) -> None:
    spoilt = speech.copy()
    spoilt[::400] = np.nan
    patched = speech.copy()
    patched[::400] = 0
    np.testing.assert_array_equal(run(Stream(model), spoilt), run(Stream(model), patched))
