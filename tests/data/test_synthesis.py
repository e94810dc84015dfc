"""What is drawn is what is in the files: measured on clips that were written and read again."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from speechbrain_dynsnet.data.clip_folder import ClipFolder, Row
from speechbrain_dynsnet.data.dns2020 import parse_noisy
from speechbrain_dynsnet.data.levels import activity
from speechbrain_dynsnet.data.manifest import read_whole_corpus
from speechbrain_dynsnet.data.recordings import Recordings, open_recordings
from speechbrain_dynsnet.data.synthesis import (
    ClipParameters,
    SynthesisSettings,
    draw_clip,
    early_part,
    make_clip,
    noisy_name,
)
from speechbrain_dynsnet.errors import InputError
from tests.data.marked import RATE, SPEAKERS, make_marked_set, read, tone, utterance_at, write

STEP = 1 / 32768  # of 16-bit files
GAP = RATE // 5
SETTINGS = SynthesisSettings(audio_length=4.0)

Signal = NDArray[np.float64]


def open_folder(folder: Path, decoded: Path | None = None) -> Recordings:
    return open_recordings(read_whole_corpus(folder), folder, decoded or folder / "decoded")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    return open_folder(make_marked_set(tmp_path_factory.mktemp("marked")))


def draw_many(recordings: Recordings, count: int, **options: Any) -> list[ClipParameters]:
    return [draw_clip(recordings, replace(SETTINGS, **options), file_id) for file_id in range(count)]


def written(recordings: Recordings, parameters: ClipParameters, folder: Path) -> tuple[Row, Signal, Signal, Signal]:
    """The row of the log; noisy, clean and noise as they are in the files."""
    for kind in ("noisy", "clean", "noise"):
        (folder / kind).mkdir(exist_ok=True)
    row = ClipFolder(folder).write(parameters, make_clip(parameters), recordings)
    names = (f"clean/clean_fileid_{row['file_id']}.wav", f"noise/noise_fileid_{row['file_id']}.wav")
    noisy, clean, noise = (read(folder / name) for name in (f"noisy/{row['noisy']}", *names))
    return row, noisy, clean, noise


def db(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def rms(signal: Signal) -> float:
    return float(np.sqrt(np.mean(signal**2)))


def active_level(signal: Signal) -> float:
    """RMS where there is sound, by hand: over the 32 ms frames that are within 35 dB of the loudest."""
    levels = np.array([rms(signal[start : start + 512]) for start in range(0, len(signal) - 511, 512)])
    return float(np.sqrt(np.mean(levels[levels > levels.max() / 10 ** (35 / 20)] ** 2)))


def sounding(signal: Signal) -> list[tuple[int, int]]:
    """Start and end of what lies between silences of 50 ms or more."""
    places = np.flatnonzero(signal)
    breaks = np.flatnonzero(np.diff(places) > RATE // 20)
    return [
        (int(places[first]), int(places[last]) + 1)
        for first, last in zip([0, *(breaks + 1)], [*breaks, len(places) - 1], strict=True)
    ]


def pitch(signal: Signal) -> float:
    spectrum = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), 4 * RATE))
    return float(spectrum.argmax() / 4)


@pytest.mark.parametrize("reverb", [0.0, 1.0])
def test_the_files_have_the_snr_and_the_level_drawn(recordings: Recordings, tmp_path: Path, reverb: float) -> None:
    for parameters in draw_many(recordings, 25, reverb_probability=reverb):
        row, noisy, clean, noise = written(recordings, parameters, tmp_path)
        assert len(noisy) == len(clean) == len(noise) == 4 * RATE
        assert np.abs(noisy - clean - noise).max() <= 1.01 * STEP
        peak = max(np.abs(signal).max() for signal in (noisy, clean, noise))
        assert peak < 0.99
        assert abs(noisy.mean() - clean.mean() - noise.mean()) < 0.05 * STEP
        # 16 bits are coarse for noise 40 dB under faint speech
        assert db(active_level(clean) / active_level(noise)) == pytest.approx(parameters.snr_db, abs=0.3)
        assert db(rms(noisy)) == pytest.approx(float(row["level_reached_dbfs"]), abs=0.01)
        if peak < 0.98:
            assert db(rms(noisy)) == pytest.approx(parameters.level_dbfs, abs=0.01)


def test_what_would_be_too_loud_is_turned_down_as_a_whole(recordings: Recordings, tmp_path: Path) -> None:
    many = draw_many(recordings, 10, target_level_lower=0.0, target_level_upper=6.0, snr_lower=-20.0, snr_upper=20.0)
    for parameters in many:
        row, noisy, clean, noise = written(recordings, parameters, tmp_path)
        assert 0.9899 < max(np.abs(signal).max() for signal in (noisy, clean, noise)) < 0.99
        assert db(active_level(clean) / active_level(noise)) == pytest.approx(parameters.snr_db, abs=0.05)
        assert db(rms(noisy)) == pytest.approx(float(row["level_reached_dbfs"]), abs=0.01)
        assert float(row["level_reached_dbfs"]) < parameters.level_dbfs - 0.5
        assert f"_tl{round(db(rms(noisy)))}_" in row["noisy"]


def test_a_clip_is_one_speaker_with_gaps_between_the_utterances(recordings: Recordings, tmp_path: Path) -> None:
    heard = set()
    for parameters in draw_many(recordings, 12, target_level_lower=-20.0):
        row, _, clean, _ = written(recordings, parameters, tmp_path)
        parts = sounding(clean)
        starts, ends = np.array(parts).T
        # the first and last sample of a tone may round to zero
        np.testing.assert_allclose(starts[1:] - ends[:-1], GAP, atol=4)
        utterances = [utterance_at(pitch(clean[start:end])) for start, end in parts if end - start > 2000]
        assert {utterance.split("/")[0] for utterance in utterances} == {row["speaker"]}
        assert max(Counter(utterances[:4]).values()) == 1  # all four before any comes again
        heard.add(row["speaker"])
    assert heard == set(SPEAKERS)


def test_every_recording_leads_a_clip_before_one_leads_a_second(recordings: Recordings) -> None:
    speech, noise = len(recordings.tracks.clean), len(recordings.tracks.noise)
    many = draw_many(recordings, 2 * speech)
    for lap in (many[:speech], many[speech:]):
        assert len({parameters.speech[0].path for parameters in lap}) == speech
    for lap in (many[:noise], many[noise : 2 * noise]):
        assert len({parameters.noise[0].path for parameters in lap}) == noise
    assert [p.speech[0].path for p in many[:speech]] != [p.speech[0].path for p in many[speech:]]


def test_draws_fill_their_ranges(recordings: Recordings) -> None:
    many = draw_many(recordings, 400, reverb_probability=0.3)
    for low, high, values in (
        (0, 40, [parameters.snr_db for parameters in many]),
        (-35, -15, [parameters.level_dbfs for parameters in many]),
    ):
        assert low <= min(values) < low + 0.02 * (high - low)
        assert high >= max(values) > high - 0.02 * (high - low)
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.05 * (high - low))
        assert not any(value.is_integer() for value in values)
    assert np.mean([p.impulse_response is not None for p in many]) == pytest.approx(0.3, abs=0.07)


@pytest.mark.parametrize(
    ("options", "levels_db"),
    [
        ({"total_snrlevels": 5}, {0.0, 10.0, 20.0, 30.0, 40.0}),
        ({"total_snrlevels": 2, "snr_lower": -5.0, "snr_upper": 25.0}, {-5.0, 25.0}),
        ({"randomize_snr": False}, {20.0}),
        ({"randomize_snr": False, "snr": 7.5}, {7.5}),
        ({"snr_lower": 3.0, "snr_upper": 3.0}, {3.0}),
    ],
)
def test_snrs_can_be_a_few_or_one(recordings: Recordings, options: dict[str, Any], levels_db: set[float]) -> None:
    assert {parameters.snr_db for parameters in draw_many(recordings, 40, **options)} == levels_db


def test_a_clip_depends_on_seed_and_file_id_alone(recordings: Recordings) -> None:
    some = {file_id: draw_clip(recordings, SETTINGS, file_id) for file_id in (7, 3, 11)}
    in_order = draw_many(recordings, 12)
    assert all(in_order[file_id] == parameters for file_id, parameters in some.items())
    assert len({(p.snr_db, p.level_dbfs) for p in in_order}) == 12
    assert draw_clip(recordings, replace(SETTINGS, seed=1), 3) != some[3]
    clips = (make_clip(in_order[3]), make_clip(some[3]))
    for one, again in zip(*(vars(clip).values() for clip in clips), strict=True):
        np.testing.assert_array_equal(one, again)


def test_the_early_target_is_the_reverberant_one_up_to_50_ms(tmp_path: Path) -> None:
    folder = make_marked_set(tmp_path / "set")
    clicks = np.zeros(4 * RATE)
    clicks[[100, 20000, 45000]] = 0.5
    for path in sorted((folder / "clean").rglob("*.wav")):
        write(path, clicks)
    recordings = open_folder(folder)
    options = {"reverb_probability": 1.0, "clean_activity_threshold": 0.0}
    rooms = set()
    for all_of_it, early in zip(
        draw_many(recordings, 6, **options), draw_many(recordings, 6, target="early", **options), strict=True
    ):
        assert replace(all_of_it, target="early") == early
        noisy, clean, noise, _ = vars(make_clip(all_of_it)).values()
        early_noisy, early_clean, early_noise, _ = vars(make_clip(early)).values()
        np.testing.assert_array_equal(noisy, early_noisy)
        np.testing.assert_array_equal(noise, early_noise)
        for click in (100, 20000, 45000):
            end = click + 800 + 1  # the direct path, and 50 ms
            assert abs(int(np.abs(early_clean[click - 50 : end]).argmax()) - 50) == 0
            np.testing.assert_allclose(early_clean[click:end], clean[click:end], atol=1e-6)
            assert rms(clean[end : end + 2000]) > 1e-3 * abs(clean[click])
            np.testing.assert_allclose(early_clean[end + 1 : end + 2000], 0.0, atol=1e-6)
        rooms.add(all_of_it.impulse_response)
    assert len(rooms) == 2


def test_the_early_part_ends_50_ms_after_the_direct_path() -> None:
    response = np.ones(5000)
    response[300] = -2.0
    assert len(early_part(response)) == 300 + 1 + 800
    assert len(early_part(response[:700])) == 700


def test_a_room_longer_than_the_clip(tmp_path: Path) -> None:
    folder = make_marked_set(tmp_path, rooms=False)
    response = 0.05 * np.random.default_rng(0).standard_normal(6 * RATE)
    response[5 * RATE] = 1.0  # even its direct path
    write(folder / "impulse_responses" / "hall.wav", response)
    recordings = open_folder(folder)
    for target in ("reverberant", "early"):
        (parameters,) = draw_many(recordings, 1, reverb_probability=1.0, target=target)
        clip = make_clip(parameters)
        assert clip.noisy.shape == clip.clean.shape == clip.noise.shape == (4 * RATE,)
        assert np.isfinite(clip.noisy).all()
        assert rms(clip.clean) > 1e-4


def test_clipped_silent_and_damaged_recordings_are_skipped(tmp_path: Path) -> None:
    folder = make_marked_set(tmp_path)
    loud = np.clip(9 * tone(1.0, 333.0, 0.9), -1, 1)
    bad = {
        "clean/anna/clipped.wav": ("clipped", loud),
        "clean/ben/silent.wav": ("silent", np.zeros(RATE)),
        "clean/carl/damaged.flac": ("unreadable", 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)),
        "noise/clipped.wav": ("clipped", loud),
        "noise/silent.wav": ("silent", np.zeros(RATE)),
        "impulse_responses/silent.wav": ("silent", np.zeros(RATE)),
    }
    for name, (_, samples) in bad.items():
        write(folder / name, samples)
    recordings = open_folder(folder)
    damaged = folder / "clean/carl/damaged.flac"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:20000] + bytes(40000) + content[60000:])
    skipped = {}
    for parameters in draw_many(recordings, 40, reverb_probability=0.5):
        segments = (*parameters.speech, *parameters.noise, parameters.impulse_response)
        used = {segment.path for segment in segments if segment}
        assert not used & parameters.skipped.keys()
        skipped |= {recordings.name(path): reason for path, reason in parameters.skipped.items()}
        if parameters.file_id < 5:
            row, *_ = written(recordings, parameters, tmp_path)
            assert row["skipped"].count(":") == len(parameters.skipped)
    assert skipped == {name: reason for name, (reason, _) in bad.items()}


def test_utterances_of_a_few_samples_and_a_single_noise_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path / "noise" / "click.wav", np.full(3, 0.5))
    for number, samples in enumerate((1, 5, 4 * RATE - 1, 4 * RATE, 4 * RATE + 1)):
        write(tmp_path / "clean" / "anna" / f"{number}.wav", tone(5.0, 500.0, 0.5)[:samples])
    for parameters in draw_many(open_folder(tmp_path), 10):
        clip = make_clip(parameters)
        assert sum(segment.samples for segment in parameters.speech) == len(clip.noisy) == 4 * RATE
        assert np.isfinite(clip.noisy).all()


@pytest.mark.parametrize(
    ("kind", "samples", "message"),
    [
        ("clean", np.ones(RATE), r"no usable clean audio .* 4 clipped, such as clean/anna/anna_\d\.wav"),
        ("noise", np.zeros(RATE), r"no usable noise audio .* 3 silent"),
        ("impulse_responses", np.zeros(RATE), r"no usable impulse response .* 2 silent"),
        ("clean", 0.5 * (np.arange(RATE) < 2000), r"most active .* 0\.\d+ .* lower clean_activity_threshold \(0\.6\)"),
    ],
)
def test_nothing_usable_is_said_and_why(tmp_path: Path, kind: str, samples: Signal, message: str) -> None:
    folder = make_marked_set(tmp_path)
    for name in SPEAKERS[1:]:
        for path in sorted((folder / "clean" / name).glob("*.wav")):
            path.unlink()
    for path in sorted((folder / kind).rglob("*.wav")):
        write(path, samples)
    with pytest.raises(InputError, match=message):
        draw_many(open_folder(folder), 1, reverb_probability=1.0)


def test_reverberation_needs_rooms(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no impulse_responses/"):
        draw_many(open_folder(make_marked_set(tmp_path, rooms=False)), 1, reverb_probability=0.1)


def test_only_active_speech_passes(tmp_path: Path) -> None:
    folder = make_marked_set(tmp_path)
    long_pauses = np.tile(np.concatenate([tone(0.4, 500.0, 0.3), np.zeros(RATE)]), 4)
    for path in sorted((folder / "clean" / "anna").glob("*.wav")):
        write(path, long_pauses)
    recordings = open_folder(folder)
    strict, lax = (draw_many(recordings, 24, clean_activity_threshold=threshold) for threshold in (0.6, 0.0))
    assert {parameters.speaker for parameters in strict} == {"ben", "carl"}
    assert sum(parameters.inactive for parameters in strict) >= 8
    assert {parameters.speaker for parameters in lax} == set(SPEAKERS)
    assert not any(parameters.inactive for parameters in lax)


def test_activity_is_the_share_with_sound() -> None:
    steady = tone(2.0, 300.0, 0.1)
    assert activity(steady) == 1.0
    assert activity(np.zeros(RATE)) == 0.0
    assert activity(np.zeros(3)) == 0.0
    for silence_s in (1, 2, 4):
        # one window more: the first of the silence still counts
        expected = (2.0 + 0.05) / (2.0 + silence_s)
        assert activity(np.concatenate([steady, np.zeros(silence_s * RATE)])) == pytest.approx(expected, abs=1e-9)
    mixed = np.concatenate([steady, 0.3 * steady, np.zeros(RATE)])
    assert activity(1e-3 * mixed) == activity(mixed)


def test_activity_decides_as_the_challenge_does() -> None:
    """Its published rule, one window after the other: logistic in 20 log10 of the energy, at -25 dB full scale."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        signal = rng.standard_normal(60 * 800) * np.repeat(10 ** rng.uniform(-1.5, 0, 60), 800)
        scaled = signal / rms(signal) * 10 ** (-25 / 20)
        active, before = 0, 0.0
        for window in scaled.reshape(60, 800):
            now = 1 / (1 + np.exp(1 - 0.2 * db(np.sum(window**2))))
            share = 0.8 if now > before else 0.05
            active += share * now + (1 - share) * before > 0.13
            before = now
        assert activity(signal) == active / 60


