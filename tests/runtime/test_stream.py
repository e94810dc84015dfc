"""A stream gives the whole signal's result, whatever the chunks, and takes nothing that is no audio."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch

from speechbrain_dynsnet.audio.constants import HOP
from speechbrain_dynsnet.audio.pcm import from_int16, to_int16
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.enhance import enhance
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.runtime.enhancer import Enhancer
from speechbrain_dynsnet.runtime.model import RuntimeModel
from speechbrain_dynsnet.runtime.stream import Stream
from tests.runtime.streams import Clock, run

EXITS = (0, 1, 3, 5)
LATENCY = Stream.latency_samples


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, 20_000).astype(np.float32)


@torch.no_grad()
def with_torch(network: DynamicNsNet2, samples: np.ndarray, exit: int) -> np.ndarray:
    return np.asarray(enhance(network, torch.from_numpy(samples)[None], (exit,))[0][0])


@pytest.mark.parametrize("longest", [1, 100, 256, 700, 20_000])
@pytest.mark.parametrize("exit", EXITS)
def test_any_chunks_give_what_torch_gives_for_the_whole(
    model: RuntimeModel, network: DynamicNsNet2, speech: np.ndarray, exit: int, longest: int
) -> None:
    samples = speech[40_000 : 40_000 + (3000 if longest == 1 else 30_011)]
    streamed = run(Stream(model, exit), samples, seed=longest, longest=longest)
    assert streamed.dtype == np.float32
    np.testing.assert_allclose(streamed, with_torch(network, samples, exit), atol=1e-5)


@pytest.mark.parametrize("exit", EXITS)
def test_int8_equals_the_whole_signal_in_int8(models: dict[str, RuntimeModel], speech: np.ndarray, exit: int) -> None:
    samples = speech[:50_001]
    whole = Enhancer(models["int8"]).enhance(samples[np.newaxis], exit)[0]
    np.testing.assert_allclose(run(Stream(models["int8"], exit), samples), whole, atol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 2, 255, 256, 257, 511, 512, 513, 768, 1000])
def test_short_signals_keep_their_length(
    model: RuntimeModel, network: DynamicNsNet2, noise: np.ndarray, length: int
) -> None:
    stream = Stream(model)
    for chunk in (1, 37, 256, 1024):  # one stream for all: each flush begins anew
        streamed = run(stream, noise[:length], longest=chunk)
        assert len(streamed) == length
        if length:
            np.testing.assert_allclose(streamed, with_torch(network, noise[:length], 5), atol=1e-5)


def test_a_sample_is_out_when_the_511th_after_it_is_in(model: RuntimeModel, noise: np.ndarray) -> None:
    stream = Stream(model, 0)
    given = 0
    for taken in range(1, 3000):
        given += len(stream.process(noise[taken - 1 : taken]))
        assert taken - LATENCY < given <= taken
    assert Stream.latency_ms == 32.0


@pytest.mark.parametrize("sizes", [[256] * 40, [128] * 80, [1] * 999, [1000, 0, 24, 511, 5000]])
def test_a_fixed_delay_gives_as_many_samples_as_it_takes(
    model: RuntimeModel, noise: np.ndarray, sizes: list[int]
) -> None:
    samples = noise[: sum(sizes)]
    delayed = Stream(model, fixed_delay=True)
    chunks = np.split(samples, np.cumsum(sizes)[:-1])
    results = [delayed.process(chunk) for chunk in chunks]
    assert [len(result) for result in results] == sizes
    whole = np.concatenate([*results, delayed.flush()])
    assert not whole[:LATENCY].any()
    np.testing.assert_array_equal(whole[LATENCY:], run(Stream(model), samples))
    assert len(delayed.process(noise[:100])) == 100  # and after the flush it goes on


def test_int16_is_the_float_result_rounded(model: RuntimeModel, speech: np.ndarray) -> None:
    samples = to_int16(speech[:30_000])
    for fixed_delay in (False, True):
        streamed = run(Stream(model, fixed_delay=fixed_delay), samples)
        assert streamed.dtype == np.int16
        floats = run(Stream(model, fixed_delay=fixed_delay), from_int16(samples))
        np.testing.assert_array_equal(streamed, to_int16(floats))


def test_full_scale_int16_never_wraps(model: RuntimeModel) -> None:
    square = np.where(np.arange(20_000) % 20 < 10, 32767, -32768).astype(np.int16)
    unlimited = run(Stream(model, attenuation_limit_db=0), square)
    assert np.abs(unlimited.astype(int) - square).max() <= 1  # a wrap would be a jump of 65536


def test_no_attenuation_leaves_the_signal_as_it_is(model: RuntimeModel, speech: np.ndarray) -> None:
    np.testing.assert_allclose(run(Stream(model, attenuation_limit_db=0), speech), speech, atol=1e-6)


def test_streams_of_one_model_do_not_touch_each_other(model: RuntimeModel, speech: np.ndarray) -> None:
    signals = [speech[start : start + 20 * 999] for start in (0, 30_000, 60_000)]
    streams = [Stream(model, exit) for exit in (1, 3, 5)]
    results: list[list[np.ndarray]] = [[], [], []]
    for position in range(0, 20 * 999, 999):
        for stream, signal, result in zip(streams, signals, results, strict=True):
            result.append(stream.process(signal[position : position + 999]))
    for exit, stream, signal, result in zip((1, 3, 5), streams, signals, results, strict=True):
        np.testing.assert_array_equal(np.concatenate([*result, stream.flush()]), run(Stream(model, exit), signal))


def test_what_was_given_out_stays_as_it_was(model: RuntimeModel, noise: np.ndarray) -> None:
    stream, samples = Stream(model), noise.copy()
    first = stream.process(samples[:5000])
    before = first.copy()
    stream.process(samples[5000:])
    np.testing.assert_array_equal(first, before)
    np.testing.assert_array_equal(samples, noise)


def test_a_reset_forgets_the_signal(model: RuntimeModel, noise: np.ndarray) -> None:
    stream = Stream(model)
    first = run(stream, noise)
    stream.process(noise[:777])
    stream.reset()
    np.testing.assert_array_equal(run(stream, noise), first)
    np.testing.assert_array_equal(run(stream, noise), first)  # a flush does the same


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([0.0, 0.1], "samples are a list: give a numpy array of float32 or int16"),
        (b"\0\0", "samples are a bytes"),
        (np.zeros(9), r"samples are float64: give float32, as by `.astype\(np.float32\)`, or int16"),
        (np.zeros(9, np.int32), "samples are int32"),
        (np.zeros(9, ">i2"), "samples are >i2"),
        (np.zeros((9, 2), np.float32), r"samples have the shape \(9, 2\): give one channel, of shape \(time,\)"),
        (np.float32(1), "samples are a float32"),
        (np.zeros((), np.float32), r"shape \(\)"),
        (np.zeros(9, np.int16), "samples are int16 after float32: flush before you change the type"),
    ],
)
def test_what_is_no_chunk_is_refused_and_leaves_no_trace(
    model: RuntimeModel, noise: np.ndarray, samples: object, message: str
) -> None:
    stream = Stream(model)
    first = stream.process(noise[:1000])
    with pytest.raises(InputError, match=message):
        stream.process(samples)  # type: ignore[arg-type]
    rest = stream.process(noise[1000:])
    np.testing.assert_array_equal(np.concatenate([first, rest, stream.flush()]), run(Stream(model), noise))
    stream.process(np.zeros(9, np.int16))  # after the flush, another type


@pytest.mark.parametrize("limit", [-1.0, np.nan, np.inf])
def test_an_attenuation_limit_out_of_range_is_refused(model: RuntimeModel, limit: float) -> None:
    with pytest.raises(InputError, match="attenuation_limit_db is .*: give decibels of at least 0"):
        Stream(model, attenuation_limit_db=limit)


def test_an_exit_that_is_not_there_is_refused(model: RuntimeModel) -> None:
    with pytest.raises(InputError, match="no exit 2"):
        Stream(model, exit=2)
    stream = Stream(model, 3)
    with pytest.raises(InputError, match="no exit 4"):
        stream.exit = 4
    assert stream.exit == stream.current_exit == 3


def test_chunks_need_not_be_contiguous(model: RuntimeModel, noise: np.ndarray) -> None:
    stereo = np.stack([noise, -noise], axis=1)
    np.testing.assert_array_equal(run(Stream(model), stereo[:, 1]), run(Stream(model), -noise))


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_an_empty_chunk_says_nothing_of_the_type(model: RuntimeModel, noise: np.ndarray, dtype: type) -> None:
    stream = Stream(model, fixed_delay=True)
    empty = stream.process(np.zeros(0, dtype))
    assert len(empty) == 0 and empty.dtype == dtype
    assert stream.process(noise[:300]).dtype == np.float32


@pytest.mark.parametrize("fixed_delay", [False, True])
def test_what_is_stopped_amid_a_chunk_asks_for_a_reset(
    model: RuntimeModel, noise: np.ndarray, fixed_delay: bool
) -> None:
    class Stopping(Clock):
        def __call__(self) -> float:
            if self.frame_s:
                raise KeyboardInterrupt
            return super().__call__()

    clock = Stopping()
    stream = Stream(model, fixed_delay=fixed_delay, clock=clock)
    state = stream.save_state()
    clock.frame_s = 1.0
    with pytest.raises(KeyboardInterrupt):
        stream.process(noise)
    clock.frame_s = 0.0
    uses: list[Callable[[], object]] = [lambda: stream.process(noise), stream.flush, stream.save_state]
    for use in uses:
        with pytest.raises(InputError, match=r"stopped in the middle of a chunk, or another thread uses it: reset\(\)"):
            use()
    stream.reset()
    wanted = run(Stream(model, fixed_delay=fixed_delay), noise)
    np.testing.assert_array_equal(run(stream, noise), wanted)
    stream.load_state(state)
    np.testing.assert_array_equal(run(stream, noise), wanted)


def test_a_fixed_delay_keeps_no_long_chunk(model: RuntimeModel) -> None:
    stream = Stream(model, 0, fixed_delay=True)
    stream.process(np.zeros(20 * 16_000, np.float32))  # 1.3 MB
    tracemalloc.start()
    stream.process(np.zeros(20 * 16_000, np.float32))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget_ms": "2"}, "budget_ms is '2': give milliseconds"),
        ({"attenuation_limit_db": "12"}, "attenuation_limit_db is '12': give decibels"),
        ({"attenuation_limit_db": True}, "attenuation_limit_db is True"),
        ({"exit": "3"}, "no exit 3"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(
    model: RuntimeModel, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Stream(model, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [5, b"model.onnx", ["model.onnx"]])
def test_what_is_no_model_is_refused(model: object) -> None:
    with pytest.raises(InputError, match="model is a .*: give a path, a RuntimeModel, or None"):
        Stream(model)  # type: ignore[arg-type]


def test_statistics_count_frames(model: RuntimeModel, noise: np.ndarray) -> None:
    stream = Stream(model, 1)
    stream.process(noise[: 10 * HOP])
    stream.exit = 3
    stream.process(noise[: 5 * HOP])
    stats = stream.stats
    assert (stats.frames, stats.frames_by_exit, stats.switches) == (15, {0: 0, 1: 10, 3: 5, 5: 0}, 1)
    assert 0 < stats.mean_ms <= stats.max_ms and stats.real_time_factor == pytest.approx(stats.mean_ms / 16)
    assert (stats.late, stats.bad_samples) == (0, 0)
