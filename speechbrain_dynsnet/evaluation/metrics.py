"""What an estimate of clean speech is worth, by four measures; what cannot be measured fails by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pystoi
from numpy.typing import NDArray
from pesq import PesqError, pesq

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.dnsmos import dnsmos

Signal = NDArray[np.float32]
# The recommendation asks for 8 to 30 s, and its code has room for 50 utterances: beyond, it overwrites its own memory.
_PESQ_LONGEST_S = 30
_ROUNDING = 1e-24  # a distortion 240 dB below the speech is that of the calculation

# What the columns of results are called, and the headings of tables. DNSMOS has two scales that papers mix up: P.808 is
# one overall opinion; P.835 asks for the speech (SIG), the background (BAK) and the whole (OVRL).
METRICS = {
    "pesq_wb": "PESQ-WB",
    "p808_mos": "DNSMOS P.808",
    "sig_mos": "DNSMOS P.835 SIG",
    "bak_mos": "DNSMOS P.835 BAK",
    "ovrl_mos": "DNSMOS P.835 OVRL",
    "stoi": "STOI",
    "si_sdr_db": "SI-SDR (dB)",
}


class MetricFailure(ValueError):
    """This signal has no score: the message says why, in a few words."""


@dataclass(frozen=True)
class Scores:
    """Each of `METRICS` is in one of the two: its value, always finite, or why there is none."""

    values: Mapping[str, float]
    failures: Mapping[str, str]


def score(clean: Signal, estimate: Signal, rate: int = SAMPLE_RATE) -> Scores:
    """All metrics of one estimate.

    Arguments
    ---------
    clean, estimate : array
        (time,), of the same length, full scale is 1.
    rate : int
        16,000 Hz.

    Returns
    -------
    Scores
        A score that does not exist (silence, NaN, too short) is a failure, never a number.

    Raises
    ------
    InputError
        For signals of different lengths or several channels, and for another rate.
    """
    if rate != SAMPLE_RATE:
        raise InputError(f"the signals are at {rate} Hz: resample them to {SAMPLE_RATE} Hz to be scored")
    if clean.ndim != 1 or clean.shape != estimate.shape:
        raise InputError(
            f"the clean signal has the shape {clean.shape} and the estimate {estimate.shape}: give two of one length"
        )
    values: dict[str, float] = {}
    failures: dict[str, str] = {}
    for names, measure in _MEASURES.items():
        try:
            values |= _finite(names, measure(clean, estimate))
        except MetricFailure as failure:
            failures |= dict.fromkeys(names, str(failure))
    return Scores(values, failures)


def pesq_wb(clean: Signal, estimate: Signal) -> float:
    """Wide-band PESQ, as MOS-LQO from 1.04 to 4.64 (ITU-T P.862.2, by the `pesq` package).

    Arguments
    ---------
    clean, estimate : array
        (time,), 16 kHz, from 0.25 to 30 s.

    Returns
    -------
    float
        MOS-LQO.

    Raises
    ------
    MetricFailure
        For silence, NaN, a signal that is too short or too long, or one in which PESQ finds no utterance.
    """
    _check(clean, estimate)
    if len(clean) > _PESQ_LONGEST_S * SAMPLE_RATE:
        raise MetricFailure(f"longer than the {_PESQ_LONGEST_S} s that PESQ is for")
    try:
        return float(pesq(SAMPLE_RATE, clean, estimate, "wb"))
    except PesqError as error:
        (reason,) = error.args
        raise MetricFailure(reason.decode() if isinstance(reason, bytes) else str(reason)) from error
    except ValueError as error:  # of a NaN, from inside the compiled part
        raise MetricFailure("PESQ comes to no number, as for near silence") from error


def stoi(clean: Signal, estimate: Signal, rate: int = SAMPLE_RATE) -> float:
    """Short-time objective intelligibility, up to 1 (Taal et al., IEEE TASLP 2011, by `pystoi`; not the extended one).

    Arguments
    ---------
    clean, estimate : array
        (time,), with at least 0.4 s of speech in the clean signal.
    rate : int
        In Hz; the measure itself works at 10 kHz.

    Returns
    -------
    float
        Up to 1, which the clean signal itself has.

    Raises
    ------
    MetricFailure
        For silence, NaN, or too little speech.
    """
    _check(clean, estimate)
    with warnings.catch_warnings():
        # Of too little speech it warns, and gives 1e-5 in place of a score.
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        try:
            return float(pystoi.stoi(clean, estimate, rate))
        except (RuntimeWarning, ValueError) as error:  # ValueError: not even one frame
            raise MetricFailure("less than 0.4 s of speech") from error


def si_sdr_db(clean: Signal, estimate: Signal) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (arXiv 1811.02508, equation 2; means are not taken out).

    Arguments
    ---------
    clean, estimate : array
        (time,).

    Returns
    -------
    float
        In dB, finite.

    Raises
    ------
    MetricFailure
        For silence, NaN, and where the ratio is infinite: an estimate without distortion, or without any of the speech.
    """
    _check(clean, estimate)
    reference, heard = clean.astype(np.float64), estimate.astype(np.float64)
    target = np.dot(heard, reference) / np.dot(reference, reference) * reference
    speech, distortion = np.square(target).sum(), np.square(heard - target).sum()
    if distortion <= _ROUNDING * speech or not speech:
        raise MetricFailure("infinite: no distortion" if speech else "infinite: nothing of the speech is left")
    return float(10.0 * np.log10(speech / distortion))


def dnsmos_scores(estimate: Signal) -> tuple[float, float, float, float]:
    """Microsoft's DNSMOS on both scales: P.808, then P.835 SIG, BAK and OVRL; about 1 to 5.

    Arguments
    ---------
    estimate : array
        (time,), 16 kHz. It needs no clean signal. What is beyond full scale is clipped, as in a file of 16 bits.

    Returns
    -------
    tuple of float
        P.808, SIG, BAK and OVRL.

    Raises
    ------
    MetricFailure
        For silence, NaN or no samples.
    """
    _check_one(estimate, "estimate")
    return dnsmos(np.clip(estimate, -1.0, 1.0))


_Measure = Callable[[Signal, Signal], tuple[float, ...]]
_MEASURES: dict[tuple[str, ...], _Measure] = {
    ("pesq_wb",): lambda clean, estimate: (pesq_wb(clean, estimate),),
    ("p808_mos", "sig_mos", "bak_mos", "ovrl_mos"): lambda clean, estimate: dnsmos_scores(estimate),
    ("stoi",): lambda clean, estimate: (stoi(clean, estimate),),
    ("si_sdr_db",): lambda clean, estimate: (si_sdr_db(clean, estimate),),
}


def _finite(names: tuple[str, ...], values: tuple[float, ...]) -> dict[str, float]:
    if not np.isfinite(values).all():
        raise MetricFailure("the score is not finite")
    return dict(zip(names, values, strict=True))


def _check(clean: Signal, estimate: Signal) -> None:
    _check_one(clean, "clean signal")
    _check_one(estimate, "estimate")


def _check_one(signal: Signal, name: str) -> None:
    if not signal.size:
        raise MetricFailure(f"the {name} has no samples")
    if not np.isfinite(signal).all():
        raise MetricFailure(f"the {name} has samples that are NaN or infinite")
    if not signal.any():
        raise MetricFailure(f"the {name} is silent")
