"""Each metric is what an independent implementation says, has its known properties, and fails by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import speechmos
from librosa import power_to_db
from librosa.feature import melspectrogram
from numpy.typing import NDArray
from pesq import pesq
from speechmos.dnsmos import run as run_speechmos

from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.metrics import (
    METRICS,
    MetricFailure,
    dnsmos_scores,
    pesq_wb,
    score,
    si_sdr_db,
    stoi,
)

Signal = NDArray[np.float32]
RATE = 16000
SPEECH = Path(__file__).parents[2] / "examples" / "noisy.flac"
DNSMOS = ("p808_mos", "sig_mos", "bak_mos", "ovrl_mos")


@pytest.fixture(scope="module")
def clean() -> Signal:
    """Four seconds with speech in them."""
    return read_audio(SPEECH, start=RATE, frames=4 * RATE).samples[0]


@pytest.fixture(scope="module")
def noisy(clean: Signal) -> Signal:
    noise = np.random.default_rng(0).standard_normal(len(clean))
    return (clean + 0.3 * clean.std() * noise).astype(np.float32)


def test_every_metric_has_a_value_for_speech(clean: Signal, noisy: Signal) -> None:
    scores = score(clean, noisy)
    assert tuple(scores.values) == tuple(METRICS)
    assert not scores.failures
    assert scores == score(clean, noisy)


def test_pesq_is_that_of_the_package(clean: Signal, noisy: Signal) -> None:
    assert pesq_wb(clean, noisy) == pesq(RATE, clean, noisy, "wb")
    assert pesq_wb(clean, noisy) != pesq(RATE, clean, noisy, "nb")


def test_pesq_of_one_clip_stays_what_it_was(clean: Signal, noisy: Signal) -> None:
    """Written down from pesq 0.0.4: another version, or another way to call it, would show."""
    assert pesq_wb(clean, noisy) == pytest.approx(2.3745, abs=1e-3)


def test_pesq_of_a_clip_with_itself_is_its_largest_value(clean: Signal) -> None:
    assert pesq_wb(clean, clean) == pytest.approx(4.644, abs=5e-4)


def dnsmos_local(audio: NDArray[np.float64]) -> list[float]:
    """P.808, SIG, BAK, OVRL of the first 9.01 s, as dnsmos_local.py of the DNS challenge has them."""
    models = Path(speechmos.__path__[0]) / "dnsmos_models"
    piece = audio[:144160].astype(np.float32)
    primary, p808 = (onnxruntime.InferenceSession(models / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx"))
    power = melspectrogram(y=piece[:-160], sr=RATE, n_fft=321, hop_length=160, n_mels=120)
    mel = ((power_to_db(power, ref=np.max) + 40) / 40).T
    overall = p808.run(None, {"input_1": mel[np.newaxis].astype(np.float32)})[0][0][0]
    sig, bak, ovr = primary.run(None, {"input_1": piece[np.newaxis]})[0][0]
    return [
        overall,
        np.poly1d([-0.08397278, 1.22083953, 0.0052439])(sig),
        np.poly1d([-0.13166888, 1.60915514, -0.39604546])(bak),
        np.poly1d([-0.06766283, 1.11546468, 0.04602535])(ovr),
    ]


def test_dnsmos_is_that_of_the_models(noisy: Signal) -> None:
    signal = np.resize(noisy, 10 * RATE)
    np.testing.assert_allclose(dnsmos_scores(signal), dnsmos_local(signal), atol=1e-4)


# Repeated to 9.01 s; one piece; several; so many that their sum of seconds drops some.
@pytest.mark.parametrize("samples", [1000, 144159, 144160, 16 * RATE, 18 * RATE + 7])
def test_dnsmos_cuts_pieces_as_microsofts_does(noisy: Signal, samples: int) -> None:
    signal = np.resize(noisy, samples) * np.linspace(0.1, 1.0, samples, dtype=np.float32)
    theirs = run_speechmos(signal, RATE)
    np.testing.assert_allclose(dnsmos_scores(signal), [theirs[name] for name in DNSMOS], atol=1e-4)


def test_dnsmos_hears_what_a_file_of_16_bits_holds(noisy: Signal) -> None:
    loud = 3.0 * noisy / np.abs(noisy).max()
    assert dnsmos_scores(loud) == dnsmos_scores(loud.clip(-1.0, 1.0))


def stoi_of_the_paper(clean: NDArray[np.float64], estimate: NDArray[np.float64]) -> float:
    """Taal et al. 2011, section II, at 10 kHz; like the authors' code it leaves out the last frames."""
    window = np.hanning(258)[1:-1]

    def framed(signal: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([window * signal[start : start + 256] for start in range(0, len(signal) - 256, 128)])

    pieces = framed(clean), framed(estimate)
    energy_db = 20.0 * np.log10(np.linalg.norm(pieces[0], axis=1) + 1e-16)
    kept = energy_db > energy_db.max() - 40.0
    bands = []
    for piece in pieces:
        spoken = np.zeros(128 * (kept.sum() + 1))
        for number, frame in enumerate(piece[kept]):
            spoken[128 * number : 128 * number + 256] += frame
        power = np.abs(np.fft.rfft(framed(spoken), 512)) ** 2
        edges_hz = 150.0 * 2.0 ** (np.arange(-1, 30, 2) / 6.0)
        edges = np.abs(np.arange(257) * 10000 / 512 - edges_hz[:, np.newaxis]).argmin(axis=1)
        bands.append(np.sqrt([power[:, low:high].sum(axis=1) for low, high in zip(edges, edges[1:], strict=False)]))
    correlations = []
    for end in range(30, bands[0].shape[1] + 1):
        for x, y in zip(*(band[:, end - 30 : end] for band in bands), strict=True):
            y = np.minimum(y * np.linalg.norm(x) / np.linalg.norm(y), x * (1.0 + 10.0 ** (15.0 / 20.0)))
            correlations.append(np.corrcoef(x, y)[0, 1])
    return float(np.mean(correlations))


@pytest.mark.parametrize("level", [0.1, 1.0])
def test_stoi_is_that_of_the_paper(clean: Signal, level: float) -> None:
    signal = clean.astype(np.float64)  # as if it were at 10 kHz, where nothing is resampled
    estimate = signal + level * signal.std() * np.random.default_rng(1).standard_normal(len(signal))
    assert stoi(signal, estimate, rate=10000) == pytest.approx(stoi_of_the_paper(signal, estimate), abs=1e-6)


@pytest.mark.parametrize("gain", [1e-3, -0.5, 30.0])
def test_si_sdr_does_not_depend_on_the_scale(clean: Signal, noisy: Signal, gain: float) -> None:
    expected = si_sdr_db(clean, noisy)
    assert si_sdr_db(clean, np.float32(gain) * noisy) == pytest.approx(expected, abs=1e-4)
    assert si_sdr_db(np.float32(gain) * clean, noisy) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("ratio_db", [-10.0, 0.0, 25.0])
def test_si_sdr_is_the_ratio_of_orthogonal_parts(clean: Signal, ratio_db: float) -> None:
    """By the angle between the two signals, where the implementation projects."""
    speech = clean.astype(np.float64)
    noise = np.random.default_rng(2).standard_normal(len(speech))
    noise -= noise @ speech / (speech @ speech) * speech
    noise *= np.linalg.norm(speech) / np.linalg.norm(noise) * 10.0 ** (-ratio_db / 20.0)
    estimate = (speech + noise).astype(np.float32)
    cosine = speech @ estimate / np.linalg.norm(speech) / np.linalg.norm(estimate)
    assert si_sdr_db(clean, estimate) == pytest.approx(ratio_db, abs=1e-3)
    assert si_sdr_db(clean, estimate) == pytest.approx(10.0 * np.log10(cosine**2 / (1.0 - cosine**2)), abs=1e-3)


@pytest.mark.parametrize("metric", [pesq_wb, stoi, si_sdr_db])
def test_more_noise_never_scores_better(clean: Signal, metric: Callable[[Signal, Signal], float]) -> None:
    noise = np.random.default_rng(3).standard_normal(len(clean)) * clean.std()
    values = [metric(clean, (clean + level * noise).astype(np.float32)) for level in (0.03, 0.3, 3.0)]
    assert values == sorted(values, reverse=True)


ESTIMATES = {
    "silent": (lambda clean: 0.0 * clean, dict.fromkeys(METRICS, "silent")),
    "NaN": (lambda clean: clean * np.float32("nan"), dict.fromkeys(METRICS, "NaN")),
    "one infinite sample": (
        lambda clean: np.concatenate([clean[:-1], [np.float32("inf")]]),
        dict.fromkeys(METRICS, "infinite"),
    ),
    "nearly silent": (lambda clean: np.full_like(clean, 1e-30), {"pesq_wb": "no number"}),
    "the clean signal": (lambda clean: clean, {"si_sdr_db": "no distortion"}),
    "the clean signal at another level": (lambda clean: clean / 2, {"si_sdr_db": "no distortion"}),
}


@pytest.mark.parametrize("name", ESTIMATES)
def test_what_has_no_score_fails_by_name(clean: Signal, name: str) -> None:
    make, expected = ESTIMATES[name]
    scores = score(clean, make(clean))
    assert scores.failures.keys() == expected.keys()
    assert scores.values.keys() == METRICS.keys() - expected.keys()
    for metric, reason in expected.items():
        assert reason in scores.failures[metric]
    assert np.isfinite(list(scores.values.values())).all()


def test_a_silent_clean_signal_leaves_only_what_needs_none(clean: Signal) -> None:
    scores = score(np.zeros_like(clean), clean)
    assert tuple(scores.values) == DNSMOS
    assert set(scores.failures.values()) == {"the clean signal is silent"}


@pytest.mark.parametrize(
    ("samples", "failing"),
    [
        (0, set(METRICS)),
        (1, {"pesq_wb", "stoi", "si_sdr_db"}),
        (100, {"pesq_wb", "stoi"}),
        (3999, {"pesq_wb", "stoi"}),
        (4000, {"stoi"}),
    ],
)
def test_a_clip_may_be_too_short_for_some(clean: Signal, noisy: Signal, samples: int, failing: set[str]) -> None:
    start = int(np.abs(clean).argmax()) - 2000  # in the middle of speech
    scores = score(clean[start : start + samples], noisy[start : start + samples])
    assert set(scores.failures) == failing
    assert set(scores.values) == set(METRICS) - failing


def test_a_clip_that_pesq_has_no_room_for_is_not_given_to_it() -> None:
    """Its code overwrites its own memory when there are more than 50 utterances."""
    beeps = np.tile(np.repeat(np.float32([0.3, 0.0]), RATE // 4), 62)
    with pytest.raises(MetricFailure, match="longer than the 30 s"):
        pesq_wb(beeps, beeps)


@pytest.mark.parametrize("shapes", [((100,), (99,)), ((2, 100), (2, 100)), ((100,), (1, 100))])
def test_signals_that_do_not_belong_together_are_an_error_with_both_shapes(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    with pytest.raises(InputError) as raised:
        score(*(np.ones(shape, np.float32) for shape in shapes))
    assert all(str(shape) in str(raised.value) for shape in shapes)


def test_another_rate_is_an_error(clean: Signal) -> None:
    with pytest.raises(InputError, match="48000 Hz"):
        score(clean, clean, rate=48000)
