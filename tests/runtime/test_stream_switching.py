"""Changing the exit makes no click, and no gain falls below the limit."""

from __future__ import annotations

import numpy as np
import pytest

from speechbrain_dynsnet.audio.constants import BINS, HOP, SAMPLE_RATE
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


class Unfaded(MaskFade):
    """Switches at once."""

    def start(self, last: np.ndarray) -> None:
        pass


def switching(model: RuntimeModel, samples: np.ndarray, every: int, fade: MaskFade) -> np.ndarray:
    """Of whole hops, with the exit 0 and 5 in turn, so many hops each."""
    stream, result = Stream(model, 0), []
    stream._fade = fade
    for number, hop in enumerate(samples.reshape(-1, HOP)):
        stream.exit = (0, 5)[number // every % 2]
        result.append(stream.process(hop))
    return np.concatenate([*result, stream.flush()])


@pytest.mark.parametrize("bin", [14, 32, 96])
def test_the_gain_of_a_steady_tone_steps_by_a_quarter(model: RuntimeModel, bin: int) -> None:
    """Seen in the output, from one window to the next; without the fade it steps by more than half of the way."""
    samples = (0.1 * np.sin(2 * np.pi * bin / 512 * np.arange(180 * HOP))).astype(np.float32)

    def gains(output: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(output, 512)[::HOP] * np.hanning(513)[:-1]
        heard = np.abs(np.fft.rfft(windows)[:, bin])
        return heard[40:-4] / (0.1 * 512 / 4)

    ends = [np.median(gains(run(Stream(model, exit), samples))) for exit in (0, 5)]
    way = abs(ends[1] - ends[0])
    bound = way / 4 + 0.02
    assert np.abs(np.diff(gains(switching(model, samples, 25, MaskFade())))).max() < bound
    assert np.abs(np.diff(gains(switching(model, samples, 25, Unfaded())))).max() > max(bound, way / 2)


def test_speech_goes_over_from_exit_to_exit_in_steps(model: RuntimeModel, speech: np.ndarray) -> None:
    """How far the output has gone from that of exit 0 to that of exit 5, in windows of a hop: it moves by about a
    quarter in a hop, and by most of the way when nothing fades.
    """
    samples, every = speech[: len(speech) // HOP * HOP], 6
    shallow, deep = (run(Stream(model, exit), samples) for exit in (0, 5))

    def windows(signal: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(signal, HOP)[:: HOP // 2] * np.hanning(HOP + 1)[:-1]

    path = windows(deep - shallow)
    length = np.sum(path**2, axis=1)

    def typical_step(fade: MaskFade) -> float:
        gone = np.sum(windows(switching(model, samples, every, fade) - shallow) * path, axis=1) / (length + 1e-12)
        steps = np.abs(gone[2:] - gone[:-2])
        is_clear = (np.minimum(length[2:], length[:-2])) > np.median(length)  # where the two exits differ
        around = [slice(2 * hop - 4, 2 * hop + 10) for hop in range(every, len(samples) // HOP - 8, every)]
        largest = [steps[place][is_clear[place]].max() for place in around if is_clear[place].sum() > 8]
        assert len(largest) > 20
        return float(np.median(largest))

    assert typical_step(MaskFade()) < 0.45
    assert typical_step(Unfaded()) > 0.7


def test_a_switch_down_never_runs_deep_stages(model: RuntimeModel, speech: np.ndarray) -> None:
    stream = Stream(model, 5)
    stream.process(speech[: 20 * HOP])
    deep = stream.save_state().network
    stream.exit = 0
    stream.process(speech[20 * HOP : 30 * HOP])
    for before, after in zip(deep, stream.save_state().network, strict=True):
        np.testing.assert_array_equal(before, after)
