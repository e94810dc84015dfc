"""An exported model gives what the torch one gives, and needs no torch to do so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechbrain_dynsnet.audio.files import Audio
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model import features
from speechbrain_dynsnet.model.network import DynamicNsNet2, make_network
from speechbrain_dynsnet.runtime.enhancer import Enhancer
from speechbrain_dynsnet.runtime.export import export_onnx

FAMILIES = [
    ("baseline", (5,)),
    ("pretrain", (0, 1, 2, 3, 4, 5)),
    ("split", (0, 1, 2, 3, 4, 5)),
    ("concat", (0, 1, 3, 5)),
]


def noise(channels: int, samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (channels, samples)).astype(np.float32)


@torch.no_grad()
def enhance_with_torch(network: DynamicNsNet2, samples: np.ndarray, exit: int) -> np.ndarray:
    spectrum = features.stft(torch.from_numpy(samples))
    mask, _ = network(features.log_power(spectrum), exit=exit)
    return np.asarray(features.istft(spectrum * mask, samples.shape[-1]))


@pytest.mark.parametrize(("family", "exit"), [(family, exit) for family, exits in FAMILIES for exit in exits])
def test_equals_torch_at_every_exit(family: str, exit: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make_network(family, dict(FAMILIES)[family])
    enhancer = Enhancer(export_onnx(network, tmp_path / "model.onnx", exit))
    samples = noise(2, 5001)
    np.testing.assert_allclose(enhancer.enhance(samples), enhance_with_torch(network, samples, exit), atol=1e-6)
    assert enhancer.exits == (exit,)


def test_activation_after_the_first_layer_is_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make_network("baseline", (5,), fc1_activation="none")
    samples = noise(1, 4000)
    enhanced = Enhancer(export_onnx(network, tmp_path / "model.onnx")).enhance(samples)
    np.testing.assert_allclose(enhanced, enhance_with_torch(network, samples, 5), atol=1e-6)


def test_a_file_of_an_early_exit_holds_no_later_stage(tmp_path: Path) -> None:
    network = make_network("concat", (0, 1, 3, 5))
    sizes = [export_onnx(network, tmp_path / f"{exit}.onnx", exit).stat().st_size for exit in network.exits]
    for exit, size in zip(network.exits, sizes, strict=True):
        weights = 4 * network.macs_per_frame(exit)
        assert weights < size < weights + 60_000  # biases, names


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_rate_channels_and_length_stay(rate: int, tmp_path: Path) -> None:
    enhancer = Enhancer(export_onnx(make_network("concat", (0, 1)), tmp_path / "model.onnx"))
    audio = Audio(noise(3, 1234), rate, "FLAC", "PCM_24")
    enhanced = enhancer.enhance_audio(audio)
    assert (enhanced.samples.shape, enhanced.rate, enhanced.subtype) == ((3, 1234), rate, "PCM_24")


def test_needs_no_torch(tmp_path: Path) -> None:
    model = export_onnx(make_network("concat", (0, 1)), tmp_path / "model.onnx")
    code = (
        "import sys, numpy; from speechbrain_dynsnet.runtime.enhancer import Enhancer; "
        f"Enhancer({str(model)!r}).enhance(numpy.zeros((1, 999), 'float32')); "
        "print(sorted({'torch', 'speechbrain', 'onnx', 'scipy'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_bad_files_are_named(tmp_path: Path) -> None:
    network = make_network("concat", (0, 1))
    model = export_onnx(network, tmp_path / "model.onnx")
    with pytest.raises(InputError, match="exit 1 only, not 0"):
        Enhancer(model).check_exit(0)
    with pytest.raises(InputError, match="no exit 5"):
        export_onnx(network, tmp_path / "other.onnx", 5)
    with pytest.raises(InputError, match="no such file"):
        Enhancer(tmp_path / "missing.onnx")
    for name, content in {
        "text.onnx": b"not a model",
        "cut.onnx": model.read_bytes()[:1000],
        "empty.onnx": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: not a model"):
            Enhancer(tmp_path / name)
    with pytest.raises(InputError, match="cannot be written"):
        export_onnx(network, tmp_path / "missing" / "model.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "text.onnx", "cut.onnx", "empty.onnx"}
