"""Preparing a tree of the exact DNS-2020 layout, plain folders and manifests: what is listed, and what is not."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from recipes.DNS2020.prepare import main
from speechbrain_dynsnet.data.manifest import read_corpus
from speechbrain_dynsnet.data.pairs import open_corpus
from speechbrain_dynsnet.errors import InputError

ROOT = Path(__file__).parents[2]
RATE = 16000
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'7' * 64}\nsize 320044\n"
SPEECH = [
    f"book_{book:05d}_chp_0009_reader_{reader:05d}_{piece}.wav"
    for book, reader in enumerate((6709, 11980, 1326, 7907, 4069, 4408))
    for piece in (1, 15)
]
NOISE = [
    *("--9VR_F7CtY.wav", "-0JNMxLVqpk.wav", "traffic_248091_3.wav", "air_conditioner_151977_0.wav"),
    *(f"birds_413745_{piece}.wav" for piece in range(4)),
]
STYLES = {
    "no_reverb": "clnsp{0}_birds_105003_{0}_snr{1}_tl-21_fileid_{0}.wav",
    "with_reverb": "c{0}_n_snr{1}_fileid_{0}.wav",
}


def write(path: Path, seconds: float = 0.5, rate_hz: int = RATE, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(len(path.name)).standard_normal((round(seconds * rate_hz), channels))
    soundfile.write(path, samples, rate_hz)
    return path


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A download in small: 6 readers, Freesound and AudioSet noises, 3 pairs in each set, both naming styles."""
    folder = tmp_path_factory.mktemp("dns")
    data = folder / "datasets"
    for name in SPEECH:
        write(data / "clean" / name)
    for name in NOISE:
        write(data / "noise" / name)
    (data / "clean" / "Readme.md").write_text("# Clean speech dataset\n")
    for test_set, style in STYLES.items():
        for file_id in (0, 2, 10):
            write(data / "test_set" / "synthetic" / test_set / "clean" / f"clean_fileid_{file_id}.wav")
            write(data / "test_set" / "synthetic" / test_set / "noisy" / style.format(file_id, file_id + 5))
    return folder


@pytest.fixture
def tree(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "dns")


def prepare(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=True)


