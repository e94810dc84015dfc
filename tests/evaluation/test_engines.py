"""What is timed is the model itself: frame by frame or whole, in torch or in the runtime, it gives the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechbrain_dynsnet.evaluation.engines import RUNTIME, TORCH, Array, Engine
from speechbrain_dynsnet.model.bundle import load_bundle, save_bundle
from speechbrain_dynsnet.model.enhance import enhance
from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.runtime.export import export_onnx

EXITS = (0, 1, 3, 5)


@pytest.fixture(scope="module", params=["pretrain", "split", "concat"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 260, "dense_size": 258, "feature_size": 8}
    return save_bundle(make_network(request.param, EXITS, **sizes), tmp_path_factory.mktemp("models") / "small")


def engine(name: str, bundle: Path, folder: Path, exit: int) -> Engine:
    onnx = folder / f"{exit}.onnx"
    return Engine(name, export_onnx(load_bundle(bundle), onnx, exit) if name == RUNTIME else bundle, exit)


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("exit", EXITS)
@pytest.mark.parametrize("name", [TORCH, RUNTIME])
def test_frame_by_frame_is_the_whole(name: str, bundle: Path, tmp_path: Path, exit: int) -> None:
    features = noise(1, 20, 257)
    run = engine(name, bundle, tmp_path, exit).open_frames()
    masks = np.concatenate([run(features[:, t : t + 1]) for t in range(20)], axis=1)
    with torch.no_grad():
        whole, _ = load_bundle(bundle)(torch.from_numpy(features), exit=exit)
    assert masks == pytest.approx(whole.numpy(), abs=1e-5)


@pytest.mark.parametrize("exit", EXITS)
@pytest.mark.parametrize("name", [TORCH, RUNTIME])
def test_a_file_is_enhanced(name: str, bundle: Path, tmp_path: Path, exit: int) -> None:
    noisy = noise(1, 5000)
    with torch.no_grad():
        (expected,) = enhance(load_bundle(bundle), torch.from_numpy(noisy), (exit,))
    assert engine(name, bundle, tmp_path, exit).open_files()(noisy) == pytest.approx(expected.numpy(), abs=1e-4)


def test_the_runtime_is_measured_without_torch(bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path; from speechbrain_dynsnet.evaluation.engines import Engine;"
        "import speechbrain_dynsnet.evaluation.memory;"
        f"engine = Engine('runtime', Path({str(engine(RUNTIME, bundle, tmp_path, 1).path)!r}), 1);"
        "engine.open_frames()(np.zeros((1, 1, 257), np.float32)); engine.open_files()(np.zeros((1, 999), np.float32));"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
