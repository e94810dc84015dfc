"""The shipped model as files that stream, and real noisy speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.runtime.export import export_onnx
from speechbrain_dynsnet.runtime.model import RuntimeModel

PRECISIONS = ("fp32", "int8")


@pytest.fixture(scope="session")
def network() -> DynamicNsNet2:
    return load_bundle()


@pytest.fixture(scope="session")
def streaming_files(network: DynamicNsNet2, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By precision: all exits, one frame a call."""
    folder = tmp_path_factory.mktemp("streaming")
    return {name: export_onnx(network, folder / f"{name}.onnx", precision=name) for name in PRECISIONS}


@pytest.fixture(scope="session")
def models(streaming_files: dict[str, Path]) -> dict[str, RuntimeModel]:
    return {name: RuntimeModel(path) for name, path in streaming_files.items()}


@pytest.fixture(scope="session")
def model(models: dict[str, RuntimeModel]) -> RuntimeModel:
    return models["fp32"]


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Ten seconds with noise, 16 kHz."""
    return read_audio(Path(__file__).parents[2] / "examples" / "noisy.flac").samples[0]