def test_names_are_the_challenges(tmp_path: Path, recordings: Recordings) -> None:
    (parameters,) = draw_many(recordings, 1)
    parameters = replace(parameters, file_id=123, snr_db=14.6)
    clip = replace(make_clip(parameters), level_dbfs=-21.9)
    name = noisy_name(parameters, clip, recordings.name)
    assert re.fullmatch(r"(anna|ben|carl)_\d(-\w+_\d)*_\w+(-\w+)*_snr15_tl-22_fileid_123\.wav", name)
    long = noisy_name(parameters, clip, lambda path: "ü" * 90 + ".wav")
    (tmp_path / long).touch()  # file systems count bytes
    for noisy in (name, long, noisy_name(parameters, clip, lambda path: "a_snr3_tl4_fileid_5.wav")):
        found = parse_noisy(noisy)
        assert found is not None
        assert (found.file_id, found.snr_db, found.level_dbfs) == (123, 15.0, -22.0)


def test_the_log_says_what_was_drawn(recordings: Recordings, tmp_path: Path) -> None:
    for parameters in draw_many(recordings, 4, reverb_probability=1.0, target="early"):
        row, *_ = written(recordings, parameters, tmp_path)
        assert (int(row["file_id"]), row["speaker"], row["target"]) == (parameters.file_id, parameters.speaker, "early")
        assert float(row["snr_db"]) == pytest.approx(parameters.snr_db, abs=1e-3)
        assert float(row["level_dbfs"]) == pytest.approx(parameters.level_dbfs, abs=1e-3)
        assert re.fullmatch(r"impulse_responses/room_\d\.wav", row["impulse_response"])
        spoken = [segment for segment in parameters.speech if segment.path]
        assert row["speech"].count(";") == len(spoken) - 1
        assert row["speech"].startswith(f"clean/{row['speaker']}/{row['speaker']}_")
        assert row["speech"].endswith(f"[{spoken[-1].start}:{spoken[-1].start + spoken[-1].samples}]")
        assert row["noise"].startswith("noise/")


