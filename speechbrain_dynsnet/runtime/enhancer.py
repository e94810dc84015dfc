"""Denoise recordings with an exported model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_state

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import Audio
from speechbrain_dynsnet.audio.resample import process_at
from speechbrain_dynsnet.audio.stft import istft, log_power, stft
from speechbrain_dynsnet.errors import InputError

# What onnxruntime raises for a file that it cannot load; they have no common ancestor of their own.
_LOAD_ERRORS = tuple(
    getattr(onnxruntime_state, name)
    for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
)


class Enhancer:
    """A model that `export_onnx` wrote, at the one exit that is in the file.

    Arguments
    ---------
    path : str or Path
        The `.onnx` file.
    threads : int
        Cores to use.

    Raises
    ------
    InputError
        When the file is missing, no ONNX model, or another project's.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file; write one with `dynsnet export`")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what is wrong is said below
        try:
            self._session = onnxruntime.InferenceSession(
                Path(path).read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            self.exit = int(self._session.get_modelmeta().custom_metadata_map["exit"])
        except (*_LOAD_ERRORS, KeyError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path}: not a model that `dynsnet export` wrote ({reason}); export it again") from error
        self._states = {
            info.name: info.shape[-1] for info in self._session.get_inputs() if info.name.startswith("state_")
        }

    @property
    def exits(self) -> tuple[int, ...]:
        """The one exit."""
        return (self.exit,)

    def check_exit(self, exit: int | None) -> int:
        """The exit; InputError when another one is asked for."""
        if exit not in (None, self.exit):
            raise InputError(f"this file holds exit {self.exit} only, not {exit}: export that one")
        return self.exit

    def enhance(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Denoise signals at 16 kHz: (channels, time) float32, to the same shape."""
        spectrum = stft(samples)
        channels = len(samples)
        feeds = {name: np.zeros((1, channels, size), np.float32) for name, size in self._states.items()}
        (mask,) = self._session.run(["mask"], {"features": log_power(spectrum), **feeds})
        return istft(spectrum * mask, samples.shape[-1])

    def enhance_audio(self, audio: Audio, exit: int | None = None) -> Audio:
        """Denoise a recording of any rate, each channel by itself.

        Arguments
        ---------
        audio : Audio
            What `speechbrain_dynsnet.audio.files.read_audio` returns.
        exit : int or None
            None, or the exit that is in the file.

        Returns
        -------
        Audio
            Of the same rate, channels, length and encoding.
        """
        self.check_exit(exit)
        return replace(audio, samples=process_at(SAMPLE_RATE, self.enhance, audio.samples, audio.rate))
