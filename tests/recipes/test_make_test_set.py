"""A test set as DNS-2020's: the same bits on every run, balanced, at the SNRs and levels that its log says."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from recipes.DNS2020.make_test_set import main
from speechbrain_dynsnet.cli.pairing import find_pairs
from speechbrain_dynsnet.data.dns2020 import match_pairs, parse_noisy
from speechbrain_dynsnet.data.levels import active_rms, activity, rms
from tests.data.marked import SPEAKERS, make_marked_set, read, tone, write

CLIPS = 12
NOISES = ("clicks", "hiss", "short")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a split `test`."""
    return make_marked_set(tmp_path_factory.mktemp("marked") / "set" / "test").parent


def make(data: Path, output: Path, *options: str) -> Result:
    words = [str(data), str(output), f"--clips={CLIPS}", "--audio_length=2", f"--decoded={data.parent / 'decoded'}"]
    return CliRunner().invoke(main, [*words, *options])


def contents(folder: Path) -> dict[str, str]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "set"
    result = make(data, output)
    assert (result.exit_code, result.output) == (0, f"{output}: {CLIPS} clips of 2 s\n")
    return output


def test_the_folder_is_the_challenges(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == ["clean", "log.csv", "noisy", "settings.json"]
    pairs, left_out = match_pairs(made, "")
    assert [pair.file_id for pair in pairs] == list(range(CLIPS)) and not left_out
    for row, pair in zip(log(made), pairs, strict=True):
        name = parse_noisy(pair.noisy.name)
        assert name is not None
        assert (made / row["clean"], made / row["noisy"]) == (pair.clean, pair.noisy)
        assert name.snr_db == round(float(row["snr_db"]))
        assert name.level_dbfs == round(float(row["level_reached_dbfs"]))


def test_clips_reach_the_snr_and_level_of_the_log(made: Path) -> None:
    rows = log(made)
    for row in rows:
        clean, noisy = read(made / row["clean"]), read(made / row["noisy"])
        assert len(clean) == len(noisy) == 2 * 16000
        snr_db = 20 * np.log10(active_rms(clean) / active_rms(noisy - clean))
        assert snr_db == pytest.approx(float(row["snr_db"]), abs=0.1)
        assert 20 * np.log10(rms(noisy)) == pytest.approx(float(row["level_reached_dbfs"]), abs=0.01)
        assert activity(clean) > 0.45
        assert 0.0 <= float(row["snr_db"]) <= 20.0 and -35.0 <= float(row["level_dbfs"]) <= -15.0
    assert np.std([float(row["snr_db"]) for row in rows]) > 2.0


def test_noise_categories_and_speakers_come_equally_often(made: Path) -> None:
    rows = log(made)
    assert Counter(row["noise_category"] for row in rows) == dict.fromkeys(NOISES, CLIPS // 3)
    assert Counter(row["speaker"] for row in rows) == dict.fromkeys(SPEAKERS, CLIPS // 3)
    for row in rows:
        assert {Path(name).stem for name in row["noise"].split(";")} == {row["noise_category"]}
        assert {Path(name).parent.name for name in row["speech"].split(";")} == {row["speaker"]}
    assert len({(row["noise_category"], row["speaker"]) for row in rows}) > 3  # not always the same two together


def test_all_recordings_of_a_category_come_in_turn(tmp_path: Path) -> None:
    data = make_marked_set(tmp_path / "set" / "test").parent
    for path in (data / "test" / "noise").iterdir():
        path.unlink()
    rng = np.random.default_rng(0)
    for category, count in (("street", 4), ("kitchen", 1)):
        for number in range(count):
            write(data / "test" / "noise" / category / f"{number}.wav", 0.1 * rng.standard_normal(50000))
    assert make(data, tmp_path / "out", "--clips=8").exit_code == 0
    noises = Counter(row["noise"].split("[")[0] for row in log(tmp_path / "out"))
    assert noises == {"test/noise/kitchen/0.wav": 4} | {f"test/noise/street/{number}.wav": 1 for number in range(4)}


def test_another_run_gives_the_same_bits_and_another_seed_others(data: Path, made: Path, tmp_path: Path) -> None:
    assert make(data, tmp_path / "again").exit_code == 0
    assert contents(tmp_path / "again") == contents(made)
    assert make(data, tmp_path / "other", "--seed=1").exit_code == 0
    assert not set(contents(tmp_path / "other").values()) & set(contents(made).values())


def test_a_longer_set_begins_with_the_shorter(data: Path, made: Path, tmp_path: Path) -> None:
    assert make(data, tmp_path / "longer", f"--clips={CLIPS + 2}").exit_code == 0
    assert log(tmp_path / "longer")[:CLIPS] == log(made)


def test_nothing_written_names_this_machine(made: Path, data: Path) -> None:
    settings = json.loads((made / "settings.json").read_text())
    assert (settings["clips"], settings["seed"], settings["split"]) == (CLIPS, 0, "test")
    for name in ("settings.json", "log.csv"):
        assert str(data.parent) not in (made / name).read_text()


def test_reverberation_is_an_option(data: Path, made: Path, tmp_path: Path) -> None:
    assert not any(row["impulse_response"] for row in log(made))
    assert make(data, tmp_path / "wet", "--reverb_probability=1").exit_code == 0
    assert all("impulse_responses/room_" in row["impulse_response"] for row in log(tmp_path / "wet"))


def test_its_log_reaches_the_evaluation(made: Path) -> None:
    for row, pair in zip(log(made), find_pairs(made), strict=True):
        assert pair.clip == f"fileid_{row['file_id']}"
        facts = ("snr_db", "level_dbfs", "level_reached_dbfs", "noise_category", "speaker")
        assert pair.facts == {name: row[name] for name in facts}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ("", ["--split=valid"], "set"),
        ("", ["--snr_lower=30"], "snr_lower is 30"),
        ("", ["--audio_length=0"], "audio_length is 0"),
        ("", ["--clean_activity_threshold=0.99"], "lower clean_activity_threshold"),
        ("loud speech", [], "4 clipped"),
        ("no rooms", ["--reverb_probability=0.5"], "no impulse responses"),
        ("there already", [], "exists"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, change: str, options: list[str], message: str
) -> None:
    data = make_marked_set(tmp_path / "set" / "test", rooms=change != "no rooms").parent
    if change == "loud speech":
        for path in data.glob("test/clean/*/*.wav"):
            write(path, tone(1.0, 300.0, 1.0))
    output = tmp_path / "results" / "out"
    if change == "there already":
        output.mkdir(parents=True)
    result = make(data, output, *options)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ") and message in line
    assert not list((tmp_path / "results").rglob("*.wav")) and not list((tmp_path / "results").glob(".*"))
