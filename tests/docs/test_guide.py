"""The guide does what it says: every block of its pages runs, in order, in a folder laid out as the pages assume.

Blocks of one page share a folder and, in Python, their names. A comment line `% slow` above a block leaves it to the
slow tests; `% printed` above a text means that the block before prints it. What is in TRIED is typed as it stands but
for the sizes that a reader would give it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.data.trial import make_trial_set
from speechbrain_dynsnet.model.bundle import SHIPPED_BUNDLE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
RUN = ("python", "bash")
NOT_RUN = ("text",)  # output, layouts
DIRECTIVE = re.compile(r"\{[a-z-]+\}")
TRIED = {
    # hours of training: one epoch of a few short clips
    "python train.py hparams/concat_joint.yaml --data_folder corpus\n": (
        "python train.py hparams/concat_joint.yaml --data_folder corpus --max_epochs 1 --clips_per_epoch 8"
        " --batch_size 4 --valid_clips 4 --clip_s 0.5 --num_workers 0\n"
    ),
}
# No sound card here: a recording that is as long as it takes, and a file that is listened to by nobody.
STAND_INS = {"arecord": 'cat "$ROOM/noisy.raw"', "aplay": 'cat > "$ROOM/played.raw"'}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    is_slow: bool
    is_printed: bool


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page but the generator's directives."""
    found, opened = [], 0
    lines: list[str] = []
    language = comment = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if opened and line.strip() == "```":
            if not DIRECTIVE.match(language):
                text = "\n".join(lines) + "\n"
                found.append(Block(page.name, opened, language, text, comment == "% slow", comment == "% printed"))
            opened, comment = 0, ""
        elif opened:
            lines.append(line)
        elif line.startswith("```"):
            opened, language, lines = number, line[3:].strip(), []
        elif line.strip():
            comment = line.strip()
    assert not opened, f"{page.name}:{opened}: the block does not end"
    return found


BLOCKS = {page.relative_to(DOCS).as_posix(): blocks_of(page) for page in PAGES}
RUNNING = {
    slow: [
        name
        for name, blocks in BLOCKS.items()
        if any(block.language in RUN and block.is_slow is slow for block in blocks)
    ]
    for slow in (False, True)
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "corpus"
    return make_trial_set(
        folder, speakers=4, clips_per_speaker=2, clip_s=4.0, noises=6, noise_s=4.0, impulse_responses=2
    )


@pytest.fixture
def room(corpus: Path, tmp_path: Path) -> Path:
    """The repository's folder as a reader has it, with data, a recording, and a run."""
    for name in ("train.py", "hparams", "recipes", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(corpus, tmp_path / "corpus")
    write_audio(tmp_path / "noisy.wav", read_audio(ROOT / "examples" / "noisy.flac", frames=48000))
    raw, _ = soundfile.read(tmp_path / "noisy.wav", dtype="int16")
    (tmp_path / "noisy.raw").write_bytes(raw.tobytes())
    for number, path in enumerate(sorted((corpus / "clean").glob("*.wav"))[:2]):
        clean = read_audio(path)
        noise = np.random.default_rng(number).normal(0, 0.01, clean.samples.shape).astype(np.float32)
        for kind, samples in (("clean", clean.samples), ("noisy", clean.samples + noise)):
            (tmp_path / "test_set" / kind).mkdir(parents=True, exist_ok=True)
            write_audio(tmp_path / "test_set" / kind / f"speech_{number}.wav", Audio(samples, clean.rate))
    shutil.copytree(SHIPPED_BUNDLE, tmp_path / "results" / "concat_joint_0135" / "bundle")
    for name, program in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{program}\n")
        path.chmod(0o755)
    return tmp_path


def run_bash(block: Block, room: Path) -> str:
    path = os.pathsep.join([str(room / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", TRIED.get(block.text, block.text)],
        cwd=room,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "ROOM": str(room), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    said = f"{block.page}:{block.line}:\n{block.text}{result.stdout}{result.stderr}"
    # What a shell runs to fill in a text may fail without an effect on the exit status.
    assert result.returncode == 0 and "command not found" not in result.stderr, said
    return result.stdout


def run_page(name: str, room: Path, slow: bool) -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    printed = ""
    if any("make_test_set.py" in block.text for block in BLOCKS[name]):  # the page makes its own
        shutil.rmtree(room / "test_set")
    for block in BLOCKS[name]:
        if block.is_slow and not slow:
            continue
        if block.language == "bash":
            printed = run_bash(block, room)
        elif block.language == "python":
            # Its lines stand where they stand in the page, so that a traceback points there.
            code = "\n" * block.line + block.text
            with redirect_stdout(StringIO()) as output:
                exec(compile(code, DOCS / name, "exec"), names)
            printed = output.getvalue()
        elif block.is_printed:
            assert block.text in printed, f"{name}:{block.line}: the block before prints otherwise:\n{printed}"
        else:
            assert block.language in NOT_RUN, f"{name}:{block.line}: no way to run a block of {block.language!r}"


@pytest.mark.parametrize("name", RUNNING[False])
def test_the_blocks_of_a_page_run(name: str, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    run_page(name, room, slow=False)
    if name == "stream.md":
        assert (room / "played.raw").stat().st_size == (room / "noisy.raw").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNING[True])
def test_all_blocks_of_a_page_run(name: str, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(room)
    run_page(name, room, slow=True)


def test_no_block_is_of_an_unknown_language() -> None:
    strange = [
        f"{name}:{block.line}: {block.language!r}"
        for name, blocks in BLOCKS.items()
        for block in blocks
        if block.language not in (*RUN, *NOT_RUN)
    ]
    assert not strange
    assert len(RUNNING[False]) >= 8


def test_what_is_tried_with_other_sizes_is_in_the_guide() -> None:
    texts = {block.text for blocks in BLOCKS.values() for block in blocks}
    assert set(TRIED) <= texts


def test_a_block_that_cannot_run_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    blocks = ("% slow\n```bash\nfalse\n```", "% printed\n```text\nx\n```", "```{image} y\n```", "```ruby\nz\n```")
    page.write_text("# A page\n\n" + "\n\n".join(blocks) + "\n")
    first, second, third = blocks_of(page)
    assert (first.is_slow, first.line, first.text) == (True, 4, "false\n")
    assert (second.is_slow, second.is_printed, third.language) == (False, True, "ruby")
    with pytest.raises(AssertionError, match="page.md:4"):
        run_bash(first, tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="Sphinx is not installed")
def test_the_guide_builds_without_a_warning(tmp_path: Path) -> None:
    built = tmp_path / "html"
    words = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "doctrees"), str(DOCS), str(built)]
    result = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    pages = list(built.rglob("*.html"))
    assert set(BLOCKS) <= {page.relative_to(built).with_suffix(".md").as_posix() for page in pages}
    # Directives that were not understood would stand there as text. What a page loads lies beside it: it can be read
    # without a network.
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"\.\. [a-z-]+::", text), page.name
        loaded = re.findall(r'<(?:script|img|link)\b[^>]*?(?:src|href)="([^"]+)"', text)
        assert loaded and not [address for address in loaded if "//" in address], page.name
