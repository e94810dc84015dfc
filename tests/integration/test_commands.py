"""What the README tells a new user to type."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path} | environment, capture_output=True, text=True
    )


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "examples" / "noisy.flac", tmp_path / "noisy.flac")
    write_audio(tmp_path / "noisy.wav", read_audio(tmp_path / "noisy.flac", frames=32000))
    (tmp_path / "recordings").mkdir()
    shutil.copy(tmp_path / "noisy.wav", tmp_path / "recordings" / "noisy.wav")
    return tmp_path


def test_the_command_line_of_the_readme(noisy: Path) -> None:
    commands = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("dynsnet ")]
    assert len(commands) >= 5
    for command in commands:
        if re.search("[A-Z]{4}", command):  # on the reader's own data
            continue
        result = run(["bash", "-c", command], noisy)
        assert result.returncode == 0, (command, result.stderr)
    assert read_audio(noisy / "clean.wav").samples.shape == read_audio(noisy / "noisy.wav").samples.shape
    assert (noisy / "clean" / "noisy.wav").is_file() and (noisy / "clean" / "report.html").is_file()
    assert (noisy / "model.onnx").is_file()


def test_the_python_of_the_readme(noisy: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 2
    result = run([sys.executable, "-c", "\n".join(blocks)], noisy)
    assert result.returncode == 0, result.stderr
    assert "(0, 1, 3, 5)" in result.stdout
    assert (noisy / "clean.wav").is_file()


def test_every_file_that_the_readme_names_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    scripts = re.findall(r"python (?!-)(\S+\.py)", README) + re.findall(r"hparams/\S+\.yaml", README)
    assert links and scripts
    for name in links + scripts:
        assert (ROOT / name).exists(), name


def test_every_exit_is_written_and_told(tmp_path: Path) -> None:
    source = tmp_path / "my 'noisy' $file.wav"
    samples = np.random.default_rng(0).normal(0, 0.05, (2, 30000)).astype(np.float32)
    write_audio(source, Audio(samples, 48000))
    script = ROOT / "examples" / "enhance_every_exit.py"
    result = run([sys.executable, str(script), "--input", str(source), "--output", "out"], tmp_path)
    assert result.returncode == 0, result.stderr
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {f"{source.stem}_exit{exit}.wav" for exit in (0, 1, 3, 5)} | {f"{source.stem}.png"}
    for exit in (0, 1, 3, 5):
        audio = read_audio(tmp_path / "out" / f"{source.stem}_exit{exit}.wav")
        assert (audio.samples.shape, audio.rate) == ((2, 30000), 48000)
    shares = re.findall(r"^ +\d .*?([\d.]+)% +([\d.]+)% +[\d.]+$", result.stdout, re.MULTILINE)
    assert shares == [("3.5", "2.4"), ("31.6", "21.4"), ("84.2", "57.0"), ("100.0", "67.6")]


@pytest.mark.parametrize("name", ["missing.wav", "text.wav", "."])
def test_bad_input_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    script = ROOT / "examples" / "enhance_every_exit.py"
    result = run([sys.executable, str(script), "--input", name, "--output", "out"], tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not (Path(sys.prefix) / ".ready").exists(), reason="not in the environment that make sets up")
@pytest.mark.slow
def test_make_passes_any_file_name_on(tmp_path: Path) -> None:
    source = tmp_path / "my 'noisy' $file #1.wav"
    write_audio(source, Audio(np.zeros((1, 4000), np.float32), 16000))
    result = run(["make", "enhance", f"VENV={sys.prefix}", f"IN={source}", f"OUT={tmp_path / 'o u t'}"], ROOT)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "o u t").iterdir())) == 5


@pytest.mark.slow
def test_a_wheel_enhances_a_file(noisy: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet"]
    assert run([*pip, "wheel", "--no-deps", "-w", "wheels", str(ROOT)], noisy).returncode == 0
    (wheel,) = (noisy / "wheels").iterdir()
    assert run([*pip, "install", "--no-deps", "--target", "site", str(wheel)], noisy).returncode == 0
    command = [sys.executable, "-m", "speechbrain_dynsnet.cli", "enhance", "noisy.wav", "-o", "clean.wav"]
    result = run(command, noisy, PYTHONPATH=str(noisy / "site"))
    assert result.returncode == 0, result.stderr
    assert (noisy / "clean.wav").is_file()
    where = run([sys.executable, "-c", "import speechbrain_dynsnet as p; print(p.__file__)"], noisy, PYTHONPATH="site")
    assert where.stdout.startswith(str(noisy / "site"))


@pytest.mark.slow
def test_a_fresh_clone_enhances_at_the_first_command(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    assert run(["git", "clone", "--quiet", str(ROOT), str(clone)], tmp_path).returncode == 0
    first = run(["make", "enhance"], clone)
    assert first.returncode == 0, first.stderr
    assert len(list((clone / "enhanced").glob("noisy_exit*.wav"))) == 4
    second = run(["make", "enhance"], clone)
    assert second.returncode == 0 and "pip install" not in second.stdout
