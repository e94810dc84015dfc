"""Memory is measured of the model, whatever the process that asks for it holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from speechbrain_dynsnet.evaluation.engines import RUNTIME, Engine
from speechbrain_dynsnet.evaluation.memory import PeakMemory, peak_memory
from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.runtime.export import export_onnx

MEGABYTE = 10**6

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    network, folder = make_network("concat", (0,)), tmp_path_factory.mktemp("models")
    frames = export_onnx(network, folder / "frames.onnx")
    return Engine(RUNTIME, frames, export_onnx(network, folder / "files.onnx", frames="any"), 0)


def measure(engine: Engine, file_s: float) -> PeakMemory:
    peak = peak_memory(engine, file_s)
    assert peak is not None
    return peak


def test_a_longer_file_takes_more(engine: Engine) -> None:
    short, long = measure(engine, 1.0), measure(engine, 60.0)
    assert 0 < short.frames <= short.file
    # its samples and spectrum, and the noisy ones: 60 s x 16 kHz x (4 + 8 byte), twice
    assert long.file - short.file > 20 * MEGABYTE
    assert abs(long.frames - short.frames) < 10 * MEGABYTE


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="elsewhere the peak of the parent may count")
def test_what_the_parent_holds_does_not_count(engine: Engine) -> None:
    before = measure(engine, 1.0)
    ballast = np.ones(400 * MEGABYTE, np.uint8)
    during = measure(engine, 1.0)
    assert ballast.any()
    assert abs(during.file - before.file) < 50 * MEGABYTE


def test_a_process_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        peak_memory(Engine(RUNTIME, tmp_path / "missing.onnx", tmp_path / "missing.onnx", 0), 1.0)
