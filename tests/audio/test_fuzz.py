"""Damaged files are enhanced, or end in an InputError: never in a crash, a hang, another exception or a leftover."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("a.wav", "a.flac", "a.ogg", "a.opus", "a.aiff", "a.au", "a.caf", "a.w64", "a.mp3")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_are_enhanced_or_refused(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.audio.fuzz", name, str(tmp_path), "1200"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{tmp_path / name} ends it with {done.returncode}: {done.stderr[-4000:]}"
