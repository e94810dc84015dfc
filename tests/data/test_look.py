"""What a look at data says is what an independent computation gives, and a large data set is not read whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from speechbrain_dynsnet.data import look_files
from speechbrain_dynsnet.data.check import Problem
from speechbrain_dynsnet.data.clip_folder import COLUMNS
from speechbrain_dynsnet.data.look import CLIP_S, MIXING, LookSettings, look
from speechbrain_dynsnet.data.look_files import look_at_files
from speechbrain_dynsnet.data.look_pairs import LookPair, look_at_pairs
from speechbrain_dynsnet.data.look_text import describe
from speechbrain_dynsnet.data.manifest import Source, read_corpus
from speechbrain_dynsnet.data.pairs import PairDataset, open_corpus
from speechbrain_dynsnet.data.shard_writing import pair_samples, write_shards
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.training.recipe import load_recipe
from speechbrain_dynsnet.writing import write_table
from tests.data.marked import RATE, make_marked_set, write

ROOT = Path(__file__).parents[2]


def tone(seconds: float, level_dbfs: float, hz: float = 500.0) -> NDArray[np.float64]:
    """A sine of this RMS level: its peak is 3 dB above, and each 32 ms hold whole periods."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(np.sqrt(2.0) * 10.0 ** (level_dbfs / 20.0) * np.sin(2 * np.pi * hz * time_s))


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Two speakers: a quiet tone, a tone with as much silence, and one that is clipped."""
    pause = np.zeros(2 * RATE)
    recordings = {
        "anna/quiet": tone(1.024, -40.0),
        "anna/paused": np.concatenate([tone(2.048, -20.0), pause]),
        "ben/clipped": np.clip(2.0 * tone(4.096, -3.0), -1.0, 1.0),
    }
    return [
        Source(write(tmp_path / "clean" / f"{name}.wav", samples), "clean", name.partition("/")[0])
        for name, samples in recordings.items()
    ]


def test_files_are_as_long_and_as_loud_as_they_were_made(sources: list[Source], tmp_path: Path) -> None:
    found = look_at_files(sources, "train", "clean", tmp_path / "decoded")
    assert (found.files, found.sampled, found.clipped, found.groups, found.left_out) == (3, 3, 1, 2, ())
    np.testing.assert_allclose(found.seconds, [1.024, 4.048, 4.096])
    np.testing.assert_allclose(found.levels_dbfs[:2], [-40.0, -20.0], atol=0.05)
    assert -1.5 < found.levels_dbfs[2] < 0.0


def test_files_of_no_use_are_listed_and_the_rest_counted(sources: list[Source], tmp_path: Path) -> None:
    folder = tmp_path / "clean" / "carl"
    write(folder / "silent.wav", np.zeros(RATE))
    soundfile.write(folder / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    (folder / "text.wav").write_text("no audio")
    (folder / "empty.wav").touch()
    listed = [*sources, *(Source(path, "clean", "carl") for path in sorted(folder.iterdir()))]
    found = look_at_files(listed, "train", "clean", tmp_path / "decoded")
    problems = {file.path.stem: file.problem for file in found.left_out}
    assert problems == {
        "text": Problem.UNREADABLE,
        "empty": Problem.EMPTY,
        "silent": Problem.SILENT,
        "nan": Problem.DAMAGED,
    }
    assert (found.files, len(found.seconds), len(found.levels_dbfs), found.groups) == (7, 3, 3, 2)


@pytest.mark.parametrize("content", [b"", b"no audio at all", None])
def test_files_that_are_all_of_no_use_are_an_error_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content) if content is not None else write(path, np.zeros(900))
    with pytest.raises(InputError, match=r"a\.wav: .*none of the 1 files.*train noise") as caught:
        look_at_files([Source(path, "noise", "")], "train", "noise", tmp_path / "decoded")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "limit", "read"), [("SAMPLE_FILES", 4, 4), ("SAMPLE_HOURS", 2.5 / 3600, 3)])
def test_only_a_sample_is_read_whole(
    name: str, limit: float, read: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_files, name, limit)
    paths = [write(tmp_path / f"{index}.wav", tone(1.0, -20.0 - index)) for index in range(12)]
    sources = [Source(path, "noise", path.stem) for path in paths]
    one, again, other = (look_at_files(sources, "", "noise", tmp_path / "decoded", seed) for seed in (0, 0, 1))
    assert one.sampled == len(one.levels_dbfs) == len(one.tracks) == read
    assert len(one.seconds) == one.groups == 12
    np.testing.assert_array_equal(one.levels_dbfs, again.levels_dbfs)
    assert set(one.levels_dbfs) != set(other.levels_dbfs)


@dataclass(frozen=True)
class Given:
    """Pairs from a list; None cannot be read."""

    pairs: Sequence[LookPair | None]

    def pair(self, number: int) -> LookPair:
        if (pair := self.pairs[number]) is None:
            raise InputError(f"pair {number} is damaged")
        return pair


def given_pair(speech_dbfs: float, noise_dbfs: float) -> LookPair:
    clean = tone(1.024, speech_dbfs) if np.isfinite(speech_dbfs) else np.zeros(16384)
    noise = tone(1.024, noise_dbfs, hz=1500.0) if np.isfinite(noise_dbfs) else np.zeros(16384)
    return LookPair((clean + noise).astype(np.float32), clean.astype(np.float32))


def test_pairs_measure_as_they_were_made() -> None:
    levels = [(-20.0, -30.0), (-30.0, -25.0), (-26.0, -46.0)]
    found = look_at_pairs(Given([given_pair(*both) for both in levels]), range(3))
    speech, noise = np.array(levels).T
    np.testing.assert_allclose(found.column("snr_db"), speech - noise, atol=0.01)
    np.testing.assert_allclose(found.column("speech_dbfs"), speech, atol=0.01)
    np.testing.assert_allclose(found.column("noise_dbfs"), noise, atol=0.01)
    # Two sines of different whole periods: their powers add up.
    power = 10.0 ** (speech / 10.0) + 10.0 ** (noise / 10.0)
    np.testing.assert_allclose(found.column("mixture_dbfs"), 10.0 * np.log10(power), atol=0.01)
    np.testing.assert_allclose(found.column("seconds"), 1.024)
    assert [pair.number for pair in found.spread(3)] == [1, 0, 2]


def test_a_damaged_pair_is_named_and_the_others_measured() -> None:
    found = look_at_pairs(Given([None, given_pair(-20.0, -30.0)]), range(2))
    assert ([pair.number for pair in found.measured], found.unreadable) == ([1], ("pair 0 is damaged",))
    with pytest.raises(InputError, match="none of 2 pairs can be read; the first: pair 0"):
        look_at_pairs(Given([None, None]), range(2))


def test_pairs_without_speech_or_noise_have_no_snr() -> None:
    found = look_at_pairs(Given([given_pair(-np.inf, -20.0), given_pair(-20.0, -np.inf)]), range(2))
    assert found.column("snr_db").tolist() == [-np.inf, np.inf]
    assert found.spread(3) == []


def test_pairs_of_a_folder_are_those_of_training(tmp_path: Path) -> None:
    folder = make_marked_set(tmp_path / "set")
    mixing = replace(MIXING, band_limit_probability=0.0)  # which comes last, and alters level and SNR
    settings = LookSettings(clips=12, seed=5, mixing=mixing, clip_s=0.5, decoded_folder=tmp_path / "decoded")
    found = look(str(folder), settings)
    tracks = open_corpus(read_corpus(folder)["train"], tmp_path / "decoded")
    dataset = PairDataset(tracks, mixing, clip_s=0.5, seed=5)
    for measured in found.pairs.measured:
        noisy, clean, _ = dataset[measured.number]
        again = found.source.pair(measured.number)
        np.testing.assert_array_equal(again.noisy, noisy.numpy())
        np.testing.assert_array_equal(again.clean, clean.numpy())
    np.testing.assert_allclose(found.pairs.column("snr_db"), found.pairs.column("asked_snr_db"), atol=0.01)
    # A peak may keep a mixture below the level asked for, and nothing lifts it above.
    above = found.pairs.column("mixture_dbfs") - found.pairs.column("asked_level_dbfs")
    assert above.max() < 0.01


def test_the_defaults_are_those_of_the_recipes() -> None:
    recipe = load_recipe(ROOT / "hparams" / "concat_joint.yaml")
    assert (recipe.mixing, recipe.clip_s) == (MIXING, CLIP_S)


def test_a_manifest_in_a_folder_says_what_there_is(tmp_path: Path) -> None:
    folder = make_marked_set(tmp_path)
    rows = [
        f"{path.relative_to(folder)},{kind},{split},{path.stem}"
        for kind, train, valid in (("clean", "anna/anna_0", "ben/ben_0"), ("noise", "hiss", "short"))
        for split, path in (("train", folder / kind / f"{train}.wav"), ("valid", folder / kind / f"{valid}.wav"))
    ]
    (folder / "manifest.csv").write_text("\n".join(["path,kind,split,speaker_or_category", *rows]) + "\n")
    found = look(str(folder), LookSettings(clips=1, clip_s=0.5, decoded_folder=tmp_path / "decoded"))
    assert [(one.split, one.kind, one.files) for one in found.files] == [
        ("train", "clean", 1),
        ("train", "noise", 1),
        ("valid", "clean", 1),
        ("valid", "noise", 1),
    ]
    alone = look(str(folder), LookSettings(("valid",), clips=1, clip_s=0.5, decoded_folder=tmp_path / "decoded"))
    assert {one.split for one in alone.files} == {"valid"}


SNRS_DB = (3, 9, 15)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three pairs, of which the log has the first, and a clean file without a noisy one."""
    folder = tmp_path / "clips"
    for number, snr_db in enumerate(SNRS_DB):
        pair = given_pair(-25.0, -25.0 - snr_db)
        write(folder / "clean" / f"clean_fileid_{number}.wav", pair.clean)
        write(folder / "noise" / f"noise_fileid_{number}.wav", pair.noisy - pair.clean)
        write(folder / "noisy" / f"book_noise_snr{snr_db}_tl-25_fileid_{number}.wav", pair.noisy)
    write(folder / "clean" / "clean_fileid_9.wav", tone(1.0, -20.0))
    row = dict.fromkeys(COLUMNS, "") | {
        "file_id": "0",
        "noisy": "book_noise_snr3_tl-25_fileid_0.wav",
        "snr_db": "3.250",
        "level_dbfs": "-24.500",
        "speaker": "anna",
    }
    write_table(folder / "log.csv", COLUMNS, [row])
    return folder


