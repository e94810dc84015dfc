"""Which files there are, whose they are, and on which side of the split they lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from speechbrain_dynsnet.data.manifest import Corpus, Source, read_corpus, read_whole_corpus
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
    touch(tmp_path, *FILES)
    rows = [",".join(["x", *reversed(row.split(","))]) for row in ROWS]
    manifest = write_manifest(tmp_path / "m.csv", rows, "seconds,speaker_or_category,split,kind,path")
    assert names(read_corpus(manifest)["train"].sources()) == {"a.wav", "b.wav"}


FILES = ("a.wav", "b.wav", "c.wav", "d.wav")
ROWS = ["a.wav,clean,train,who", "b.wav,noise,train,who", "c.wav,clean,valid,who", "d.wav,noise,valid,who"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_spreadsheets_separate_columns_in_their_own_way(tmp_path: Path, separator: str, newline: str) -> None:
    touch(tmp_path, *FILES)
    text = newline.join([f"{HEADER},licence", *(f'{row},"CC BY"' for row in ROWS)]).replace(",", separator)
    (tmp_path / "m.csv").write_bytes(f"\ufeff{text}{newline}".encode())
    corpora = read_corpus(tmp_path / "m.csv")
    assert [names(corpora[split].sources()) for split in corpora] == [{"a.wav", "b.wav"}, {"c.wav", "d.wav"}]


def test_absolute_paths_are_taken_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", *FILES)
    manifest = write_manifest(tmp_path / "lists" / "m.csv", [f"{tmp_path / 'elsewhere'}/{row}" for row in ROWS])
    assert read_corpus(manifest)["train"].clean[0].path == tmp_path / "elsewhere" / "a.wav"


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], HEADER, "not a manifest"),
        (ROWS, "file,kind,split,speaker", "not a manifest; it needs .*path"),
        (
            [*ROWS, "gone.wav,noise,valid,who", "lost.wav,noise,valid,who"],
            HEADER,
            "2 listed files are gone.*gone.wav; move the manifest together with its files",
        ),
        (ROWS[:2], HEADER, "no clean audio for valid; no row has that split, only 'train'"),
        (
            [row.replace("train", "Train") for row in [*ROWS, "e.wav,noise,,who"]],
            HEADER,
            "no clean audio for train; no row has that split, only '', 'Train', 'valid'",
        ),
        ([ROWS[0], *ROWS[2:]], HEADER, "no noise audio for train"),
        ([*ROWS, "a.wav,clean"], HEADER, "row 5 has too few columns"),
        (
            [*ROWS, "e.wav,speech,train,who", "f.wav,Noise,valid,who", "g.wav,speech,test,who"],
            HEADER,
            r"no kind 'Noise' \(row 6\), 'speech' \(row 5\); a kind is one of clean, noise, impulse_responses",
        ),
        ([*ROWS, "sub/../b.wav,noise,valid,who"], HEADER, "rows 2 and 5 list the same file .*b.wav; remove one"),
        ([*ROWS, "b.wav,noise,test,who"], HEADER, "rows 2 and 5 list the same file"),
    ],
)
def test_a_manifest_that_does_not_serve_is_named(tmp_path: Path, rows: list[str], header: str, message: str) -> None:
    touch(tmp_path, *FILES)
    manifest = write_manifest(tmp_path / "m.csv", rows, header)
    with pytest.raises(InputError, match=message) as caught:
        read_corpus(manifest)
    assert str(manifest) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_s_own_manifest_says_what_is_in_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *FILES, *dns_names(3), *noise_names(3))
    manifest = write_manifest(tmp_path / "manifest.csv", ROWS)
    with caplog.at_level("INFO"):
        assert read_corpus(tmp_path) == read_corpus(manifest)
    assert caplog.messages == [f"read for the data folder: {manifest}"]
    assert read_whole_corpus(tmp_path) == read_whole_corpus(manifest)
    with pytest.raises(InputError, match=re.escape(f"{manifest}: no clean audio for test")):
        read_corpus(tmp_path, ("test",))


def test_a_manifest_in_another_encoding_is_named(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.csv", ["ä.wav,clean,train,who"], encoding="cp1252")
    with pytest.raises(InputError, match="m.csv: not a CSV manifest in UTF-8"):
        read_corpus(manifest)


def test_the_corpus_beside_the_repository_is_read_whole() -> None:
    manifest = Path(__file__).parents[3] / "shared" / "corpus" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip("it is not there")
    corpora = read_corpus(manifest, ("train", "valid", "test"))
    assert sum(len(corpus.sources()) for corpus in corpora.values()) == manifest.read_text("utf-8").count("\n") - 1


def test_audio_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(InputError, match="manifest"):
        read_corpus(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "/clean: no such folder; put the clean audio there"),
        (["clean/a.wav", "clean/b.wav"], "/noise: no such folder; put the noise audio there"),
        (["clean/a.wav", "clean/b.wav", "noise/c.txt"], "/noise: there is no audio in it"),
        (["clean/a.txt", "noise/b.wav", "noise/c.wav"], "/clean: there is no audio in it; put the clean audio there"),
        (["a.wav", "b.wav"], "/clean: no such folder"),
        (["train/clean/a.wav", "train/noise/b.wav", "valid/clean/c.wav"], "no noise audio for valid"),
        (["clean/a.wav", "noise/b.wav", "noise/c.wav"], "no clean audio for valid"),
    ],
)
def test_a_folder_without_enough_audio_is_named(tmp_path: Path, files: list[str], message: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=message) as caught:
        read_corpus(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("speech", "message"),
    [
        (["1.wav", "2.wav", "3.flac"], "3 files of speech are of as many speakers, the first is .*clean/1.wav"),
        (["all/1.wav", "all/2.wav"], "2 files of speech are all of one speaker, the first is .*clean/all/1.wav"),
        (["anna/1.wav", "anna/2.wav", "ben/1.wav"], ""),
        (["b_reader_00001_1.wav", "c_reader_00001_2.wav", "a_reader_00002_1.wav"], ""),
    ],
)
def test_speakers_that_names_hardly_tell_apart_are_doubted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, speech: list[str], message: str
) -> None:
    touch(tmp_path, *(f"clean/{name}" for name in speech), *noise_names())
    read_corpus(tmp_path)
    assert len(caplog.messages) == bool(message)
    assert re.search(message, caplog.text)


def test_who_splits_the_speech_is_not_doubted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "valid"):
        touch(tmp_path / split, "clean/a.wav", "clean/b.wav", "noise/n.wav")
    touch(tmp_path, *FILES)
    read_corpus(tmp_path)
    read_corpus(write_manifest(tmp_path / "m.csv", ROWS))
    assert caplog.messages == []


def test_audio_behind_links_is_of_the_link_s_speaker(tmp_path: Path) -> None:
    touch(tmp_path / "disk", "x/1.wav", "x/2.wav", "n.wav", "m.wav")
    touch(tmp_path / "set", "clean/ben/1.wav")
    (tmp_path / "set" / "clean" / "anna").symlink_to(tmp_path / "disk" / "x")
    (tmp_path / "set" / "noise").symlink_to(tmp_path / "disk")
    corpora = read_corpus(tmp_path / "set")
    assert sorted(source.group for corpus in corpora.values() for source in corpus.clean) == ["anna", "anna", "ben"]


def test_a_download_is_read_as_it_lies(tmp_path: Path) -> None:
    touch(tmp_path / "datasets", *dns_names(3), *noise_names(3))
    assert read_corpus(tmp_path) == read_corpus(tmp_path / "datasets")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder or manifest; give the folder that holds clean/ and noise/"):
        read_corpus(tmp_path / "none")


def test_a_split_that_the_folder_lacks_is_named(tmp_path: Path) -> None:
    touch(tmp_path, *dns_names(2), *noise_names(2))
    with pytest.raises(InputError, match="no folder test in it"):
        read_corpus(tmp_path, ("test",))
