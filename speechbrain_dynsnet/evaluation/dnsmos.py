"""Microsoft's DNSMOS, from the models that `speechmos` carries, on one core and without its per-call overhead."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import librosa
import numpy as np
import onnxruntime
import speechmos
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE

_LENGTH_S = 9.01  # what the models hear at once
_LENGTH = int(_LENGTH_S * SAMPLE_RATE)
_CUT = 160  # samples less for P.808, which makes 900 frames
# From what the model says to the P.835 scale: coefficients of powers 0, 1 and 2.
_SIG = (0.0052439, 1.22083953, -0.08397278)
_BAK = (-0.39604546, 1.60915514, -0.13166888)
_OVRL = (0.04602535, 1.11546468, -0.06766283)


def dnsmos(signal: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """P.808 MOS, and P.835 SIG, BAK and OVRL (arXiv 2010.15258 and 2110.01763; not the personalised ones).

    The steps are those of `dnsmos_local.py` in github.com/microsoft/DNS-Challenge: a signal of less than 9.01 s is
    repeated, of a longer one pieces of that length, a second apart, are scored and averaged.

    Arguments
    ---------
    signal : array
        (time,), 16 kHz, from -1 to 1, with at least one sample.

    Returns
    -------
    tuple of float
        P.808, SIG, BAK, OVRL, each on a scale of about 1 to 5.
    """
    while len(signal) < _LENGTH:
        signal = np.append(signal, signal)
    scores = [_score_piece(signal[start : start + _LENGTH].astype(np.float32)) for start in _starts(len(signal))]
    p808, sig, bak, ovrl = np.mean(scores, axis=0).tolist()
    return p808, sig, bak, ovrl


def _starts(samples: int) -> list[int]:
    """Where the pieces begin: every second, as theirs do to the sample, so that scores can be compared.

    They leave out a last one that would fit, and those whose end, in floating point, comes out a sample too early.
    """
    count = int(samples // SAMPLE_RATE - _LENGTH_S) + 1
    starts = [second * SAMPLE_RATE for second in range(count)]
    return [start for second, start in enumerate(starts) if int((second + _LENGTH_S) * SAMPLE_RATE) - start == _LENGTH]


def _score_piece(piece: NDArray[np.float32]) -> tuple[float, float, float, float]:
    p835, p808 = _sessions()
    ((sig, bak, ovrl),) = p835.run(None, {"input_1": piece[np.newaxis]})[0]
    ((overall,),) = p808.run(None, {"input_1": _mel(piece[:-_CUT])[np.newaxis]})[0]
    return float(overall), float(polyval(sig, _SIG)), float(polyval(bak, _BAK)), float(polyval(ovrl, _OVRL))


def _mel(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """(time,) to (900, 120): decibels below the loudest, scaled."""
    power = librosa.feature.melspectrogram(y=signal, sr=SAMPLE_RATE, n_fft=321, hop_length=160, n_mels=120)
    return np.asarray(((librosa.power_to_db(power, ref=np.max) + 40.0) / 40.0).T, dtype=np.float32)


@cache
def _sessions() -> tuple[onnxruntime.InferenceSession, onnxruntime.InferenceSession]:
    """The models for P.835 and for P.808; once a process."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # signals are shared out among processes
    options.enable_cpu_mem_arena = False  # it would keep 0.2 GB in each of them, to be a fifth faster
    sessions = []
    for name in ("sig_bak_ovr.onnx", "model_v8.onnx"):
        with as_file(files(speechmos) / "dnsmos_models" / name) as path:
            sessions.append(onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
    return sessions[0], sessions[1]