def test_clips_are_measured_beside_what_their_log_or_names_say(clips: Path, tmp_path: Path) -> None:
    found = look(str(clips), LookSettings(decoded_folder=tmp_path / "decoded"))
    np.testing.assert_allclose(found.pairs.column("snr_db"), SNRS_DB, atol=0.02)
    assert found.pairs.column("asked_snr_db").tolist() == [3.25, 9.0, 15.0]
    np.testing.assert_array_equal(found.pairs.column("asked_level_dbfs"), [-24.5, np.nan, np.nan])
    by_kind = {one.kind: one for one in found.files}
    assert {kind: (one.files, one.groups) for kind, one in by_kind.items()} == {
        "clean": (4, 1),
        "noise": (3, 0),
        "noisy": (3, 1),
    }
    assert [(file.path.name, file.problem) for file in by_kind["clean"].left_out] == [
        ("clean_fileid_9.wav", Problem.NO_PARTNER)
    ]
    np.testing.assert_allclose(by_kind["noise"].levels_dbfs, [-25.0 - snr_db for snr_db in SNRS_DB], atol=0.05)


def test_shards_measure_as_the_clips_in_them(clips: Path, tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", pair_samples(clips)[0], "pairs", 2, "flac", 1)
    settings = LookSettings(decoded_folder=tmp_path / "decoded")
    shards, files = (look(str(folder), settings) for folder in (tmp_path / "shards", clips))
    for name in ("snr_db", "speech_dbfs", "mixture_dbfs", "seconds"):
        np.testing.assert_array_equal(shards.pairs.column(name), files.pairs.column(name))
    assert np.isnan(shards.pairs.column("asked_snr_db")).all()
    assert shards.files == ()


def test_no_more_pairs_are_measured_than_asked_for(clips: Path, tmp_path: Path) -> None:
    found = [look(str(clips), LookSettings(clips=2, seed=seed, decoded_folder=tmp_path)) for seed in range(8)]
    drawn = {tuple(pair.number for pair in one.pairs.measured) for one in found}
    assert drawn == {(0, 1), (0, 2), (1, 2)}


def test_pairs_have_no_splits(clips: Path) -> None:
    with pytest.raises(InputError, match="leave out --split"):
        look(str(clips), LookSettings(splits=("train",)))


def test_the_text_names_ten_files_left_out_and_counts_the_rest(clips: Path, tmp_path: Path) -> None:
    for number in range(20, 35):
        write(clips / "clean" / f"clean_fileid_{number}.wav", tone(0.1, -20.0))
    lines = describe(look(str(clips), LookSettings(decoded_folder=tmp_path / "decoded")))
    start = lines.index("left out of clean: 16 of 19 files")
    assert all("no partner" in line and str(clips) in line for line in lines[start + 1 : start + 11])
    assert lines[start + 11] == "  and 6 no partner"


def test_the_table_has_what_was_measured(clips: Path, tmp_path: Path) -> None:
    text = "\n".join(describe(look(str(clips), LookSettings(decoded_folder=tmp_path / "decoded"))))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["clean"] == ["clean", "3", "0.00", "1", *"1.0 (1.0 to 1.0) -25.0 (-25.0 to -25.0) 0.0% 1".split()]
    assert "9.0 (3.6 to 14.4)" in text  # SNRs of 3, 9 and 15 dB: the percentiles 5, 50 and 95
    assert "nan" not in text and "inf" not in text
