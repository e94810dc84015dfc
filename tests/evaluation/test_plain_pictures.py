"""Pixels are where time and frequency say, and of the right shade."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from speechbrain_dynsnet.evaluation.plain_pictures import draw_gains, draw_levels, magnitudes, ticks


@pytest.mark.parametrize("rate", [4000, 8000, 16000, 44100, 48000])
def test_a_tone_is_where_it_sounds(rate: int) -> None:
    time_s = np.arange(2 * rate) / rate
    tone_hz = np.where(time_s < 1.0, rate / 8, rate / 4)
    values = magnitudes(np.sin(2 * np.pi * np.cumsum(tone_hz) / rate).astype(np.float32), rate)
    picture = np.asarray(Image.open(io.BytesIO(draw_levels(values, float(values.max())))))
    loudest = 1.0 - (picture.argmax(axis=0) + 0.5) / len(picture)  # 0 at the bottom, 1 at the top
    quarter = picture.shape[1] // 4
    np.testing.assert_allclose(loudest[quarter], 0.25, atol=0.01)
    np.testing.assert_allclose(loudest[-quarter], 0.5, atol=0.01)


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 16000])
def test_frames_cover_the_signal(samples: int) -> None:
    assert magnitudes(np.ones(samples, np.float32), 16000).shape == (samples // 256 + 1, 257)


@pytest.mark.parametrize("shape", [(1, 1), (799, 257), (801, 321), (5000, 1000)])
def test_a_picture_is_no_larger_than_is_seen_and_keeps_its_mean(shape: tuple[int, int]) -> None:
    gains = np.random.default_rng(0).random(shape, np.float32)
    picture = np.asarray(Image.open(io.BytesIO(draw_gains(gains))))
    assert picture.shape == (min(shape[1], 320), min(shape[0], 800))
    assert abs(picture.mean() / 63 - gains.mean()) < 0.01


@pytest.mark.parametrize("limit", [1e-4, 0.37, 1.0, 8.0, 22.05, 30.0])
def test_ticks_are_few_round_and_in_place(limit: float) -> None:
    marks = ticks(limit)
    assert 2 <= len(marks) <= 7
    assert marks[0] == (0.0, "0")
    for place, text in marks:
        assert 0.0 <= place <= 1.001
        assert float(text) == pytest.approx(place * limit, rel=1e-3)
