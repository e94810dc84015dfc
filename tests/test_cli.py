"""The command line: results where they are due; one line and exit code 2 for anything wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.cli import main

RATE = 44100


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a recording."""
    monkeypatch.chdir(tmp_path)
    time_s = np.arange(RATE // 4) / RATE
    write_audio("a.wav", Audio((0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)[None], RATE))
    return tmp_path


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from speechbrain_dynsnet.cli import main;"
        "main(['--help'], standalone_mode=False);"
        "print({'torch', 'numpy', 'speechbrain'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert "enhance" in done.stdout


def test_an_exported_file_enhances_as_the_model_does(folder: Path, known_bundle: Path) -> None:
    run = CliRunner().invoke
    exported = run(main, ["export", str(known_bundle), "-o", "half.onnx", "--exit", "1"])
    assert exported.exit_code == 0, exported.output
    for model, name in ((str(known_bundle), "torch.wav"), ("half.onnx", "onnx.wav")):
        result = run(main, ["enhance", "a.wav", "-o", name, "--exit", "1", "--model", model])
        assert result.exit_code == 0, result.output
    ours, theirs = (read_audio(name).samples for name in ("onnx.wav", "torch.wav"))
    np.testing.assert_allclose(ours, theirs, atol=2 / 32768)


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("onnx", ["export", "-o", "model.onnx"], "[export] extra"),
        ("torch", ["enhance", "a.wav", "-o", "clean.wav", "--model", "folder"], "give --model an .onnx file"),
    ],
)
def test_what_is_not_installed_is_named(folder: Path, module: str, arguments: list[str], message: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from speechbrain_dynsnet.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=folder)
    assert result.returncode == 2
    assert f"{module} is not installed" in result.stderr and message in result.stderr
    assert "Traceback" not in result.stderr
