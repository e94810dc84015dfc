"""What is timed is the model itself: by frames, whole or as a stream, in torch or in the runtime, it gives the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechbrain_dynsnet.evaluation.engines import ENGINES, INT8, PRECISIONS, RUNTIME, TORCH, Array, Engine
from speechbrain_dynsnet.model.bundle import load_bundle, save_bundle
from speechbrain_dynsnet.model.enhance import enhance
from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.runtime.export import export_onnx

EXITS = (0, 1, 3, 5)
# int8 is no bug for bug copy, but near; the rest is the same but for rounding.
MASK_TOLERANCE = {TORCH: 1e-5, RUNTIME: 1e-5, INT8: 0.03}


@pytest.fixture(scope="module", params=["pretrain", "split", "concat"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 260, "dense_size": 258, "feature_size": 8}
    return save_bundle(make_network(request.param, EXITS, **sizes), tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def files(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """For each engine, one file for frames and one for signals, which hold all exits."""
    folder, network = tmp_path_factory.mktemp("exported"), load_bundle(bundle)
    exported = {
        name: (
            export_onnx(network, folder / f"{name}.onnx", precision=precision),
            export_onnx(network, folder / f"{name}_any.onnx", precision=precision, frames="any"),
        )
        for name, precision in PRECISIONS.items()
    }
    return {TORCH: (bundle, bundle), **exported}


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("exit", EXITS)
@pytest.mark.parametrize("name", ENGINES)
def test_frame_by_frame_is_the_whole(name: str, bundle: Path, files: dict[str, tuple[Path, Path]], exit: int) -> None:
    features = noise(20, 257)
    run = Engine(name, *files[name], exit).open_frames()
    masks = np.stack([run(frame).copy() for frame in features])
    with torch.no_grad():
        whole, _ = load_bundle(bundle)(torch.from_numpy(features)[None], exit=exit)
    assert masks == pytest.approx(whole[0].numpy(), abs=MASK_TOLERANCE[name])


@pytest.mark.parametrize("exit", EXITS)
@pytest.mark.parametrize("name", ENGINES)
def test_a_file_is_enhanced(name: str, bundle: Path, files: dict[str, tuple[Path, Path]], exit: int) -> None:
    noisy = noise(1, 5000)
    with torch.no_grad():
        (expected,) = enhance(load_bundle(bundle), torch.from_numpy(noisy), (exit,))
    tolerance = 10 * MASK_TOLERANCE[name]  # samples are of up to four times the variance of one
    assert Engine(name, *files[name], exit).open_files()(noisy) == pytest.approx(expected.numpy(), abs=tolerance)


@pytest.mark.parametrize("exit", EXITS)
@pytest.mark.parametrize("name", PRECISIONS)
def test_a_stream_gives_what_the_file_gives(name: str, files: dict[str, tuple[Path, Path]], exit: int) -> None:
    noisy, engine = noise(1, 5000), Engine(name, *files[name], exit)
    stream = engine.open_stream()
    streamed = np.concatenate([stream.process(noisy[0]), stream.flush()])
    assert streamed == pytest.approx(engine.open_files()(noisy)[0], abs=1e-5)


def test_torch_has_no_streams(bundle: Path) -> None:
    with pytest.raises(ValueError, match="no streams"):
        Engine(TORCH, bundle, bundle, 1).open_stream()


@pytest.mark.parametrize("name", PRECISIONS)
def test_the_runtime_is_measured_without_torch(name: str, files: dict[str, tuple[Path, Path]]) -> None:
    frames, signals = map(str, files[name])
    code = (
        "import sys, numpy as np; from pathlib import Path; from speechbrain_dynsnet.evaluation.engines import Engine;"
        "import speechbrain_dynsnet.evaluation.memory;"
        f"engine = Engine({name!r}, Path({frames!r}), Path({signals!r}), 1);"
        "engine.open_frames()(np.zeros(257, np.float32)); engine.open_files()(np.zeros((1, 999), np.float32));"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
