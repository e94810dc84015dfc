"""Public nsNet2 weights load into the baseline, compute what nsNet2 computes, and denoise."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.features import istft, log_power, stft
from speechbrain_dynsnet.model.importing import import_nsnet2
from tests.model.reference import relu, sigmoid

SHARED = Path(__file__).parents[3] / "shared"
PUBLIC_WEIGHTS = SHARED / "reference" / "nsnet2_257.npz"
SPEECH = SHARED / "corpus" / "test" / "clean" / "emodb_subset_emodb03_03a01Fa.opus"
NOISE = SHARED / "corpus" / "test" / "noise" / "ambient_engine_running_water_water.opus"

Arrays = dict[str, NDArray[np.float32]]
WIDTHS = {"fc1": (257, 400), "fc2": (400, 600), "fc3": (600, 600), "fc4": (600, 257)}


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (inputs, outputs) in WIDTHS.items():
        shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    for name in ("gru1", "gru2"):
        shapes |= {f"{name}.weight_{side}": (1200, 400) for side in ("ih", "hh")}
        shapes |= {f"{name}.bias_{side}": (1200,) for side in ("ih", "hh")}
    return {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}


def nsnet2(arrays: Arrays, features: NDArray[np.float64], fc1_relu: bool) -> NDArray[np.float64]:
    """nsNet2 in plain numpy, from the names of the file."""

    def dense(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]

    def gru(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        h = np.zeros(400)
        outputs = []
        for frame in x:
            r_x, z_x, n_x = np.split(arrays[f"{name}.weight_ih"] @ frame + arrays[f"{name}.bias_ih"], 3)
            r_h, z_h, n_h = np.split(arrays[f"{name}.weight_hh"] @ h + arrays[f"{name}.bias_hh"], 3)
            z = sigmoid(z_x + z_h)
            h = (1 - z) * np.tanh(n_x + sigmoid(r_x + r_h) * n_h) + z * h
            outputs.append(h)
        return np.stack(outputs)

    x = dense("fc1", features)
    x = gru("gru2", gru("gru1", relu(x) if fc1_relu else x))
    return sigmoid(dense("fc4", relu(dense("fc3", relu(dense("fc2", x))))))


@torch.no_grad()
@pytest.mark.parametrize("fc1", ["none", "relu"])
def test_the_imported_network_is_nsnet2(tmp_path: Path, arrays: Arrays, fc1: str) -> None:
    np.savez(tmp_path / "weights.npz", **arrays)
    network = import_nsnet2(tmp_path / "weights.npz", fc1_activation=fc1)
    assert (network.architecture.family, network.exits) == ("baseline", (5,))
    assert not network.training
    features = np.random.default_rng(1).normal(-3, 2, (5, 257))
    mask, _ = network(torch.from_numpy(features).float()[None])
    np.testing.assert_allclose(mask[0].numpy(), nsnet2(arrays, features, fc1 == "relu"), rtol=0, atol=1e-5)


def test_public_weights_have_no_activation_after_the_first_layer(tmp_path: Path, arrays: Arrays) -> None:
    np.savez(tmp_path / "weights.npz", **arrays)
    assert import_nsnet2(tmp_path / "weights.npz").architecture.fc1_activation == "none"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda arrays: arrays.pop("gru2.bias_hh"), r"gru2\.bias_hh is missing; it has \['fc1\.bias', "),
        (
            lambda arrays: arrays.update({"fc2.weight": arrays["fc2.weight"].T}),
            r"fc2\.weight has shape \(400, 600\), not \(600, 400\)",
        ),
        (lambda arrays: arrays.update({"fc4.bias": np.full(257, np.nan)}), r"fc4\.bias holds values .* not finite"),
        (lambda arrays: arrays.update({"fc4.bias": np.array(["a"] * 257)}), "not an .npz archive"),
        (lambda arrays: arrays.update({"fc4.bias": np.array([None] * 257)}), "not an .npz archive"),
    ],
)
def test_an_array_that_does_not_fit_is_named(
    tmp_path: Path, arrays: Arrays, edit: Callable[[Arrays], object], message: str
) -> None:
    edited = dict(arrays)
    edit(edited)
    np.savez(tmp_path / "weights.npz", **edited)
    with pytest.raises(InputError, match=message) as caught:
        import_nsnet2(tmp_path / "weights.npz")
    assert str(tmp_path / "weights.npz") in str(caught.value)
    assert "\n" not in str(caught.value)


def lone_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def half(path: Path) -> None:
    np.savez(path, a=np.zeros(1000))
    path.write_bytes(path.read_bytes()[:4000])


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        Path.mkdir,
        Path.touch,
        lambda path: path.write_text("these are no weights"),
        lambda path: path.write_bytes(pickle.dumps({"fc1.weight": 1})),
        lone_array,
        half,
    ],
    ids=["missing", "folder", "empty", "text", "pickle", "npy", "half"],
)
def test_a_file_that_is_no_archive_is_named(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "weights.npz"
    make(path)
    with pytest.raises(InputError, match="not an .npz archive of nsNet2 weights") as caught:
        import_nsnet2(path)
    assert str(path) in str(caught.value)


@pytest.mark.skipif(
    not all(path.is_file() for path in (PUBLIC_WEIGHTS, SPEECH, NOISE)),
    reason="needs the public nsNet2 weights and recordings beside the repository",
)
@torch.no_grad()
@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_a_public_network_denoises_a_real_mixture(snr_db: float) -> None:
    def read(path: Path) -> torch.Tensor:
        audio = read_audio(path)
        return torch.from_numpy(resample(audio.samples.mean(axis=0, keepdims=True), audio.rate, 16000))

    speech, noise = read(SPEECH), read(NOISE)
    length = min(speech.shape[-1], noise.shape[-1])
    speech, noise = speech[:, :length], noise[:, :length]
    noise = noise * speech.std() / noise.std() * 10 ** (-snr_db / 20)
    spectrum = stft(speech + noise)
    mask, _ = import_nsnet2(PUBLIC_WEIGHTS)(log_power(spectrum))

    def snr(estimate: torch.Tensor) -> float:
        return float(10 * torch.log10(speech.square().sum() / (estimate - speech).square().sum()))

    assert snr(speech + noise) == pytest.approx(snr_db, abs=0.1)
    assert snr(istft(mask * spectrum, length)) > snr_db + 4.0
    # and it does so by taking away noise, not speech
    assert istft(mask * stft(noise), length).std() < 0.6 * noise.std()
    assert istft(mask * stft(speech), length).std() > 0.7 * speech.std()