def prepared(*words: str | Path) -> Result:
    result = prepare(*words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(*words: str | Path) -> str:
    result = prepare(*words)
    assert isinstance(result.exception, InputError), (result.output, result.exception)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def left_out(tree: Path) -> dict[str, str]:
    return {Path(row["path"]).name: row["problem"] for row in rows(tree / "manifest.left_out.csv")}


def test_a_download_becomes_a_manifest_that_training_reads(tree: Path) -> None:
    result = prepared(tree)
    listed = rows(tree / "manifest.csv")
    assert {row["path"] for row in listed} == {
        *(f"datasets/clean/{name}" for name in SPEECH),
        *(f"datasets/noise/{name}" for name in NOISE),
    }
    assert {row["seconds"] for row in listed} == {"0.500"}
    corpora = read_corpus(tree / "manifest.csv")
    speakers = {split: {source.group for source in corpus.clean} for split, corpus in corpora.items()}
    assert speakers["train"] | speakers["valid"] == {"06709", "11980", "01326", "07907", "04069", "04408"}
    assert speakers["valid"]
    assert not speakers["train"] & speakers["valid"]
    birds = {split for split, corpus in corpora.items() for source in corpus.noise if source.group == "birds"}
    assert len(birds) == 1
    categories = {row["speaker_or_category"] for row in listed if row["kind"] == "noise"}
    assert categories == {"audioset", "traffic", "air_conditioner", "birds"}
    assert not (tree / "manifest.left_out.csv").exists()
    assert "3 pairs no_reverb, 3 pairs with_reverb" in result.stdout
    assert result.stderr == ""


def test_its_test_pairs_are_listed(tree: Path) -> None:
    prepared(tree)
    pairs = rows(tree / "test_pairs.csv")
    assert [(row["file_id"], row["set"], row["snr_db"]) for row in pairs] == [
        (str(file_id), test_set, str(file_id + 5)) for test_set in STYLES for file_id in (0, 2, 10)
    ]
    assert all((tree / row[column]).is_file() for row in pairs for column in ("clean", "noisy"))


def test_the_same_again_is_the_same_to_the_byte(tree: Path) -> None:
    prepared(tree)
    first = (tree / "manifest.csv").read_bytes()
    prepared(tree / "datasets", "--output", tree / "manifest.csv", "--jobs", "1", "--decode")
    assert (tree / "manifest.csv").read_bytes() == first


def test_the_folder_can_be_moved(tree: Path) -> None:
    prepared(tree)
    moved = tree.rename(tree.with_name("elsewhere"))
    assert read_corpus(moved / "manifest.csv")["train"].clean


def test_what_is_of_no_use_is_left_out_and_listed_with_the_reason(tree: Path) -> None:
    clean, noise = tree / "datasets" / "clean", tree / "datasets" / "noise"
    (clean / SPEECH[0]).write_bytes(b"")
    (clean / SPEECH[2]).write_text(POINTER)
    (noise / NOISE[0]).write_bytes(b"no audio at all" * 99)
    (noise / NOISE[4]).write_bytes((noise / NOISE[4]).read_bytes()[:5000])
    result = prepared(tree)
    assert left_out(tree) == {
        SPEECH[0]: "empty",
        SPEECH[2]: "a Git LFS pointer, not audio",
        NOISE[0]: "not readable as audio",
        NOISE[4]: "cut short",
    }
    assert "left out: 4 files" in result.stderr
    assert f"{clean / SPEECH[2]}: a Git LFS pointer" in result.stderr
    listed = {Path(row["path"]).name for row in rows(tree / "manifest.csv")}
    assert listed == {*SPEECH, *NOISE} - left_out(tree).keys()


def test_a_list_of_what_is_left_out_goes_when_all_is_well_again(tree: Path) -> None:
    (tree / "datasets" / "clean" / SPEECH[0]).write_bytes(b"")
    prepared(tree)
    assert (tree / "manifest.left_out.csv").is_file()
    write(tree / "datasets" / "clean" / SPEECH[0])
    prepared(tree)
    assert not (tree / "manifest.left_out.csv").exists()


def test_silence_is_left_out_when_every_sample_is_read(tree: Path) -> None:
    soundfile.write(tree / "datasets" / "clean" / SPEECH[0], np.zeros(RATE), RATE)
    prepared(tree)
    assert len(rows(tree / "manifest.csv")) == len(SPEECH) + len(NOISE)
    prepared(tree, "--decode")
    assert left_out(tree) == {SPEECH[0]: "silent"}


def test_clipping_is_told_when_every_sample_is_read(tree: Path) -> None:
    clipped = tree / "datasets" / "clean" / SPEECH[0]
    soundfile.write(clipped, np.clip(5.0 * np.sin(np.arange(RATE)), -1.0, 1.0), RATE)
    assert "full scale" not in prepared(tree).stderr
    result = prepared(tree, "--decode")
    assert f"1 files reach full scale and may be clipped, the first is {clipped}:" in result.stderr
    assert len(rows(tree / "manifest.csv")) == len(SPEECH) + len(NOISE)


def test_clicks_are_left_out_but_not_as_rooms(tree: Path) -> None:
    write(tree / "datasets" / "clean" / SPEECH[0], seconds=0.05)
    write(tree / "datasets" / "noise" / NOISE[0], seconds=1 / RATE)
    write(tree / "datasets" / "impulse_responses" / "room.wav", seconds=0.05)
    prepared(tree)
    assert left_out(tree) == {SPEECH[0]: "too short", NOISE[0]: "too short"}
    assert [row["path"] for row in rows(tree / "manifest.csv") if row["kind"] == "impulse_responses"]
    for path in (tree / "datasets" / "noise").iterdir():
        write(path, seconds=0.01)
    message = refused(tree)
    assert "8 of 8 files are of no use" in message and "too short (0.0100 s); give files of at least 0.1 s" in message


def test_audio_behind_links_is_listed_and_links_that_lead_nowhere_are_named(tree: Path, tmp_path: Path) -> None:
    noise = (tree / "datasets" / "noise").rename(tmp_path / "disk")
    (tree / "datasets" / "noise").symlink_to(noise)
    (tree / "datasets" / "clean" / "gone_reader_00001_1.wav").symlink_to(tmp_path / "nowhere.wav")
    (tree / "datasets" / "clean" / "loop").symlink_to(tree / "datasets" / "clean")
    prepared(tree)
    assert left_out(tree) == {"gone_reader_00001_1.wav": "no such file"}
    assert sorted(Path(row["path"]).name for row in rows(tree / "manifest.csv")) == sorted([*SPEECH, *NOISE])


def test_odd_names_come_through(tree: Path, tmp_path: Path) -> None:
    names = ["a,b.wav", "semi;colon.wav", "new\nline.wav", 'quote"d.wav', " space .wav", "ünï.wav", "-dash.wav"]
    for name in names:
        write(tree / "datasets" / "clean" / "anna" / name)
    prepared(tree)
    listed = {Path(row["path"]).name for row in rows(tree / "manifest.csv")}
    assert listed == {*names, *SPEECH, *NOISE}
    corpora = read_corpus(tree / "manifest.csv")
    assert {source.path.name for corpus in corpora.values() for source in corpus.sources()} == listed


def test_the_pairs_of_an_earlier_run_do_not_stay(tree: Path) -> None:
    prepared(tree)
    shutil.rmtree(tree / "datasets" / "test_set")
    assert "no test pairs" in prepared(tree).stdout
    assert not (tree / "test_pairs.csv").exists()


def test_other_rates_and_channels_stay_and_are_told(tree: Path, tmp_path: Path) -> None:
    write(tree / "datasets" / "clean" / SPEECH[0], rate_hz=44100)
    write(tree / "datasets" / "noise" / NOISE[0], channels=2)
    result = prepared(tree)
    assert "2 files are not 16000 Hz mono" in result.stdout
    assert len(rows(tree / "manifest.csv")) == len(SPEECH) + len(NOISE)
    corpora = read_corpus(tree / "manifest.csv")
    tracks = [open_corpus(corpus, tmp_path / "decoded") for corpus in corpora.values()]
    assert {track.samples for part in tracks for track in [*part.clean, *part.noise]} == {RATE // 2}


def test_pairs_that_do_not_fit_are_left_out(tree: Path) -> None:
    synthetic = tree / "datasets" / "test_set" / "synthetic"
    write(synthetic / "no_reverb" / "clean" / "clean_fileid_0.wav", seconds=0.25)
    (synthetic / "no_reverb" / "clean" / "clean_fileid_2.wav").unlink()
    (synthetic / "with_reverb" / "noisy" / STYLES["with_reverb"].format(10, 15)).write_bytes(b"")
    prepared(tree)
    pairs = [(row["set"], row["file_id"]) for row in rows(tree / "test_pairs.csv")]
    assert pairs == [("no_reverb", "10"), ("with_reverb", "0"), ("with_reverb", "2")]
    assert sorted(left_out(tree).values()) == ["empty", "no partner", "no partner"]


def test_a_clone_without_git_lfs_is_recognised(tree: Path) -> None:
    for path in (tree / "datasets").rglob("*.wav"):
        path.write_text(POINTER)
    message = refused(tree)
    assert "12 of 12 files are of no use" in message
    assert "a Git LFS pointer, not audio" in message
    assert "git lfs pull" in message
    assert not list(tree.glob("*.csv"))


def test_plain_folders_of_any_format_and_depth(tmp_path: Path) -> None:
    for name in ("anna/1.wav", "anna/2.flac", "ben/1.ogg", "carl/x/1.aiff"):
        write(tmp_path / "speech" / name)
    for name in ("rain.wav", "wind.wav", "sub/rain.wav"):
        write(tmp_path / "sounds" / name)
    for name in ("hall.flac", "room.flac"):
        write(tmp_path / "rooms" / name)
    (tmp_path / "out").mkdir()
    manifest = tmp_path / "out" / "all.csv"
    folders = ["--clean", tmp_path / "speech", "--noise", tmp_path / "sounds", "--rir", tmp_path / "rooms"]
    prepared(*folders, "--output", manifest)
    listed = rows(manifest)
    assert {row["path"] for row in listed if row["kind"] == "clean"} == {
        f"../speech/{name}" for name in ("anna/1.wav", "anna/2.flac", "ben/1.ogg", "carl/x/1.aiff")
    }
    # two files of one name are two files, and on the same side of the split
    rain = [row for row in listed if row["path"].endswith("rain.wav")]
    assert len(rain) == 2
    assert len({row["split"] for row in rain}) == 1
    corpora = read_corpus(manifest)
    assert [len(corpora[split].impulse_responses) for split in ("train", "valid")] == [1, 1]
    assert not (tmp_path / "out" / "test_pairs.csv").exists()


def test_speech_without_speakers_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("speech/1.wav", "speech/2.wav", "noise/1.wav", "noise/2.wav"):
        write(tmp_path / name)
    prepared("--clean", tmp_path / "speech", "--noise", tmp_path / "noise", "--output", tmp_path / "m.csv")
    (message,) = caplog.messages
    assert "2 files of speech are of as many speakers" in message


def test_one_file_is_not_speech_and_noise(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "noise/1.wav", "noise/2.wav"):
        write(tmp_path / name)
    message = refused("--clean", tmp_path, "--noise", tmp_path / "noise", "--output", tmp_path / "m.csv")
    assert message == f"{tmp_path / 'noise' / '1.wav'}: is in the folders of clean and of noise; give folders apart"
    assert not (tmp_path / "m.csv").exists()


def test_a_manifest_is_checked_and_rewritten_beside_the_new_place(tree: Path, tmp_path: Path) -> None:
    old = tree / "old.csv"
    old.write_text(
        "licence,path,kind,split,speaker_or_category,seconds\n"
        f"CC0,datasets/clean/{SPEECH[0]},clean,train,anna,99\n"
        f"CC BY,{tree / 'datasets' / 'clean' / SPEECH[1]},clean,valid,ben,\n"
        f"CC0,datasets/noise/{NOISE[0]},noise,train,rain,\n"
        f"CC0,datasets/noise/{NOISE[1]},noise,valid,wind,\n"
        "CC0,gone.wav,noise,test,wind,1\n"
    )
    (tmp_path / "lists").mkdir()
    manifest = tmp_path / "lists" / "new.csv"
    prepared(old, "--output", manifest)
    listed = rows(manifest)
    assert [(row["licence"], row["split"], row["seconds"]) for row in listed] == [
        ("CC0", "train", "0.500"),
        ("CC BY", "valid", "0.500"),
        ("CC0", "train", "0.500"),
        ("CC0", "valid", "0.500"),
    ]
    assert listed[0]["path"] == f"../dns/datasets/clean/{SPEECH[0]}"
    assert listed[1]["path"] == f"../dns/datasets/clean/{SPEECH[1]}"
    assert [row["problem"] for row in rows(tmp_path / "lists" / "new.left_out.csv")] == ["no such file"]
    assert read_corpus(manifest)["valid"].clean[0].group == "ben"


def test_rooms_beside_a_manifest_are_refused(tree: Path, tmp_path: Path) -> None:
    prepared(tree)
    message = refused(tree / "manifest.csv", "--rir", tmp_path, "--output", tmp_path / "new.csv")
    assert f"{tree / 'manifest.csv'}: lists its own impulse responses" in message and "leave out --rir" in message
    assert not (tmp_path / "new.csv").exists()


def test_a_manifest_whose_files_moved_is_named(tree: Path, tmp_path: Path) -> None:
    prepared(tree)
    copy = shutil.copy(tree / "manifest.csv", tmp_path / "copy.csv")
    message = refused(copy, "--output", tmp_path / "new.csv")
    assert "no such file" in message
    assert "move the manifest together with its files" in message
    assert str(tmp_path / "datasets" / "clean") in message
    assert not (tmp_path / "new.csv").exists()


def test_a_speaker_on_both_sides_of_a_manifest_is_told(tree: Path, tmp_path: Path) -> None:
    prepared(tree)
    path = tree / "manifest.csv"
    twin = next(row for row in rows(path) if (row["kind"], row["split"]) == ("clean", "train"))
    path.write_text(path.read_text().replace(f"{twin['path']},clean,train", f"{twin['path']},clean,valid"))
    result = prepared(path, "--output", tmp_path / "new.csv")
    assert f"speakers both in train and valid: 1, the first is {twin['speaker_or_category']}" in result.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("datasets/noise/../noise/{0},noise,valid,x\n", "list the same file"),
        ("datasets/noise/x.wav,music,valid,x\n", "there is no kind 'music' (row 21); a kind is one of clean, noise"),
        ("datasets/noise/x.wav,noise\n", "row 21 has too few columns"),
    ],
    ids=["listed twice", "unknown kind", "short row"],
)
def test_a_manifest_that_is_wrong_is_named(tree: Path, tmp_path: Path, more: str, message: str) -> None:
    prepared(tree)
    with (tree / "manifest.csv").open("a") as file:
        file.write(more.format(NOISE[0]))
    assert message in refused(tree / "manifest.csv", "--output", tmp_path / "new.csv")


