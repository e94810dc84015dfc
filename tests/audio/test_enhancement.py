"""Nothing changes but what the mask lowers: whatever the rate, the channels and the length, in one block or in many."""

from __future__ import annotations

import numpy as np
import pytest

from speechbrain_dynsnet.audio import file_pass
from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.enhancement import MaskStream, Settings, enhance_audio
from speechbrain_dynsnet.audio.files import Audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.audio.stft import fill_empty_bins, first_empty_bin, istft, log_power, stft
from speechbrain_dynsnet.errors import InputError
from tests.audio.masks import REMEMBERING, KnownMasks, by_frame, gain

RATES = (4000, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000, 384000)


def noise(channels: int, frames: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, frames))).astype(np.float32)


def tone(hz: float, rate: int, frames: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz / rate * np.arange(frames)).astype(np.float32)[np.newaxis]


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.square(samples, dtype=np.float64).mean()))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("channels", "frames"), [(1, 1), (1, 20011), (2, 257), (2, 4800), (3, 20011), (32, 999)])
def test_a_mask_of_ones_changes_nothing(rate: int, channels: int, frames: int) -> None:
    audio = Audio(noise(channels, frames), rate, "FLAC", "PCM_24", {"title": "a"})
    for high_band in ("follow", "keep"):
        result = enhance_audio(gain(1.0), audio, Settings(high_band=high_band))
        np.testing.assert_allclose(result.samples, audio.samples, atol=1e-5)
        assert (result.rate, result.format, result.subtype, result.tags) == (rate, "FLAC", "PCM_24", {"title": "a"})


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", ["each", "linked"])
def test_a_constant_mask_is_a_gain(rate: int, channels: str) -> None:
    audio = Audio(noise(2, 30000), rate)
    result = enhance_audio(gain(0.25), audio, Settings(channels=channels)).samples
    np.testing.assert_allclose(result, 0.25 * audio.samples, atol=1e-5)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("high_band", ["follow", "drop", "keep"])
