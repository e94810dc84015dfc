"""A lossy file stays as large as it was, and as good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_dynsnet.audio.bit_rate import compression
from speechbrain_dynsnet.audio.enhancement import enhance_file
from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.audio.formats import container_for
from speechbrain_dynsnet.audio.resample import resample
from tests.audio.masks import gain

CLIP = Path(__file__).parents[2] / "examples" / "noisy.flac"


def write(path: Path, subtype: str, rate: int, channels: int, kilobits: float) -> None:
    samples = resample(np.repeat(read_audio(CLIP, frames=80_000).samples, channels, axis=0), 16000, rate)
    how = compression(subtype, rate, channels, 1000 * kilobits)
    with soundfile.SoundFile(path, "w", rate, channels, subtype, format=container_for(path), **how) as file:
        for begin in range(0, samples.shape[1], 65536):
            file.write(samples[:, begin : begin + 65536].T)


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "kilobits", "tolerance"),
    [
        ("a.mp3", "MPEG_LAYER_III", 44100, 320, 0.1),
        ("a.mp3", "MPEG_LAYER_III", 44100, 128, 0.1),
        ("a.mp3", "MPEG_LAYER_III", 16000, 64, 0.1),
        ("a.mp3", "MPEG_LAYER_III", 8000, 32, 0.1),
        ("a.mp3", "MPEG_LAYER_III", 44100, 96, 0.2),  # an average: it follows the sound
        ("a.mp3", "MPEG_LAYER_III", 48000, 64, 0.2),
        ("a.mp3", "MPEG_LAYER_III", 44100, 32, 0.2),
        ("a.mp3", "MPEG_LAYER_III", 22050, 32, 0.2),
        ("a.opus", "OPUS", 48000, 24, 0.1),
        ("a.opus", "OPUS", 48000, 128, 0.1),
        ("a.ogg", "VORBIS", 44100, 64, 0.5),  # its bit rate follows the sound
        ("a.ogg", "VORBIS", 44100, 250, 0.5),
        ("a.ogg", "VORBIS", 16000, 48, 0.5),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_size_stays(
    name: str, subtype: str, rate: int, kilobits: float, tolerance: float, channels: int, tmp_path: Path
) -> None:
    source, target = tmp_path / name, tmp_path / f"b{Path(name).suffix}"
    write(source, subtype, rate, channels, kilobits)
    enhance_file(gain(1.0), source, target)
    assert read_audio(target).samples.shape == read_audio(source).samples.shape
    assert target.stat().st_size == pytest.approx(source.stat().st_size, rel=tolerance)


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("kilobits", [8, 16, 24, 32, 48, 64, 96, 128, 192])
@pytest.mark.parametrize("frames", [1, 511, 30_001])
def test_at_any_bit_rate_mp3_keeps_rate_and_length(rate: int, kilobits: float, frames: int, tmp_path: Path) -> None:
    """The encoder would resample at low ones."""
    samples = 0.2 * np.random.default_rng(0).standard_normal((frames, 2)).astype(np.float32)
    path = tmp_path / "a.mp3"
    how = compression("MPEG_LAYER_III", rate, 2, 1000 * kilobits)
    with soundfile.SoundFile(path, "w", rate, 2, "MPEG_LAYER_III", format="MP3", **how) as file:
        file.write(samples)
    assert (soundfile.info(path).samplerate, read_audio(path).samples.shape[1]) == (rate, frames)


def test_what_is_not_lossy_is_left_to_the_encoder() -> None:
    assert compression("PCM_16", 16000, 1, 256_000) == {}
