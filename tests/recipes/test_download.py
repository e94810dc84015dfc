"""Fetching from a server on loopback that drops the line, ignores ranges, lies about sizes and refuses."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner, Result

from recipes.DNS2020 import download
from speechbrain_dynsnet.data import fetch, lfs
from speechbrain_dynsnet.errors import InputError

ROOT = Path(__file__).parents[2]
NAMES = (
    "clean/book_00000_chp_0009_reader_06709_11.wav",
    "clean/book_00002_chp_0005_reader_11980_10.wav",
    "noise/--9VR_F7CtY.wav",
    "test_set/synthetic/no_reverb/clean/clean_fileid_0.wav",
)
SIZE = 300_000  # bytes a file: many blocks
BLOCK = 1 << 14  # what a dropped line may cost


class Server(ThreadingHTTPServer):
    """What it serves, what it does wrong, and what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.drops: Counter[str] = Counter()  # so often the line drops half way
        self.statuses: dict[str, list[int]] = {}  # the next answers
        self.ranges = True
        self.says_size = True
        self.etag = '"one"'
        self.lfs_error: dict[str, object] = {}
        self.asked: list[tuple[str, str | None]] = []  # path and Range

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def times(self, path: str) -> int:
        return sum(asked == path for asked, _ in self.asked)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        if self.refuse():
            return
        if self.path not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[self.path]
        start = self.start() if self.server.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        dropped = self.server.drops[self.path] > 0
        self.server.drops[self.path] -= dropped  # before the answer, so that the next request sees it
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.says_size:
            self.send_header("Content-Length", str(len(content) - start))
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        self.end_headers()
        rest = content[start:]
        self.wfile.write(rest[: len(rest) // 2] if dropped else rest)

    def do_POST(self) -> None:
        self.server.asked.append((self.path, None))
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["objects"]
        if self.refuse():
            return
        objects = [
            {"oid": item["oid"], "size": item["size"]}
            | (
                {"error": self.server.lfs_error}
                if self.server.lfs_error
                else {"actions": {"download": {"href": f"{self.server.url}/object/{item['oid']}"}}}
            )
            for item in wanted
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def refuse(self) -> bool:
        waiting = self.server.statuses.get(self.path, [])
        if not waiting:
            return False
        self.answer(waiting.pop(0), {"message": "This repository exceeded its LFS budget."})
        return True

    def answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.git-lfs+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def start(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        return int(found[1]) if found and condition in (None, self.server.etag) else 0


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_PAUSE_S", 0.0)


class Source(NamedTuple):
    """A served data set: its files by name, and the words that point download.py at it."""

    files: dict[str, bytes]
    words: list[str]


def tar(files: dict[str, bytes], root: str = "DNS-Challenge-interspeech2020-master/datasets") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in {f"{root}/{name}": content for name, content in files.items()}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def pointer(content: bytes) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


def object_path(content: bytes) -> str:
    return f"/object/{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def source(server: Server) -> Source:
    """As it is distributed: an archive of pointers, and a server of Git LFS objects."""
    rng = np.random.default_rng(0)
    files = {name: rng.bytes(SIZE + index) for index, name in enumerate(NAMES)}
    server.files = {object_path(content): content for content in files.values()}
    readme = {"clean/Readme.md": rng.bytes(100_000)}  # so that the archive has many blocks, too
    server.files["/archive.tar.gz"] = tar({name: pointer(content) for name, content in files.items()} | readme)
    return Source(files | readme, ["--mirror", f"{server.url}/archive.tar.gz", "--lfs_server", f"{server.url}/lfs"])


def run(folder: Path, words: list[str]) -> Result:
    return CliRunner().invoke(download.main, [str(folder), *words])


def refused(folder: Path, words: list[str]) -> str:
    result = run(folder, words)
    assert isinstance(result.exception, InputError), (result.output, result.exception)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def fetched(folder: Path, source: Source) -> None:
    """All of it is there as it was served, and nothing else."""
    result = run(folder, source.words)
    assert result.exit_code == 0, (result.output, result.exception)
    assert_complete(folder, source)


def assert_complete(folder: Path, source: Source) -> None:
    assert [path.name for path in folder.iterdir()] == ["datasets"]
    data = folder / "datasets"
    there = {path.relative_to(data).as_posix(): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert there == source.files


def test_pointers_become_the_files_they_point_at(tmp_path: Path, source: Source) -> None:
    fetched(tmp_path / "new" / "dns", source)


def test_a_complete_folder_asks_for_nothing(tmp_path: Path, source: Source, server: Server) -> None:
    fetched(tmp_path, source)
    server.asked.clear()
    fetched(tmp_path, source)
    assert server.asked == []


def test_a_dropped_line_is_resumed_where_it_stopped(tmp_path: Path, source: Source, server: Server) -> None:
    for path in server.files:
        server.drops[path] = 2
    fetched(tmp_path, source)
    ranges = [wanted for path, wanted in server.asked if path == object_path(source.files[NAMES[0]])]
    first, second = (int(wanted.removeprefix("bytes=").removesuffix("-")) for wanted in ranges[1:] if wanted)
    assert ranges[0] is None
    assert SIZE // 2 - BLOCK < first <= SIZE // 2
    assert SIZE * 3 // 4 - 2 * BLOCK < second <= SIZE * 3 // 4
    archive = [wanted for path, wanted in server.asked if path == "/archive.tar.gz"]
    assert archive[:2] == [None, None]  # its size, then all of it
    assert archive[2] is not None


@pytest.mark.parametrize("drops", [1, 3])
def test_a_server_without_ranges_starts_again(tmp_path: Path, source: Source, server: Server, drops: int) -> None:
    server.ranges = False
    for path in server.files:
        server.drops[path] = drops
    fetched(tmp_path, source)


def test_a_line_that_never_holds_is_given_up_and_gone_on_with_later(
    tmp_path: Path, source: Source, server: Server
) -> None:
    server.ranges = False
    path = object_path(source.files[NAMES[2]])
    server.drops[path] = 1000
    message = refused(tmp_path, source.words)
    assert f"{server.url}{path}: the connection dropped, 5 times in a row" in message
    assert not (tmp_path / "datasets").exists()
    server.drops.clear()
    server.ranges = True
    server.asked.clear()
    fetched(tmp_path, source)
    assert server.times("/archive.tar.gz") == 0
    (resumed,) = (wanted for asked, wanted in server.asked if asked == path)
    assert resumed is not None


def test_an_archive_that_changed_meanwhile_is_fetched_anew(tmp_path: Path, source: Source, server: Server) -> None:
    good = server.files["/archive.tar.gz"]
    server.files["/archive.tar.gz"] = b"another version" * 1000
    server.drops["/archive.tar.gz"] = 1000
    server.ranges = False
    assert "the connection dropped" in refused(tmp_path, source.words)
    server.drops.clear()
    server.ranges, server.etag, server.files["/archive.tar.gz"] = True, '"two"', good
    fetched(tmp_path, source)


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_an_archive_that_cannot_be_told_apart_is_never_pieced_together(
    tmp_path: Path, source: Source, server: Server, etag: str
) -> None:
    server.etag = etag
    server.drops["/archive.tar.gz"] = 3  # the first of them at the question for its size
    fetched(tmp_path, source)
    assert server.times("/archive.tar.gz") == 4
    assert all(wanted is None for asked, wanted in server.asked if asked == "/archive.tar.gz")


def test_an_archive_of_unknown_size_is_fetched(tmp_path: Path, source: Source, server: Server) -> None:
    server.says_size = False
    fetched(tmp_path, source)


def test_a_file_of_another_size_is_thrown_away(tmp_path: Path, source: Source, server: Server) -> None:
    path = object_path(source.files[NAMES[1]])
    good, server.files[path] = server.files[path], server.files[path][:-7]
    message = refused(tmp_path, source.words)
    assert f"{path}: {SIZE + 1 - 7} bytes arrived instead of {SIZE + 1}" in message
    assert not (tmp_path / "datasets").exists()
    server.files[path] = good
    fetched(tmp_path, source)


def test_a_file_of_other_content_is_thrown_away(tmp_path: Path, source: Source, server: Server) -> None:
    path = object_path(source.files[NAMES[1]])
    good, server.files[path] = server.files[path], bytes(SIZE + 1)
    assert f"{path}: its checksum is wrong" in refused(tmp_path, source.words)
    server.files[path] = good
    fetched(tmp_path, source)


def test_a_missing_archive_and_a_missing_object_are_named(tmp_path: Path, source: Source, server: Server) -> None:
    lost = object_path(source.files[NAMES[0]])
    del server.files[lost]
    assert f"{server.url}{lost}: the server refuses (HTTP 404" in refused(tmp_path / "a", source.words)
    del server.files["/archive.tar.gz"]
    assert "/archive.tar.gz: the server refuses (HTTP 404" in refused(tmp_path / "b", source.words)
    assert not (tmp_path / "b").exists()


def test_what_the_lfs_server_says_is_passed_on(tmp_path: Path, source: Source, server: Server) -> None:
    server.statuses["/lfs/objects/batch"] = [403]
    message = refused(tmp_path, source.words)
    assert "HTTP 403 Forbidden: This repository exceeded its LFS budget." in message
    server.lfs_error = {"code": 404, "message": "Object does not exist"}
    assert "(Object does not exist); try another mirror" in refused(tmp_path, source.words)


def test_an_address_that_is_no_lfs_server_is_named(tmp_path: Path, source: Source, server: Server) -> None:
    server.statuses["/lfs/objects/batch"] = [200]
    assert "not that of a Git LFS server" in refused(tmp_path, source.words)


def test_a_busy_server_is_asked_again(tmp_path: Path, source: Source, server: Server) -> None:
    server.statuses = {"/lfs/objects/batch": [503, 429], "/archive.tar.gz": [502, 503]}
    fetched(tmp_path, source)


def test_no_network_is_one_line_and_leaves_nothing(tmp_path: Path, server: Server) -> None:
    with Server() as closed:
        address = f"{closed.url}/archive.tar.gz"
    message = refused(tmp_path / "dns", ["--mirror", address])
    assert message.startswith(f"{address}: the server cannot be reached, or there is no network")
    assert not (tmp_path / "dns").exists()
    assert "not an address" in refused(tmp_path / "dns", ["--mirror", "archive.tar.gz"])


def test_a_mirror_of_audio_needs_no_lfs_server(tmp_path: Path, source: Source, server: Server) -> None:
    server.files = {"/audio.tar": tar(source.files, root="datasets")}
    server.drops["/audio.tar"] = 2  # the first at the question for its size
    fetched(tmp_path, Source(source.files, ["--mirror", f"{server.url}/audio.tar"]))
    assert all("lfs" not in asked for asked, _ in server.asked)


def test_a_kill_while_unpacking_is_gone_on_from(
    tmp_path: Path, source: Source, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive is there, and half of it unpacked; the disk has first to hold what is in the archive."""
    archive = tar(source.files, root="datasets")
    (left := tmp_path / download.UNFINISHED / f"{download.UNPACKING}abc").mkdir(parents=True)
    (left / "half.wav").write_bytes(b"RIFF")
    (tmp_path / download.UNFINISHED / "archive").write_bytes(archive)
    words = ["--mirror", f"{server.url}/audio.tar"]
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, len(archive) - 1))
        assert "too few" in run(tmp_path, [*words, "--dry_run"]).stdout
        assert left.exists()
        assert "are needed and" in refused(tmp_path, words)
    assert [path.name for path in (tmp_path / download.UNFINISHED).iterdir()] == ["archive"]
    fetched(tmp_path, Source(source.files, words))
    assert server.asked == []


def test_a_clone_without_git_lfs_is_filled_in_place(tmp_path: Path, source: Source, server: Server) -> None:
    make_tree(tmp_path, source)
    fetched(tmp_path, source)
    assert server.times("/archive.tar.gz") == 0


def make_tree(folder: Path, source: Source) -> Path:
    """A clone without Git LFS."""
    for name, content in source.files.items():
        path = folder / "datasets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pointer(content) if name in NAMES else content)
    return folder / "datasets"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>maintenance</html>", "not a whole tar archive"),
        (tar({"clean/a.wav": bytes(np.random.default_rng(1).bytes(9000))})[:4000], "not a whole tar archive"),
        (tar({"a.txt": b"x"}, root="elsewhere"), "there is no datasets/ in it"),
        (tar({"../../escape.txt": b"x"}, root="datasets"), "there is no datasets/ in it"),
    ],
    ids=["no archive", "cut short", "another archive", "one that climbs out"],
)
def test_a_bad_archive_leaves_nothing_unpacked(
    tmp_path: Path, source: Source, server: Server, content: bytes, message: str
) -> None:
    good, server.files["/archive.tar.gz"] = server.files["/archive.tar.gz"], content
    assert message in refused(tmp_path / "dns", source.words)
    assert list((tmp_path / "dns" / download.UNFINISHED).iterdir()) == []
    assert not list(tmp_path.rglob("escape.txt"))
    server.files["/archive.tar.gz"] = good
    fetched(tmp_path / "dns", source)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_that_is_too_small_is_named_before_anything(
    tmp_path: Path, source: Source, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ARCHIVE_URL", source.words[1])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100_000_000_000, 50_000_000_000, 50_000_000_000))
    message = refused(tmp_path / "dns", source.words[2:])
    assert "86.0 GB are needed and 50.0 GB are free" in message
    assert not (tmp_path / "dns").exists()


def test_a_disk_that_became_too_small_is_named_before_the_files(
    tmp_path: Path, source: Source, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, 1_000_000))
    assert "1.2 MB are needed and 1.0 MB are free" in refused(tmp_path / "dns", source.words)
    assert all("/object/" not in asked for asked, _ in server.asked)
    monkeypatch.undo()
    monkeypatch.setattr(fetch, "_PAUSE_S", 0.0)
    fetched(tmp_path / "dns", source)


def test_a_disk_that_fills_up_keeps_what_is_there(
    tmp_path: Path, source: Source, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetch.os, "replace", full)
        patch.setattr(download.os, "replace", full)
        assert "cannot be written (No space left on device)" in refused(tmp_path, source.words)
    assert not (tmp_path / "datasets").exists()
    fetched(tmp_path, source)


def test_a_dry_run_says_all_and_does_nothing(
    tmp_path: Path, source: Source, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ARCHIVE_URL", source.words[1])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 10**12))
    result = run(tmp_path / "dns", [*source.words[2:], "--dry_run"])
    assert result.exit_code == 0
    assert result.stdout == (
        f"would fetch {server.url}/archive.tar.gz (0.1 MB)\n"
        f"then about 131,550 files, 86.0 GB, from {server.url}/lfs\n"
        f"into {tmp_path / 'dns' / 'datasets'} (1,000.0 GB free: enough)\n"
    )
    assert list(tmp_path.iterdir()) == []
    assert server.asked == [("/archive.tar.gz", None)]


def test_a_dry_run_half_way_says_what_is_left(tmp_path: Path, source: Source, server: Server) -> None:
    server.statuses["/lfs/objects/batch"] = [403]
    refused(tmp_path, source.words)
    server.asked.clear()
    result = run(tmp_path, [*source.words, "--dry_run"])
    there, would, into = result.stdout.splitlines()
    assert there == f"there: {tmp_path / '.download' / 'datasets'}, in which 4 files are still pointers"
    assert would == f"would fetch them from {server.url}/lfs: 1.2 MB of 1.2 MB"
    assert into.endswith(" free: enough)")
    assert server.asked == []
    assert len(lfs.find_pointers(tmp_path)) == 4


def test_a_dry_run_without_a_network_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as closed:
        address = f"{closed.url}/archive.tar.gz"
    monkeypatch.setattr(fetch, "_wait", lambda *_: pytest.fail("it waits"))
    monkeypatch.setattr(download, "ARCHIVE_URL", address)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 50 * 10**9))
    result = run(tmp_path / "dns", ["--dry_run"])
    assert result.exit_code == 0
    archive, then, into = result.stdout.splitlines()
    assert archive.startswith(
        f"would fetch {address} (size unknown; not reached just now: the server cannot be reached"
    )
    assert then == f"then about 131,550 files, 86.0 GB, from {download.LFS_URL}"
    assert into == f"into {tmp_path / 'dns' / 'datasets'} (50.0 GB free: 36.0 GB too few)"
    result = run(tmp_path / "dns", ["--dry_run", "--only", "test_set"])
    assert "then about 900 files, 288.0 MB, from" in result.stdout
    result = run(tmp_path / "dns", ["--dry_run", "--mirror", address])
    assert result.stdout.endswith("(50.0 GB free)\n")  # what a mirror has, nobody knows
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_what_is_there_of_the_archive(
    tmp_path: Path, source: Source, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_PAUSE_S", 0.0)
    server.drops["/archive.tar.gz"] = 1000
    server.ranges = False
    refused(tmp_path, source.words)
    (part,) = (tmp_path / ".download").glob("*.part")
    part.write_bytes(bytes(500_000))
    result = run(tmp_path, [*source.words, "--dry_run"])
    assert result.stdout.startswith("there: 0.5 MB of the archive\nwould fetch ")
    part.rename(tmp_path / ".download" / "archive")
    server.asked.clear()
    result = run(tmp_path, [*source.words, "--dry_run"])
    assert result.stdout.startswith(f"there: {tmp_path / '.download' / 'archive'}, 0.5 MB, from {server.url}")
    assert server.asked == []


def test_a_part_is_fetched_alone_and_the_rest_later(tmp_path: Path, source: Source, server: Server) -> None:
    result = run(tmp_path, [*source.words, "--only", "test_set"])
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"complete: {tmp_path / 'datasets' / 'test_set'}; without --only, the same command fetches the rest\n"
    )
    part = [name for name in NAMES if name.startswith("test_set/")]
    assert {path.relative_to(tmp_path / "datasets").as_posix() for path in lfs.find_pointers(tmp_path)} == {*NAMES} - {
        *part
    }
    for name in part:
        assert (tmp_path / "datasets" / name).read_bytes() == source.files[name]
    assert sum("/object/" in asked for asked, _ in server.asked) == len(part)
    result = run(tmp_path, [*source.words, "--only", "test_set", "--dry_run"])
    assert "in which 0 files are still pointers" in result.stdout
    fetched(tmp_path, source)
    assert server.times("/archive.tar.gz") == 2  # once for its size: it is not fetched again


def test_a_part_that_is_not_there_is_named(tmp_path: Path, source: Source) -> None:
    shutil.rmtree(make_tree(tmp_path, source) / "noise")
    assert f"{tmp_path / 'datasets' / 'noise'}: is not in this data" in refused(
        tmp_path, [*source.words, "--only", "noise"]
    )


def test_a_folder_that_cannot_be_is_named(tmp_path: Path, source: Source) -> None:
    (tmp_path / "file").write_text("x")
    assert "is no writable folder" in refused(tmp_path / "file" / "dns", source.words)


def test_an_error_is_one_line_on_stderr_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    words = [sys.executable, "recipes/DNS2020/download.py", str(tmp_path / "file")]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert ended.stderr.startswith("Error: ")


def test_the_official_addresses_are_those_of_the_challenge() -> None:
    assert download.ARCHIVE_URL.startswith("https://github.com/microsoft/DNS-Challenge/archive/")
    assert "interspeech2020/master" in download.ARCHIVE_URL
    assert download.LFS_URL == "https://github.com/microsoft/DNS-Challenge.git/info/lfs"