def test_an_empty_noise_folder_is_named(tree: Path) -> None:
    shutil.rmtree(tree / "datasets" / "noise")
    (tree / "datasets" / "noise").mkdir()
    assert f"{tree / 'datasets' / 'noise'}: there is no noise audio in it" in refused(tree)


def test_a_single_noise_cannot_be_split(tree: Path) -> None:
    for name in NOISE[1:]:
        (tree / "datasets" / "noise" / name).unlink()
    assert "no noise audio for valid among 1 files; give at least two" in refused(tree)


def test_a_folder_that_is_no_download_is_named(tmp_path: Path) -> None:
    assert "no DNS-2020 download" in refused(tmp_path)
    assert "no such folder" in refused(tmp_path / "gone")


def test_what_is_missing_on_the_command_line_is_named(tree: Path, tmp_path: Path) -> None:
    assert "give either" in refused()
    assert "give either" in refused(tree, "--clean", tree)
    assert "give both" in refused("--clean", tree, "--output", tmp_path / "m.csv")
    assert "--output" in refused("--clean", tree, "--noise", tree)


def test_an_output_that_cannot_be_written_is_named_before_any_work(tree: Path, tmp_path: Path) -> None:
    assert "does not exist" in refused(tree, "--output", tmp_path / "none" / "m.csv")
    assert "is a folder" in refused(tree, "--output", tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything is writable to root")
def test_a_read_only_folder_is_named(tree: Path) -> None:
    tree.chmod(0o500)
    try:
        assert "is not writable" in refused(tree)
    finally:
        tree.chmod(0o700)


def test_a_full_disk_leaves_the_old_manifest(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(tree)
    before = {path.name: path.read_bytes() for path in tree.glob("*.csv")}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert "cannot be written (No space left on device)" in refused(tree)
    assert {path.name: path.read_bytes() for path in tree.iterdir() if path.is_file()} == before


def test_an_error_is_one_line_on_stderr_and_exit_code_2(tmp_path: Path) -> None:
    words = [sys.executable, "recipes/DNS2020/prepare.py", str(tmp_path)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert ended.stderr.startswith(f"Error: {tmp_path}: no DNS-2020 download")


@pytest.mark.slow
def test_training_runs_on_it(tree: Path, tmp_path: Path) -> None:
    prepared(tree)
    flags = (
        "--max_epochs=1 --clips_per_epoch=16 --batch_size=4 --valid_clips=8 --clip_s=0.5 --num_workers=0 --device=cpu"
    )
    folders = [f"--results_folder={tmp_path}", f"--output_folder={tmp_path / 'run'}"]
    words = ["train.py", "hparams/split_joint.yaml", f"--data_folder={tree / 'manifest.csv'}", *flags.split(), *folders]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, timeout=300)
    assert (tmp_path / "run" / "bundle" / "model.safetensors").is_file()
