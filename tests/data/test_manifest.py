"""Which files there are, whose they are, and on which side of the split they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from speechbrain_dynsnet.data.manifest import Corpus, Source, read_corpus
from speechbrain_dynsnet.errors import InputError

HEADER = "path,kind,split,speaker_or_category"


def touch(folder: Path, *names: str) -> None:
    """Files whose content does not matter: only names are read here."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def dns_names(speakers: int, clips: int = 3) -> list[str]:
    return [
        f"clean/book_{clip:05d}_chp_0001_reader_{speaker:05d}_{clip}.wav"
        for speaker in range(speakers)
        for clip in range(clips)
    ]


def noise_names(count: int = 20) -> list[str]:
    return [f"noise/noise_{index}.wav" for index in range(count)]


def write_manifest(path: Path, rows: Sequence[str], header: str = HEADER, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return path


def names(sources: Sequence[Source]) -> set[str]:
    return {source.path.name for source in sources}


def groups(sources: Sequence[Source]) -> set[str]:
    return {source.group for source in sources}


def test_a_folder_is_split_so_that_no_speaker_and_no_file_is_on_both_sides(tmp_path: Path) -> None:
    clean, noise = dns_names(20), noise_names()
    rooms = [f"impulse_responses/small/rir_{index}.wav" for index in range(10)]
    touch(tmp_path, *clean, *noise, *rooms)
    corpora = read_corpus(tmp_path)
    assert list(corpora) == ["train", "valid"]
    train, valid = corpora["train"], corpora["valid"]
    assert not groups(train.clean) & groups(valid.clean)
    assert not names(train.sources()) & names(valid.sources())
    # a tenth of the speakers, the noises and the rooms, and nothing lost
    assert [len(valid.clean), len(valid.noise), len(valid.impulse_responses)] == [6, 2, 1]
    found = {str(source.path.relative_to(tmp_path)) for corpus in corpora.values() for source in corpus.sources()}
    assert found == {*clean, *noise, *rooms}


def test_the_split_is_the_same_wherever_the_folder_is_and_a_new_file_moves_no_other(tmp_path: Path) -> None:
    def valid_names(folder: Path, more: Sequence[str] = ()) -> Corpus:
        touch(folder, *dns_names(19), *noise_names(19), *more)
        return read_corpus(folder)["valid"]

    here, there = valid_names(tmp_path / "here"), valid_names(tmp_path / "else" / "where")
    assert names(here.sources()) == names(there.sources())
    # 20 speakers: still two on the valid side; the new one may at most push one of them out
    more = valid_names(tmp_path / "here", ["clean/x_reader_99999_1.wav"])
    assert len(groups(more.clean) - groups(here.clean) - {"99999"}) == 0


@pytest.mark.parametrize(
    ("names_of_speech", "expected"),
    [
        (["clean/a_reader_00007_x.wav", "clean/b_reader_00008_y.wav"], {"00007", "00008"}),
        (["clean/anna/1.wav", "clean/ben/1.wav", "clean/carl/chapter/2.flac"], {"anna", "ben", "carl"}),
        (["clean/x.wav", "clean/y.wav"], {"x", "y"}),
    ],
    ids=["DNS-2020 names", "a folder a speaker", "flat"],
)
def test_speakers_are_told_apart(tmp_path: Path, names_of_speech: list[str], expected: set[str]) -> None:
    touch(tmp_path, *names_of_speech, *noise_names(3))
    corpora = read_corpus(tmp_path)
    assert groups(corpora["train"].clean) | groups(corpora["valid"].clean) == expected
    assert corpora["valid"].clean


def test_a_single_speaker_is_split_by_file(tmp_path: Path) -> None:
    touch(tmp_path, *dns_names(1, clips=10), *noise_names(3))
    corpora = read_corpus(tmp_path)
    assert (len(corpora["train"].clean), len(corpora["valid"].clean)) == (9, 1)


def test_a_folder_with_its_own_split_is_left_as_it_is(tmp_path: Path) -> None:
    touch(tmp_path / "train", "clean/a.wav", "clean/b.wav", "noise/n.flac")
    touch(tmp_path / "valid", "clean/c.ogg", "noise/m.opus", "impulse_responses/r.wav")
    touch(tmp_path / "test", "clean/d.wav", "noise/k.wav")
    corpora = read_corpus(tmp_path)
    assert names(corpora["train"].sources()) == {"a.wav", "b.wav", "n.flac"}
    assert names(corpora["valid"].sources()) == {"c.ogg", "m.opus", "r.wav"}
    assert names(read_corpus(tmp_path, ("test",))["test"].sources()) == {"d.wav", "k.wav"}


def test_only_audio_is_picked_up(tmp_path: Path) -> None:
    audio = ["clean/a.WAV", "clean/b.Flac", "clean/c.opus", "clean/d.ogg", "clean/e.aif", "clean/f.mp3"]
    touch(tmp_path, *audio, "clean/README.txt", "clean/list.csv", "noise/n.wav", "noise/m.wav", "noise/.DS_Store")
    corpora = read_corpus(tmp_path)
    found = names(corpora["train"].sources()) | names(corpora["valid"].sources())
    assert found == {Path(name).name for name in audio} | {"n.wav", "m.wav"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_manifest_says_all_itself(tmp_path: Path, encoding: str) -> None:
    touch(tmp_path / "lists", "../audio/ä.wav", "b.opus", "n.wav", "m.wav", "r.wav")
    rows = [
        "../audio/ä.wav,clean,train,anna",
        "b.opus,clean,valid,ben",
        "n.wav,noise,train,rain",
        "m.wav,noise,valid,wind",
        "r.wav,impulse_responses,train,hall",
        "gone.wav,clean,test,carl",  # of a split that nobody asked for
    ]
    manifest = write_manifest(tmp_path / "lists" / "all.csv", rows, encoding=encoding)
    corpora = read_corpus(manifest)
    assert corpora["train"].clean == (Source(tmp_path / "lists" / "../audio/ä.wav", "clean", "anna"),)
    assert corpora["train"].impulse_responses == (Source(tmp_path / "lists" / "r.wav", "impulse_responses", "hall"),)
    assert groups(corpora["valid"].sources()) == {"ben", "wind"}


def test_columns_come_in_any_order_and_others_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    rows = [f"x,{split},{kind},who,{path}" for split in ("train", "valid") for kind, path in KIND_AND_PATH]
    manifest = write_manifest(tmp_path / "m.csv", rows, "seconds,split,kind,speaker_or_category,path")
    assert names(read_corpus(manifest)["train"].sources()) == {"a.wav", "b.wav"}


KIND_AND_PATH = (("clean", "a.wav"), ("noise", "b.wav"))
ROWS = [f"{path},{kind},{split},who" for split in ("train", "valid") for kind, path in KIND_AND_PATH]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], HEADER, "not a manifest"),
        (ROWS, "file,kind,split,speaker", "not a manifest; it needs .*path"),
        ([*ROWS, "gone.wav,noise,valid,who", "lost.wav,noise,valid,who"], HEADER, "2 listed files are gone.*gone.wav"),
        (ROWS[:2], HEADER, "no clean audio for valid"),
        ([ROWS[0], *ROWS[2:]], HEADER, "no noise audio for train"),
        ([*ROWS, "a.wav,clean"], HEADER, "row 5 has too few columns"),
    ],
)
def test_a_manifest_that_does_not_serve_is_named(tmp_path: Path, rows: list[str], header: str, message: str) -> None:
    touch(tmp_path, "a.wav", "b.wav")
    manifest = write_manifest(tmp_path / "m.csv", rows, header)
    with pytest.raises(InputError, match=message) as caught:
        read_corpus(manifest)
    assert str(manifest) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_audio_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(InputError, match="manifest"):
        read_corpus(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no clean audio for train"),
        (["clean/a.wav", "clean/b.wav"], "no noise audio for train"),
        (["clean/a.txt", "noise/b.wav", "noise/c.wav"], "no clean audio for train"),
        (["a.wav", "b.wav"], "no clean audio for train"),
        (["clean/a.wav", "noise/b.wav", "noise/c.wav"], "no clean audio for valid"),
    ],
)
def test_a_folder_without_enough_audio_is_named(tmp_path: Path, files: list[str], message: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=message) as caught:
        read_corpus(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder or manifest; give --data_folder"):
        read_corpus(tmp_path / "none")


def test_a_split_that_the_folder_lacks_is_named(tmp_path: Path) -> None:
    touch(tmp_path, *dns_names(2), *noise_names(2))
    with pytest.raises(InputError, match="no folder test in it"):
        read_corpus(tmp_path, ("test",))