def test_the_result_is_aligned_to_the_sample(rate: int, high_band: str) -> None:
    audio = Audio(noise(1, 40000), rate)
    result = enhance_audio(REMEMBERING, audio, Settings(high_band=high_band)).samples[0]
    size = 2 * len(result)
    spectrum = np.fft.rfft(result, size) * np.fft.rfft(audio.samples[0], size).conj()
    assert np.fft.irfft(spectrum).argmax() == 0


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("way", ["each", "linked", "mono"])
@pytest.mark.parametrize("block_samples", [2, 700, 100_000])
def test_the_size_of_the_blocks_does_not_matter(
    rate: int, way: str, block_samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = Audio(noise(2, 9001), rate)
    settings = Settings(channels=way, mix=0.9)
    whole = enhance_audio(REMEMBERING, audio, settings).samples
    monkeypatch.setattr(file_pass, "_BLOCK_SAMPLES", block_samples)
    np.testing.assert_allclose(enhance_audio(REMEMBERING, audio, settings).samples, whole, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("frames", [1, 255, 256, 100_003])
def test_equals_the_whole_signal_at_once(rate: int, frames: int) -> None:
    def at_once(samples: np.ndarray) -> np.ndarray:
        spectrum = stft(samples)
        features = log_power(spectrum)
        fill_empty_bins(features, first_empty_bin(rate))
        masks = REMEMBERING.start(3, 5)(features.transpose(1, 0, 2)).transpose(1, 0, 2)
        return istft(spectrum * masks, samples.shape[-1])

    audio = Audio(noise(3, frames), rate)
    wanted = resample(at_once(resample(audio.samples, rate, SAMPLE_RATE)), SAMPLE_RATE, rate, frames)
    result = enhance_audio(REMEMBERING, audio, Settings(high_band="drop")).samples
    np.testing.assert_allclose(result, wanted, atol=1e-5)


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
@pytest.mark.parametrize(("high_band", "above"), [("follow", 0.5), ("drop", 0.0), ("keep", 1.0)])
def test_what_the_model_does_not_see(rate: int, high_band: str, above: float) -> None:
    frames = rate
    low, high = tone(1000, rate, frames), tone(12_000, rate, frames)
    settings = Settings(high_band=high_band)
    inside = slice(rate // 10, -rate // 10)
    result = enhance_audio(gain(0.5), Audio(0.3 * (low + high), rate), settings).samples
    np.testing.assert_allclose(result[:, inside], (0.15 * low + 0.3 * above * high)[:, inside], atol=1e-3)


@pytest.mark.parametrize("rate", [44100, 48000])
def test_the_high_band_follows_without_steps(rate: int) -> None:
    """Gains that jump from frame to frame reach both bands as the crossfade of the STFT's windows."""
    frames = rate
    gains = np.random.default_rng(0).uniform(0, 1, 100).astype(np.float32)
    position = np.arange(frames) * SAMPLE_RATE / rate / 256
    later = np.sin(np.pi / 2 * (position % 1)) ** 2
    before = position.astype(int)
    envelope = gains[before] * (1 - later) + gains[before + 1] * later
    for hz in (1000, 12_000):
        samples = tone(hz, rate, frames)
        result = enhance_audio(by_frame(gains), Audio(samples, rate)).samples
        np.testing.assert_allclose(result[0, 2000:-2000], (envelope * samples[0])[2000:-2000], atol=2e-3)


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("apart_db", [3, 20])
def test_a_source_stays_where_it_is(rate: int, apart_db: float) -> None:
    sides = np.array([[1.0], [10 ** (-apart_db / 20)]], np.float32)
    panned = sides * noise(1, 30000)
    before = level_db(panned[0]) - level_db(panned[1])

    def moved_by(**choices: str) -> float:
        result = enhance_audio(REMEMBERING, Audio(panned, rate), Settings(**choices)).samples
        return abs(level_db(result[0]) - level_db(result[1]) - before)

    assert moved_by() < 0.01  # two channels are linked unless asked otherwise
    assert moved_by(channels="each") > 0.1  # which a mask for each would not do


def test_a_linked_mask_is_the_highest_of_all() -> None:
    samples = np.concatenate([noise(1, 9000), np.zeros((2, 9000), np.float32)])
    linked = enhance_audio(REMEMBERING, Audio(samples, 16000), Settings(channels="linked")).samples
    each = enhance_audio(REMEMBERING, Audio(samples, 16000), Settings(channels="each")).samples
    np.testing.assert_allclose(linked[0], each[0], atol=1e-6)
    assert not linked[1:].any()


@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_source_stays_where_it_is_in_noise_on_all_sides(rate: int) -> None:
    """One mask for all is a linear filter: what is in two channels alike comes out alike, whatever else is in them."""
    source, *sides = noise(3, 30000)
    samples = np.stack([0.5 * source + 0.3 * sides[0], 0.2 * source + 0.3 * sides[1]])
    samples = np.concatenate([samples, samples[:1] - samples[1:]])

    def error(**choices: str) -> float:
        left, right, difference = enhance_audio(REMEMBERING, Audio(samples, rate), Settings(**choices)).samples
        return float(np.abs(left - right - difference).max())

    assert error(channels="linked") < 1e-5
    assert error(channels="each") > 1e-2


@pytest.mark.parametrize("rate", [16000, 48000])
def test_equal_channels_give_what_one_gives(rate: int) -> None:
    one = noise(1, 9000)
    wanted = enhance_audio(REMEMBERING, Audio(one, rate)).samples
    for way in ("each", "linked", "mono"):
        both = enhance_audio(REMEMBERING, Audio(np.repeat(one, 2, axis=0), rate), Settings(channels=way)).samples
        np.testing.assert_allclose(both, np.repeat(wanted, 2, axis=0), atol=1e-5)


def test_more_than_two_channels_are_enhanced_by_themselves() -> None:
    samples = noise(3, 9000)
    together = enhance_audio(REMEMBERING, Audio(samples, 44100)).samples
    for channel in range(3):
        alone = enhance_audio(REMEMBERING, Audio(samples[channel : channel + 1], 44100)).samples
        np.testing.assert_allclose(together[channel], alone[0], atol=1e-5)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_mono_puts_the_average_in_every_channel(rate: int) -> None:
    samples = noise(4, 9000)
    result = enhance_audio(gain(1.0), Audio(samples, rate), Settings(channels="mono")).samples
    np.testing.assert_allclose(result, np.broadcast_to(samples.mean(axis=0), (4, 9000)), atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("limit_db", [0, 6, 12, 40])
def test_nothing_is_lowered_by_more_than_the_limit(rate: int, limit_db: float) -> None:
    audio = Audio(noise(2, 9000), rate)
    result = enhance_audio(gain(0.0), audio, Settings(attenuation_limit_db=limit_db)).samples
    np.testing.assert_allclose(result, 10 ** (-limit_db / 20) * audio.samples, atol=1e-5)
    assert not enhance_audio(gain(0.0), audio).samples.round(5).any()


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("way", ["each", "linked", "mono"])
def test_the_mix_is_a_share_of_both(rate: int, way: str) -> None:
    audio = Audio(noise(2, 9000), rate)
    enhanced = enhance_audio(REMEMBERING, audio, Settings(channels=way)).samples
    for mix in (0.0, 0.3, 1.0):
        result = enhance_audio(REMEMBERING, audio, Settings(channels=way, mix=mix)).samples
        np.testing.assert_allclose(result, mix * enhanced + (1 - mix) * audio.samples, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.7])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_silence_and_an_offset_stay(value: float, rate: int) -> None:
    audio = Audio(np.full((2, 12000), value, np.float32), rate)
    np.testing.assert_allclose(enhance_audio(gain(1.0), audio).samples, audio.samples, atol=1e-4)


def test_no_samples_give_no_samples() -> None:
    for rate in (8000, 16000, 48000):
        assert enhance_audio(REMEMBERING, Audio(noise(2, 0), rate)).samples.shape == (2, 0)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"attenuation_limit_db": -1.0}, "at least 0"),
        ({"attenuation_limit_db": float("nan")}, "at least 0"),
        ({"mix": 1.1}, "0 to 1"),
        ({"mix": float("nan")}, "0 to 1"),
        ({"high_band": "up"}, "follow, drop, keep"),
        ({"channels": "left"}, "each, linked, mono"),
    ],
)
def test_a_choice_out_of_range_is_named(choice: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**choice)


