"""Is what was written the network? onnxruntime against torch, at every exit, on a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import HOP
from speechbrain_dynsnet.audio.stft import log_power, stft
from speechbrain_dynsnet.model.enhance import enhance
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.runtime.export.running import Array, run_frames
from speechbrain_dynsnet.runtime.format import FP32, WAVEFORM
from speechbrain_dynsnet.runtime.model import RuntimeModel

FP32_BOUND = 1e-4  # of any gain, or of any sample of a signal within +-1
INT8_MEAN_BOUND = 0.02  # of the gains on average: quantisation moves them, a wrong graph moves them much more


@dataclass(frozen=True)
class Difference:
    """Between a file and its network at one exit: of gains, or of samples where the STFT is in the file."""

    exit: int
    largest: float
    mean: float

    def is_within(self, precision: str) -> bool:
        """Whether the file gives what the network gives."""
        if precision == FP32:
            return bool(self.largest <= FP32_BOUND)
        return bool(self.mean <= INT8_MEAN_BOUND)


@torch.no_grad()
def verify(network: DynamicNsNet2, model: RuntimeModel, samples: NDArray[np.float32]) -> list[Difference]:
    """Compare a file with the network that it was written from.

    Arguments
    ---------
    network : DynamicNsNet2
        In evaluation mode, on the CPU.
    model : RuntimeModel
        What `export_onnx` wrote, loaded.
    samples : array
        (samples,), 16 kHz.

    Returns
    -------
    list of Difference
        One for each exit of the file.
    """
    differences = []
    for exit in model.exits:
        if model.signal == WAVEFORM:
            hops = np.pad(samples, (0, -len(samples) % HOP)).reshape(-1, HOP)
            (wanted,) = enhance(network, torch.from_numpy(hops.reshape(1, -1)), (exit,))
            # What comes out for a hop is the hop before: the first is what was before the signal.
            given, reference = run_frames(model.session, hops, exit)[0][1:], wanted.numpy().reshape(-1, HOP)[:-1]
        else:
            features = log_power(stft(samples[None]))
            mask, _ = network(torch.from_numpy(features), exit=exit)
            given, reference = run_frames(model.session, features[0], exit)[0], mask.numpy()[0]
        difference = np.abs(given - reference[: len(given)])
        differences.append(Difference(exit, float(difference.max()), float(difference.mean())))
    return differences


def first_frames(samples: NDArray[np.float32], count: int, signal: str) -> Array:
    """The first frames of a recording, as a file reads them: (count, 257) features or (count, 256) samples."""
    if signal == WAVEFORM:
        return samples[: count * HOP].reshape(-1, HOP)
    features: Array = log_power(stft(samples[None, : (count - 1) * HOP]))[0]
    return features
