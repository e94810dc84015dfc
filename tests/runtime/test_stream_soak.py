"""An hour of the worst input leaves a stream as bounded, as small and as fast as it began."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.runtime.model import RuntimeModel
from speechbrain_dynsnet.runtime.stream import Stream

MINUTE = 60 * SAMPLE_RATE


def minutes(speech: np.ndarray) -> list[np.ndarray]:
    """Silence, clipped noise, speech, the least there is, and noise full of NaN, a minute each."""
    noise = np.random.default_rng(0).normal(0, 1, MINUTE).astype(np.float32)
    spoilt = noise.copy()
    spoilt[:: SAMPLE_RATE // 7] = np.nan
    denormal = np.full(MINUTE, 1e-40, np.float32)
    return [np.zeros(MINUTE, np.float32), np.clip(9 * noise, -1, 1), np.resize(speech, MINUTE), denormal, spoilt]


def resident_mb() -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1000


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the memory from Linux")
@pytest.mark.parametrize(("precision", "exit"), [("int8", 0), ("int8", 1), ("int8", 3), ("int8", 5), ("fp32", 5)])
def test_an_hour_of_anything(models: dict[str, RuntimeModel], speech: np.ndarray, precision: str, exit: int) -> None:
    stream = Stream(models[precision], exit)
    inputs = minutes(speech)
    sizes_mb = []
    for minute in range(60):
        output = stream.process(inputs[minute % len(inputs)])
        assert np.isfinite(output).all() and np.abs(output).max() < 4
        for state in stream.save_state().network:
            assert np.isfinite(state).all() and np.abs(state).max() <= 1 + 1e-6
        sizes_mb.append(resident_mb())
    assert max(sizes_mb[-20:]) - max(sizes_mb[5:20]) < 2  # 10 bytes a frame
    assert stream.stats.frames == 60 * MINUTE // 256


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_hour_of_silence_does_not_get_slower(
    models: dict[str, RuntimeModel], speech: np.ndarray, precision: str
) -> None:
    """States that decay towards zero could end as denormal numbers, which processors are slow at."""
    stream = Stream(models[precision])
    stream.process(speech)
    silence = np.zeros(SAMPLE_RATE, np.float32)
    seconds = []
    for _ in range(3600):
        start = time.perf_counter()
        output = stream.process(silence)
        seconds.append(time.perf_counter() - start)
    assert not output.any()
    smallest = np.finfo(np.float32).tiny
    for state in stream.save_state().network:
        assert not ((state != 0) & (np.abs(state) < smallest)).any()
    assert np.min(seconds[-600:]) < 1.5 * np.min(seconds[:600])
