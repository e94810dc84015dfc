"""What is drawn is what is reached: measured on the pairs, not on the calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from speechbrain_dynsnet.data.levels import active_rms, activity
from speechbrain_dynsnet.data.mixing import MixDistribution, MixParameters, Segment, draw, join_segments, mix
from speechbrain_dynsnet.data.tracks import TrackList, Tracks
from speechbrain_dynsnet.errors import InputError
from tests.data.conftest import RATE, speech_like, write_track

SAMPLES = 2 * RATE
NO_TILT = (0.0, 0.0, 0.0, 0.0)


def draw_many(tracks: Tracks, count: int, seed: int = 0, **distribution: object) -> list[MixParameters]:
    rng = np.random.default_rng(seed)
    return [draw(tracks, MixDistribution(**distribution), SAMPLES, rng) for _ in range(count)]  # type: ignore[arg-type]


def db(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def rms(signal: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


def speech_rms(clean: NDArray[np.floating]) -> float:
    """RMS where the speech is, by hand: over the 32 ms frames that are within 35 dB of the loudest."""
    levels = np.array([rms(clean[start : start + 512]) for start in range(0, len(clean) - 511, 512)])
    return float(np.sqrt(np.mean(levels[levels > levels.max() / 10 ** (35 / 20)] ** 2)))


@pytest.mark.parametrize("reverb", [0.0, 1.0])
@pytest.mark.parametrize("noises", [0.0, 1.0])
def test_the_snr_and_the_level_drawn_are_reached(tracks: Tracks, reverb: float, noises: float) -> None:
    limited = 0
    for parameters in draw_many(tracks, 25, reverb_probability=reverb, second_noise_probability=noises):
        noisy, clean = mix(parameters)
        assert noisy.shape == clean.shape == (SAMPLES,)
        assert noisy.dtype == clean.dtype == np.float32
        assert np.isfinite(noisy).all()
        assert db(speech_rms(clean) / rms(noisy - clean)) == pytest.approx(parameters.snr_db, abs=0.05)
        peak = max(np.abs(noisy).max(), np.abs(clean).max())
        assert peak <= 0.9901
        if peak < 0.98:
            assert db(rms(noisy)) == pytest.approx(parameters.level_dbfs, abs=0.01)
        else:
            limited += 1
            assert db(rms(noisy)) <= parameters.level_dbfs + 0.01
    assert limited < 12


def test_loud_pairs_are_turned_down_not_clipped(tracks: Tracks) -> None:
    for parameters in draw_many(tracks, 10, level_dbfs=(0.0, 10.0)):
        noisy, clean = mix(parameters)
        assert max(np.abs(noisy).max(), np.abs(clean).max()) == pytest.approx(0.99, abs=1e-4)
        assert db(speech_rms(clean) / rms(noisy - clean)) == pytest.approx(parameters.snr_db, abs=0.05)


def test_draws_fill_their_ranges_and_shares(tracks: Tracks) -> None:
    many = draw_many(tracks, 1000, snr_db=(-5, 25), level_dbfs=(-35, -15), tilt=0.3)
    for low, high, values in (
        (-5, 25, [p.snr_db for p in many]),
        (-35, -15, [p.level_dbfs for p in many]),
        (-0.3, 0.3, [coefficient for p in many for coefficient in (*p.speech_tilt, *p.noise_tilt)]),
    ):
        assert low <= min(values) < low + 0.02 * (high - low)
        assert high >= max(values) > high - 0.02 * (high - low)
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.04 * (high - low))
    assert np.mean([p.impulse_response is not None for p in many]) == pytest.approx(0.3, abs=0.05)
    assert np.mean([len(p.noises) == 2 for p in many]) == pytest.approx(0.3, abs=0.05)
    first = Counter(p.speech[0].path for p in many)
    assert len(first) == len(tracks.clean)
    assert min(first.values()) > 1000 / len(first) / 2


def test_mixing_is_a_pure_function(tracks: Tracks) -> None:
    for parameters in draw_many(tracks, 5):
        for one, again in zip(mix(parameters), mix(parameters), strict=True):
            np.testing.assert_array_equal(one, again)


def test_the_same_generator_draws_the_same(tracks: Tracks) -> None:
    assert draw_many(tracks, 20, seed=1) == draw_many(tracks, 20, seed=1)
    assert draw_many(tracks, 20, seed=1) != draw_many(tracks, 20, seed=2)


def test_utterances_shorter_than_the_clip_come_from_one_speaker(tracks: Tracks) -> None:
    speaker = {track.path: track.group for track in tracks.clean}
    length = {track.path: track.samples for track in tracks.clean}
    joined = 0
    for parameters in draw_many(tracks, 200):
        spoken = [segment for segment in parameters.speech if segment.path]
        assert sum(segment.samples for segment in parameters.speech) == SAMPLES
        assert len({speaker[segment.path] for segment in spoken}) == 1
        assert all(segment.start + segment.samples <= length[segment.path] for segment in spoken)
        joined += len(spoken) > 1
        # 0.2 s lie between one utterance and the next, unless the clip ends there
        gaps = [segment.samples for segment in parameters.speech if segment.path is None]
        assert all(gap == RATE // 5 for gap in gaps[:-1])
    assert joined > 50


def test_long_recordings_are_cut_at_any_place(tmp_path: Path) -> None:
    audio = 0.1 * np.random.default_rng(0).standard_normal(10 * RATE)
    one = TrackList([write_track(tmp_path / "long.wav", audio, "anna")])
    many = draw_many(Tracks(one, one, TrackList([])), 300)
    for starts in ([p.speech[0].start for p in many], [p.noises[0][0].start for p in many]):
        assert 0 <= min(starts) < 0.2 * RATE
        assert 7.8 * RATE < max(starts) <= 8 * RATE


@pytest.mark.parametrize("samples", [100, 700, SAMPLES - 1, SAMPLES, SAMPLES + 1])
def test_a_noise_of_any_length_fills_the_clip(tracks: Tracks, tmp_path: Path, samples: int) -> None:
    noise = write_track(tmp_path / "n.wav", np.linspace(0.1, 0.9, samples), "n")
    for parameters in draw_many(
        Tracks(tracks.clean, TrackList([noise]), TrackList([])), 3, second_noise_probability=0.0, tilt=0.0
    ):
        (segments,) = parameters.noises
        assert sum(segment.samples for segment in segments) == SAMPLES
        noisy, clean = mix(parameters)
        # repeated from its start, without a hole
        ramp = np.tile(np.linspace(0.1, 0.9, samples), SAMPLES // samples + 1)[segments[0].start :][:SAMPLES]
        reached = (noisy - clean) / rms(noisy - clean)
        np.testing.assert_allclose(reached, ramp / rms(ramp), atol=1e-3)


def test_two_noises_are_equally_loud(tmp_path: Path, tracks: Tracks) -> None:
    time_s = np.arange(SAMPLES) / RATE
    loud = write_track(tmp_path / "low.wav", 0.9 * np.sin(2 * np.pi * 100 * time_s), "low")
    faint = write_track(tmp_path / "high.wav", 0.001 * np.sin(2 * np.pi * 3000 * time_s), "high")
    parameters = replace(
        draw_many(tracks, 1)[0],
        noises=tuple((Segment(track.path, 0, SAMPLES),) for track in (loud, faint)),
        noise_tilt=NO_TILT,
        band_limit_hz=None,
    )
    noisy, clean = mix(parameters)
    spectrum = np.abs(np.fft.rfft((noisy - clean).astype(np.float64)))
    assert db(spectrum[100 * 2] / spectrum[3000 * 2]) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("kind", ["clean", "noise", "impulse_responses"])
def test_silent_files_are_passed_over_and_named(tmp_path: Path, tracks: Tracks, kind: str) -> None:
    nothing = write_track(tmp_path / "silence.wav", np.zeros(SAMPLES), "nobody")
    some = replace(tracks, **{kind: TrackList([*getattr(tracks, kind), nothing])})
    many = draw_many(some, 40, reverb_probability=1.0, second_noise_probability=1.0)
    told = {reason for parameters in many for reason in parameters.skipped}
    assert told == {f"{nothing.path}: digital silence where it was to be used"}
    for parameters in many:
        noisy, clean = mix(parameters)
        assert clean.any() and (noisy - clean).any()
    only = replace(tracks, **{kind: TrackList([nothing])})
    with pytest.raises(InputError, match=r"50 draws of audio were of no use; the last: .*silence.wav: digital silence"):
        draw_many(only, 1, reverb_probability=1.0)


@pytest.mark.parametrize("silent", ["speech", "noises", "impulse_response"])
def test_silence_in_a_pair_does_no_harm(tmp_path: Path, tracks: Tracks, silent: str) -> None:
    nothing = Segment(write_track(tmp_path / "silence.wav", np.zeros(SAMPLES), "nobody").path, 0, SAMPLES)
    change = {"speech": (nothing,), "noises": ((nothing,),), "impulse_response": nothing}[silent]
    for parameters in draw_many(tracks, 5, reverb_probability=1.0):
        noisy, clean = mix(replace(parameters, **{silent: change}))  # type: ignore[arg-type]
        assert np.isfinite(noisy).all()
        assert np.isfinite(clean).all()
        assert clean.any() == (silent == "noises")
        if silent == "noises":
            np.testing.assert_array_equal(noisy, clean)
        else:
            assert db(rms(noisy)) <= parameters.level_dbfs + 0.01
            assert rms(noisy) > 0.001


def test_the_reverberant_target_keeps_the_time_of_the_dry_speech(tmp_path: Path, tracks: Tracks) -> None:
    clicks = np.zeros(SAMPLES)
    clicks[[1, 9000, 20000]] = 0.5
    speech = write_track(tmp_path / "clicks.wav", clicks, "clicks")
    rooms_used = set()
    for parameters in draw_many(
        Tracks(TrackList([speech]), tracks.noise, tracks.impulse_responses), 10, reverb_probability=1.0, tilt=0.0
    ):
        _, clean = mix(parameters)
        assert sorted(np.argsort(np.abs(clean))[-3:]) == [1, 9000, 20000]  # the direct sound
        assert rms(clean[9001:12000]) > 0.01 * abs(clean[9000])  # with the room behind it
        np.testing.assert_allclose(clean[100:8000], clean[9099:16999], atol=1e-4)  # the same room each time
        rooms_used.add(parameters.impulse_response)
    assert len(rooms_used) == 2


def test_the_target_is_the_reverberant_speech(tracks: Tracks) -> None:
    """Reverberation is not what this suppressor removes: noisy minus clean holds none of it."""
    parameters = draw_many(tracks, 1, reverb_probability=1.0, tilt=0.0, snr_db=(60.0, 60.0))[0]
    noisy, clean = mix(parameters)
    assert db(rms(noisy - clean) / rms(clean)) < -50


def test_a_tilt_colours_speech_and_noise_each_in_its_way(tracks: Tracks) -> None:
    parameters = draw_many(tracks, 1, reverb_probability=0.0, tilt=0.0)[0]
    flat_noisy, flat_clean = mix(parameters)
    noisy, clean = mix(replace(parameters, speech_tilt=(0.3, 0.1, -0.2, 0.1)))
    # (1 + 0.3/z + 0.1/z^2) / (1 - 0.2/z + 0.1/z^2), by its recursion
    expected = np.zeros(SAMPLES)
    x = flat_clean.astype(np.float64)
    for t in range(2, 3000):
        expected[t] = x[t] + 0.3 * x[t - 1] + 0.1 * x[t - 2] + 0.2 * expected[t - 1] - 0.1 * expected[t - 2]
    gain = (clean[100:3000] @ expected[100:3000]) / (expected[100:3000] @ expected[100:3000])
    np.testing.assert_allclose(clean[100:3000], gain * expected[100:3000], atol=1e-3 * np.abs(clean).max())
    noise, flat_noise = noisy - clean, flat_noisy - flat_clean
    np.testing.assert_allclose(noise / rms(noise), flat_noise / rms(flat_noise), atol=1e-2)


def test_a_band_limit_cuts_mixture_and_target_and_changes_nothing_else(tracks: Tracks) -> None:
    for seed in range(10):
        (parameters,) = draw_many(tracks, 1, seed, band_limit_probability=1.0)
        assert [replace(parameters, band_limit_hz=None)] == draw_many(tracks, 1, seed, band_limit_probability=0.0)
        limit_hz = parameters.band_limit_hz
        assert limit_hz is not None and 2500 <= limit_hz <= 7500
        for signal, whole in zip(mix(parameters), mix(replace(parameters, band_limit_hz=None)), strict=True):
            size, size_of_whole = (np.abs(np.fft.rfft(np.hanning(SAMPLES) * x)) for x in (signal, whole))
            hz = np.fft.rfftfreq(SAMPLES, 1 / 16000)
            ratio_db = 20 * np.log10(size / size_of_whole)
            middle = np.median(ratio_db[(hz > 200) & (hz < 0.6 * limit_hz)])
            assert np.median(ratio_db[hz > min(1.3 * limit_hz, 7900)]) < middle - 15
            at_limit = np.median(ratio_db[np.abs(hz - limit_hz) < 50])
            assert at_limit == pytest.approx(middle - 3, abs=1)


def test_active_level_does_not_hear_pauses() -> None:
    rng = np.random.default_rng(0)
    speech = speech_like(1.0, 200.0, rng)
    padded = np.concatenate([speech, np.zeros(len(speech) * 3)])
    assert active_rms(padded) == pytest.approx(active_rms(speech), rel=0.02)
    assert rms(padded) == pytest.approx(rms(speech) / 2, rel=0.01)


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 5000])
def test_active_level_of_a_steady_signal_is_its_rms(samples: int) -> None:
    assert active_rms(np.full(samples, -0.3)) == pytest.approx(0.3)
    assert active_rms(np.zeros(samples)) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"snr_db": (5, -5)},
        {"level_dbfs": 3},
        {"snr_db": (1, 2, 3)},
        {"reverb_probability": 1.5},
        {"second_noise_probability": -0.1},
        {"tilt": 0.5},
        {"band_limit_probability": -1},
    ],
)
def test_an_impossible_distribution_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        MixDistribution(**wrong)


def test_babble_is_several_other_speakers(tracks: Tracks) -> None:
    speaker_of = {track.path: track.group for track in tracks.clean}
    for parameters in draw_many(tracks, 40, babble_probability=1.0):
        (talker,) = {speaker_of[segment.path] for segment in parameters.speech if segment.path is not None}
        voices = [
            {speaker_of[segment.path] for segment in noise if segment.path is not None} for noise in parameters.noises
        ]
        assert all(len(voice) == 1 for voice in voices)
        others = set().union(*voices)
        assert talker not in others and len(voices) == len(others) == 2  # of three speakers
        assert all(sum(segment.samples for segment in noise) == SAMPLES for noise in parameters.noises)


def test_babble_needs_somebody_else(tracks: Tracks) -> None:
    alone = Tracks(TrackList(tracks.clean.of_group(tracks.clean[0].group)), tracks.noise, TrackList([]))
    noises = {track.path for track in tracks.noise}
    for parameters in draw_many(alone, 10, babble_probability=1.0):
        assert {segment.path for noise in parameters.noises for segment in noise} <= noises


def test_speech_with_enough_activity_is_chosen(tmp_path: Path, tracks: Tracks) -> None:
    # 20 s of which 3 s are speech: a place drawn blindly holds some in one of three cases.
    audio = 1e-5 * np.random.default_rng(1).standard_normal(20 * RATE)
    audio[8 * RATE : 11 * RATE] += speech_like(3.0, 150.0, np.random.default_rng(2))
    pauses = TrackList([write_track(tmp_path / "pauses.wav", audio, "anna")])
    pauses_in = Tracks(pauses, tracks.noise, TrackList([]))
    found = {}
    for least in (0.0, 0.4):
        spoken = [join_segments(one.speech) for one in draw_many(pauses_in, 60, min_activity=least)]
        found[least] = np.mean([rms(audio) > 1e-3 and activity(audio) >= 0.4 for audio in spoken])
    assert found[0.4] > 0.7  # ten tries each
    assert found[0.0] < 0.35


def test_a_silent_place_in_a_noise_is_passed_over(tmp_path: Path, tracks: Tracks) -> None:
    audio = np.zeros(20 * RATE)
    audio[10 * RATE :] = 0.1 * np.random.default_rng(0).standard_normal(10 * RATE)
    half = TrackList([write_track(tmp_path / "half.wav", audio, "n")])
    for parameters in draw_many(Tracks(tracks.clean, half, TrackList([])), 60):
        noisy, clean = mix(parameters)
        assert db(speech_rms(clean) / rms(noisy - clean)) == pytest.approx(parameters.snr_db, abs=0.05)


@pytest.mark.parametrize("kind", ["clean", "noise", "impulse_responses"])
def test_a_file_that_breaks_is_replaced_and_named(tmp_path: Path, tracks: Tracks, kind: str) -> None:
    source = getattr(tracks, kind)
    copies = []
    for index, track in enumerate(source):
        copy = tmp_path / f"{index}.wav"
        copy.write_bytes(Path(track.path).read_bytes())
        copies.append(replace(track, path=str(copy)))
    mine = replace(tracks, **{kind: TrackList(copies)})
    (tmp_path / "0.wav").write_bytes(b"RIFF and no more")
    many = draw_many(mine, 40, reverb_probability=1.0)
    told = {reason for parameters in many for reason in parameters.skipped}
    assert len(told) == 1
    assert str(tmp_path / "0.wav") in told.pop()
    assert sum(bool(parameters.skipped) for parameters in many) > 2
    assert draw_many(mine, 40, reverb_probability=1.0) == many  # others in its place, the same each time
    for parameters in many:
        assert np.isfinite(mix(parameters)[0]).all()
    for copy in tmp_path.iterdir():
        copy.unlink()
    with pytest.raises(InputError, match=r"50 draws of audio were of no use; the last: .*\.wav: was readable"):
        draw_many(mine, 1, reverb_probability=1.0)


def test_a_response_longer_than_the_clip_is_heard_as_far_as_it_reaches(tmp_path: Path, tracks: Tracks) -> None:
    long = np.zeros(4 * SAMPLES)
    long[[50, 50 + SAMPLES // 2, 50 + SAMPLES]] = 1.0, 0.5, 0.25
    rooms = TrackList([write_track(tmp_path / "long.wav", long * 0.9, "long")])
    (parameters,) = draw_many(replace(tracks, impulse_responses=rooms), 1, reverb_probability=1.0, tilt=0.0)
    _, wet = mix(parameters)
    _, dry = mix(replace(parameters, impulse_response=None))
    expected = dry + 0.5 * np.concatenate([np.zeros(SAMPLES // 2), dry[: -SAMPLES // 2]])
    np.testing.assert_allclose(wet / rms(wet), expected / rms(expected), atol=2e-3)