def test_decoded_recordings_keep_their_names(tmp_path: Path) -> None:
    folder = make_marked_set(tmp_path / "set")
    for path in sorted((folder / "clean").rglob("*.wav")):
        write(path.with_suffix(".opus"), read(path))
        path.unlink()
    recordings = open_folder(folder, tmp_path / "decoded")
    (parameters,) = draw_many(recordings, 1)
    assert parameters.speaker in SPEAKERS
    name = recordings.name(str(parameters.speech[0].path))
    assert re.fullmatch(rf"clean/{parameters.speaker}/{parameters.speaker}_\d\.opus", name)
    assert recordings.fingerprint() == open_folder(folder, tmp_path / "elsewhere").fingerprint()
    (folder / "clean" / "anna" / "anna_0.opus").unlink()
    assert recordings.fingerprint() != open_folder(folder, tmp_path / "decoded").fingerprint()


@pytest.mark.parametrize(
    "wrong",
    [
        {"audio_length": 0.0},
        {"audio_length": float("nan")},
        {"silence_length": -1.0},
        {"snr_lower": 41.0},
        {"target_level_upper": -40.0},
        {"total_snrlevels": 0},
        {"snr": 5.0},
        {"clean_activity_threshold": 1.0},
        {"noise_activity_threshold": -0.1},
        {"reverb_probability": 1.1},
        {"target": "dry"},
        {"seed": -1},
    ],
)
def test_impossible_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SynthesisSettings(**wrong)