@pytest.mark.parametrize("rate", [1, 999, 2_000_000])
def test_a_rate_of_no_sound_is_named(rate: int) -> None:
    with pytest.raises(InputError, match=f"{rate} Hz is no sound's"):
        enhance_audio(gain(1.0), Audio(noise(1, 9), rate))


def test_an_exit_is_checked() -> None:
    with pytest.raises(InputError, match="no exit 3"):
        enhance_audio(gain(1.0), Audio(noise(1, 9), 16000), Settings(exit=3))


@pytest.mark.parametrize(("rate", "is_filled"), [(8000, True), (11025, True), (16000, False), (48000, False)])
def test_a_low_rate_leaves_no_band_empty_for_the_model(rate: int, is_filled: bool) -> None:
    """The model was trained on sounds that fill its band: at 8 kHz it took speech for noise."""
    seen: list[np.ndarray] = []

    def make() -> MaskStream:
        def masks(features: np.ndarray) -> np.ndarray:
            seen.append(features.copy())
            return np.ones_like(features)

        return masks

    noise = np.random.default_rng(0).normal(0, 0.1, (1, rate)).astype(np.float32)
    enhanced = enhance_audio(KnownMasks(make), Audio(noise, rate))
    np.testing.assert_allclose(enhanced.samples, noise, atol=1e-4)  # what is filled in is for the model alone
    mean = np.concatenate(seen)[4:-4].mean(axis=(0, 1))
    top = 256 if rate >= 16000 else 128 * rate // 8000
    assert np.ptp(mean[5 : top - 16]) < 2
    step = mean[top + 8 :].mean() - mean[: top - 8].mean() if is_filled else mean[-20:].mean() - mean[:-20].mean()
    assert -3 < step < -1 if is_filled else -10 < step < 1


@pytest.mark.parametrize("choice", [{"mix": "a"}, {"mix": float("nan")}, {"attenuation_limit_db": "12"}])
def test_a_choice_of_another_kind_is_named(choice: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(choice))} is "):
        Settings(**choice)
