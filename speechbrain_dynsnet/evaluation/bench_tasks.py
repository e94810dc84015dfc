"""What `dynsnet bench` times: the next frame, the next chunk of a stream, and whole clips through all systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np

from speechbrain_dynsnet.audio.constants import HOP, SAMPLE_RATE
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.audio.stft import log_power, stft
from speechbrain_dynsnet.evaluation.complexity import ExitCost
from speechbrain_dynsnet.evaluation.engines import PRECISIONS, Array, Engine
from speechbrain_dynsnet.evaluation.floor import GemvFloor
from speechbrain_dynsnet.evaluation.peers import RNNOISE_RATE, RnNoise, open_peer

STREAMS = {engine: f"{engine}_stream" for engine in PRECISIONS}  # what the stream of an engine is called
FLOORS = ("floor_cached", "floor_uncached")
PEERS = ("nsnet2", "rnnoise", "rnnoise_48khz")  # the last without the resampling that the one before needs
_CLIPS = 3

Task = tuple[str, int | None]  # an engine, its stream, a floor or a peer; and an exit, which peers have not
Run = Callable[[], object]


def frame_tasks(engines: Sequence[Engine], costs: Sequence[ExitCost]) -> dict[Task, Run]:
    """The next frame of each engine, features to mask; the next 256 samples of each stream; and the floors."""
    noisy = make_noise(1)
    features = np.ascontiguousarray(log_power(stft(noisy))[0])
    floor = GemvFloor(max(cost.weight_bytes for cost in costs))
    tasks: dict[Task, Run] = {}
    for engine in engines:
        tasks[engine.name, engine.exit] = _in_turn(engine.open_frames(), list(features))
    for engine in engines:
        if engine.name in STREAMS:
            chunks = list(noisy[0, : noisy.shape[-1] // HOP * HOP].reshape(-1, HOP))
            tasks[STREAMS[engine.name], engine.exit] = _in_turn(engine.open_stream().process, chunks)
    for cost in costs:
        tasks[FLOORS[0], cost.exit] = floor.cached(cost.weight_bytes)
        tasks[FLOORS[1], cost.exit] = floor.uncached(cost.weight_bytes)
    return tasks


def file_tasks(engines: Sequence[Engine], peers: Sequence[str], seconds: int) -> dict[Task, Run]:
    """The next of a few clips, whole: by each engine at once, by its stream chunk by chunk, and by each peer."""
    clips = [make_noise(seconds, seed) for seed in range(_CLIPS)]
    tasks: dict[Task, Run] = {}
    for engine in engines:
        tasks[engine.name, engine.exit] = _in_turn(engine.open_files(), clips)
    for engine in engines:
        if engine.name in STREAMS:
            tasks[STREAMS[engine.name], engine.exit] = _in_turn(_through_stream(engine), clips)
    for name in peers:
        denoise = open_peer(name)
        tasks[name, None] = _in_turn(denoise, [clip[0] for clip in clips])
        if isinstance(denoise, RnNoise):
            own_rate = [resample(clip, SAMPLE_RATE, RNNOISE_RATE)[0] for clip in clips]
            tasks[f"{name}_48khz", None] = _in_turn(denoise.at_48khz, own_rate)
    return tasks


def make_noise(seconds: int, seed: int = 0) -> Array:
    """White noise, (1, samples) at 16 kHz: no system takes longer for one sound than for another."""
    rng = np.random.default_rng(seed)
    return 0.1 * rng.standard_normal((1, seconds * SAMPLE_RATE), dtype=np.float32)


def _in_turn(run: Callable[[Array], object], inputs: Sequence[Array]) -> Run:
    turns = cycle(inputs)
    return lambda: run(next(turns))


def _through_stream(engine: Engine) -> Callable[[Array], Array]:
    stream = engine.open_stream()

    def run(noisy: Array) -> Array:
        (samples,) = noisy
        chunks = [stream.process(samples[start : start + HOP]) for start in range(0, len(samples), HOP)]
        return np.concatenate([*chunks, stream.flush()])[np.newaxis]

    return run
