"""Changing the exit makes no click, bad samples leave no trace, and a saved stream goes on exactly."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np
import pytest

from speechbrain_dynsnet.audio.constants import BINS, HOP, SAMPLE_RATE
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.fade import FADE_FRAMES, MaskFade
from speechbrain_dynsnet.runtime.model import RuntimeModel
from speechbrain_dynsnet.runtime.stream import Stream
from tests.runtime.streams import run

SECOND = SAMPLE_RATE


def tone() -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * 440 * np.arange(3 * SECOND) / SAMPLE_RATE)).astype(np.float32)


class Watched(Stream):
    """Keeps the mask of every frame: the network's, and the one emitted."""

    def __init__(self, model: RuntimeModel, exit: int, attenuation_limit_db: float | None = None) -> None:
        super().__init__(model, exit, attenuation_limit_db)
        self.fresh: list[np.ndarray] = []
        self.emitted: list[np.ndarray] = []
        self._run, self._synthesise = self._runner.run, self._stft.synthesise
        self._runner.run = self._keep_fresh  # type: ignore[method-assign]
        self._stft.synthesise = self._keep_emitted  # type: ignore[method-assign]

    def _keep_fresh(self, features: np.ndarray, exit: int) -> np.ndarray:
        mask = self._run(features, exit)
        self.fresh.append(mask.copy())
        return mask

    def _keep_emitted(self, mask: np.ndarray, out: np.ndarray) -> None:
        self.emitted.append(mask.copy())
        self._synthesise(mask, out)


def test_a_fade_holds_the_old_mask_and_lets_the_new_one_in() -> None:
    fade, old, new = MaskFade(), np.full(BINS, 0.2, np.float32), np.full(BINS, 1.0, np.float32)
    emitted = []
    fade.start(old)
    for _ in range(6):
        mask = new.copy()
        fade.apply(mask)
        emitted.append(mask[0])
    np.testing.assert_allclose(emitted, [0.4, 0.6, 0.8, 1.0, 1.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("limit_db", [6.0, 20.0])
def test_the_attenuation_limit_is_a_floor_of_every_gain(
    model: RuntimeModel, speech: np.ndarray, limit_db: float
) -> None:
    stream = Watched(model, 5, limit_db)
    run(stream, speech)
    fresh, emitted, floor = np.stack(stream.fresh), np.stack(stream.emitted), 10 ** (-limit_db / 20)
    assert fresh.min() < floor / 2 < emitted.min()
    np.testing.assert_allclose(emitted, np.maximum(fresh, floor), rtol=1e-6)


@pytest.mark.parametrize("signal", ["tone", "speech"])
@pytest.mark.parametrize("every", [1, 2, 3, 7, 25])
def test_no_gain_jumps_at_a_switch(model: RuntimeModel, speech: np.ndarray, signal: str, every: int) -> None:
    samples = tone() if signal == "tone" else speech[: 3 * SECOND]
    random = np.random.default_rng(every)
    stream = Watched(model, 5)
    switched, exits = [], []
    for number, hop in enumerate(samples[: len(samples) // HOP * HOP].reshape(-1, HOP)):
        if number % every == 0:
            stream.exit = int(random.choice(model.exits))
        exits.append(stream.exit)
        switched.append(number > 0 and exits[-1] != exits[-2])
        stream.process(hop)
    assert sum(switched) > 3
    held, since = None, FADE_FRAMES
    for t in range(1, len(exits)):
        fresh, before, emitted, last = (
            stream.fresh[t],
            stream.fresh[t - 1],
            stream.emitted[t],
            stream.emitted[t - 1],
        )
        if switched[t]:
            held, since = last, 0
        since += 1
        if since > FADE_FRAMES:
            np.testing.assert_array_equal(emitted, fresh)
            continue
        own_step = np.zeros_like(fresh) if since == 1 else np.abs(fresh - before)
        bound = np.abs(fresh - held) / 4 + 0.75 * own_step
        assert (np.abs(emitted - last) <= bound + 1e-6).all()
        assert (np.abs(emitted - last) <= 0.25 + 0.75 * own_step + 1e-6).all()


def test_a_switch_on_a_steady_tone_makes_no_click(model: RuntimeModel) -> None:
    """The spectrum of a click is flat: look well away from the tone."""

    def loudest_elsewhere(exits: tuple[int, int]) -> float:
        stream = Stream(model, exits[0])
        first = stream.process(samples[: 2 * SECOND])
        stream.exit = exits[1]
        result = np.concatenate([first, stream.process(samples[2 * SECOND :]), stream.flush()])
        middle = result[2 * SECOND - 2048 : 2 * SECOND + 2048]
        frames = np.lib.stride_tricks.sliding_window_view(middle, 512)[::64] * np.hanning(512)
        return float(np.abs(np.fft.rfft(frames))[:, 60:].max())  # above 1.9 kHz

    samples = tone()
    steady = max(loudest_elsewhere((exit, exit)) for exit in model.exits)
    loudest = np.abs(np.fft.rfft(samples[:512] * np.hanning(512))).max()
    for exits in [(0, 5), (5, 0), (1, 3), (3, 1)]:
        assert loudest_elsewhere(exits) < steady + 1e-3 * loudest, exits


def test_a_switch_down_never_runs_deep_stages(model: RuntimeModel, speech: np.ndarray) -> None:
    stream = Stream(model, 5)
    stream.process(speech[: 20 * HOP])
    deep = stream.save_state().network
    stream.exit = 0
    stream.process(speech[20 * HOP : 30 * HOP])
    for before, after in zip(deep, stream.save_state().network, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("exit", [0, 1, 3, 5])
@pytest.mark.parametrize("start", [30_000, 60_000, 100_000])
def test_a_burst_of_nan_is_over_within_a_second(model: RuntimeModel, speech: np.ndarray, exit: int, start: int) -> None:
    spoilt, end = speech.copy(), start + 1600  # 100 ms
    spoilt[start:end:3] = np.nan
    spoilt[start + 1 : end : 3] = np.inf
    spoilt[start + 2 : end : 3] = -1e30
    stream = Stream(model, exit)
    streamed, clean = run(stream, spoilt), run(Stream(model, exit), speech)
    assert np.isfinite(streamed).all()
    np.testing.assert_array_equal(streamed[: start - 512], clean[: start - 512])
    assert np.abs(streamed - clean)[end + SECOND :].max() < 3e-3  # 50 dB below full scale
    assert stream.stats.bad_samples == 1600


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
