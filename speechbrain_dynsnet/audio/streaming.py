"""The STFT of a stream: a hop of samples in, a frame of features out; its mask in, a hop of samples out."""

from __future__ import annotations

import numpy as np
from numpy.fft import irfft, rfft
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import BINS, HOP, POWER_FLOOR, WINDOW
from speechbrain_dynsnet.audio.stft import SQRT_HANN


class StreamingStft:
    """`speechbrain_dynsnet.audio.stft` one frame at a time, with the same frames and the same arithmetic.

    Frames are centred and the signal is padded with zeros, so a stream begins with a history of a hop of zeros. The
    frame of hop b spans hops b - 1 and b, and completes hop b - 1 of the output: what the first one gives lies before
    the signal. All buffers are allocated once.
    """

    def __init__(self) -> None:
        self.history = np.zeros(HOP, np.float32)  # the hop before, as it came
        self.overlap = np.zeros(HOP, np.float32)  # the second half of the last frame's result
        self._frame = np.empty(WINDOW, np.float32)
        self._spectrum = np.empty(BINS, np.complex64)
        self._parts = self._spectrum.view(np.float32)  # real and imaginary in turn
        self._squares = np.empty(2 * BINS, np.float32)
        self._features = np.empty(BINS, np.float32)
        self._old, self._new = self._frame[:HOP], self._frame[HOP:]
        self._real_squares, self._imaginary_squares = self._squares[::2], self._squares[1::2]

    def analyse(self, hop: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take in the next 256 samples.

        Arguments
        ---------
        hop : array
            (256,) float32, 16 kHz, finite.

        Returns
        -------
        array
            (257,) float32, natural log of the power spectrum; valid until the next call.
        """
        np.multiply(self.history, SQRT_HANN[:HOP], out=self._old)
        np.multiply(hop, SQRT_HANN[HOP:], out=self._new)
        self.history[:] = hop
        rfft(self._frame, out=self._spectrum)  # type: ignore[arg-type]  # numpy's types know double precision alone
        np.multiply(self._parts, self._parts, out=self._squares)
        np.add(self._real_squares, self._imaginary_squares, out=self._features)
        np.add(self._features, np.float32(POWER_FLOOR), out=self._features)
        return np.log(self._features, out=self._features)

    def synthesise(self, mask: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Write the 256 samples before those of the last `analyse`, with the mask applied, to `out`.

        Arguments
        ---------
        mask : array
            (257,) float32, gains of the last frame.
        out : array
            (256,) float32.
        """
        np.multiply(self._spectrum, mask, out=self._spectrum)
        irfft(self._spectrum, WINDOW, out=self._frame)  # type: ignore[arg-type]
        np.multiply(self._frame, SQRT_HANN, out=self._frame)
        np.add(self._old, self.overlap, out=out)
        self.overlap[:] = self._new

    def reset(self) -> None:
        """Begin a new signal."""
        self.history.fill(0.0)
        self.overlap.fill(0.0)
