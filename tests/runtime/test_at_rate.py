"""A stream at another rate: its delay holds for any chunks, and is no longer than it must be."""

from __future__ import annotations

import numpy as np
import pytest

from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime import RuntimeModel, Stream, StreamAtRate
from tests.runtime.streams import cut


@pytest.mark.parametrize("rate", [4000, 8000, 22050, 44100, 48000, 384000])
def test_a_fixed_delay_is_the_signal_that_much_later(model: RuntimeModel, rate: int) -> None:
    """With nothing to suppress, all that went in comes out: what the filters take away is given back."""
    samples = np.random.default_rng(0).normal(0, 0.1, 2 * rate).astype(np.float32)
    stream = StreamAtRate(Stream(model, 0, attenuation_limit_db=0), rate, fixed_delay=True)
    for seed in range(2):  # a flush begins anew
        out = []
        for chunk in cut(samples, seed, rate // 50):
            out.append(stream.process(chunk))
            assert len(out[-1]) == len(chunk)
        out.append(stream.flush())
        assert len(out[-1]) == stream.latency_samples
        delayed = np.concatenate(out)
        assert not delayed[: stream.latency_samples].any()
        np.testing.assert_allclose(delayed[stream.latency_samples :], samples, atol=1e-6)


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize(("high_band", "share"), [("follow", 0.1), ("drop", 0.0), ("keep", 1.0)])
def test_what_is_above_8_khz(model: RuntimeModel, rate: int, high_band: str, share: float) -> None:
    """The model has the white noise down to its limit of 20 dB at once; a tone above it does as it should."""
    time = np.arange(rate) / rate
    tone = 0.1 * np.sin(2 * np.pi * 12000 * time)
    noise = resample(np.random.default_rng(0).normal(0, 0.1, (1, 16000)).astype(np.float32), 16000, rate)[0]
    stream = StreamAtRate(Stream(model, attenuation_limit_db=20), rate, high_band=high_band)
    out = np.concatenate([stream.process((tone + noise).astype(np.float32)), stream.flush()])
    later = slice(rate // 2, rate * 9 // 10)
    level = 2 * np.abs(np.mean(out[later] * np.exp(-2j * np.pi * 12000 * time[later])))
    assert level == pytest.approx(0.1 * share, abs=0.004)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_the_latency_is_what_it_comes_to(model: RuntimeModel, rate: int) -> None:
    stream = StreamAtRate(Stream(model, 0), rate)
    given = longest = 0
    for taken in range(16, 10 * rate, 16):
        given += len(stream.process(np.zeros(16, np.float32)))
        longest = max(longest, taken - given)
    assert stream.latency_samples - 20 <= longest <= stream.latency_samples  # in steps of 16
    assert stream.latency_ms == 1000 * stream.latency_samples / rate
    assert stream.latency_ms < 46 if rate < 16000 else stream.latency_ms < 39


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (16000, "rate is 16000: give whole Hz from 4000 to 384000; a Stream is for 16000"),
        (3999, "rate is 3999: give whole Hz"),
        (48000.0, "rate is 48000.0: give whole Hz"),
    ],
)
def test_a_rate_that_cannot_be_is_named(model: RuntimeModel, rate: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        StreamAtRate(Stream(model), rate)


def test_a_way_that_is_none_is_named(model: RuntimeModel) -> None:
    with pytest.raises(InputError, match="high_band is 'up': choose one of follow, drop, keep"):
        StreamAtRate(Stream(model), 48000, high_band="up")


def test_a_stream_that_cannot_be_inside_is_named(model: RuntimeModel) -> None:
    with pytest.raises(InputError, match="ask the outer one for it, fixed_delay=True"):
        StreamAtRate(Stream(model, fixed_delay=True), 48000)
    stream = Stream(model)
    stream.process(np.zeros(9, np.float32))
    with pytest.raises(InputError, match="is in use: give one that has not begun"):
        StreamAtRate(stream, 48000)
    stream.flush()
    StreamAtRate(stream, 48000)
    with pytest.raises(InputError, match="is in use"):
        StreamAtRate(stream, 8000)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_bad_sample_is_0_and_nothing_else_changes(model: RuntimeModel, rate: int, offset: int) -> None:
    samples = (0.5 * np.cos(2 * np.pi * 200 * np.arange(rate) / rate)).astype(np.float32)
    samples[rate // 2 + offset] = np.nan
    stream = StreamAtRate(Stream(model, 0, attenuation_limit_db=0), rate)
    out = np.concatenate([stream.process(samples), stream.flush()])
    np.testing.assert_allclose(out, np.nan_to_num(samples), atol=1e-6)
    assert stream.stats.bad_samples == 1


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_a_hole_of_bad_samples_is_not_heard_as_silence(model: RuntimeModel, rate: int) -> None:
    """The frames that are half bad or more do not reach the network, at any rate."""
    seen = []
    stream = Stream(model)
    inside = StreamAtRate(stream, rate)
    run = stream._runner.run
    stream._runner.run = lambda features, exit: seen.append(None) or run(features, exit)  # type: ignore[method-assign,func-returns-value]
    samples = np.full(rate, 0.1, np.float32)
    samples[rate // 4 : rate // 2] = np.inf
    inside.process(samples)
    inside.flush()
    frames = 16000 // 256 + 2
    assert frames - len(seen) == pytest.approx(4000 / 256, abs=1.5)
    assert inside.stats.bad_samples == rate // 2 - rate // 4


def test_what_was_stopped_in_the_middle_begins_anew(model: RuntimeModel) -> None:
    inner = Stream(model)
    stream = StreamAtRate(inner, 48000)
    samples = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    wanted = np.concatenate([stream.process(samples), stream.flush()])
    run = inner._runner.run

    def stop(features: np.ndarray, exit: int) -> np.ndarray:
        raise KeyboardInterrupt

    stream.process(samples[:999])
    inner._runner.run = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stream.process(samples)
    inner._runner.run = run  # type: ignore[method-assign]
    for again in (lambda: stream.process(samples), stream.flush):
        with pytest.raises(InputError, match=r"reset\(\) it"):
            again()
    stream.reset()
    np.testing.assert_array_equal(np.concatenate([stream.process(samples), stream.flush()]), wanted)


def test_a_long_chunk_is_as_many_short_ones(model: RuntimeModel) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 3 * 44100).astype(np.float32)
    stream = StreamAtRate(Stream(model), 44100)
    whole = np.concatenate([stream.process(samples), stream.flush()])
    short = [stream.process(chunk) for chunk in np.split(samples, range(441, len(samples), 441))]
    np.testing.assert_allclose(np.concatenate([*short, stream.flush()]), whole, atol=1e-6)


@pytest.mark.parametrize("samples", [[0.0], np.zeros(9), np.zeros(9, np.int16), np.zeros((1, 9), np.float32)])
def test_other_samples_are_refused_and_change_nothing(model: RuntimeModel, samples: object) -> None:
    stream = StreamAtRate(Stream(model), 48000)
    with pytest.raises(InputError, match="no numpy array of float32 and of shape"):
        stream.process(samples)  # type: ignore[arg-type]
    assert not len(stream.flush())
