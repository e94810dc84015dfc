"""What stands beside an exported model, and that a model which is not the network is not written."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.audio.stft import log_power, stft
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.network import DynamicNsNet2, make_network
from speechbrain_dynsnet.runtime.export import export_onnx, folder
from speechbrain_dynsnet.runtime.export.costs import frame_costs
from speechbrain_dynsnet.runtime.export.folder import CLIP, Export, VerificationError, export_all
from speechbrain_dynsnet.runtime.export.verify import verify
from speechbrain_dynsnet.runtime.model import RuntimeModel

EXITS = (0, 1, 3, 5)
CHOICES = {"precision": "fp32", "frames": 1, "signal": "features"}


@pytest.fixture(scope="module")
def network() -> DynamicNsNet2:
    torch.manual_seed(0)
    return make_network("concat", EXITS).eval()


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return read_audio(CLIP).samples[0]


@pytest.fixture(scope="module", params=["features", "waveform"])
def export(
    request: pytest.FixtureRequest, network: DynamicNsNet2, clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Export:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    return export_all(network, path, None, clip, precision="fp32", frames=1, signal=request.param)


def test_four_files_of_one_name(export: Export) -> None:
    folder = export.files[0].parent
    assert sorted(path.name for path in folder.iterdir()) == ["model.h", "model.json", "model.npz", "model.onnx"]
    assert sorted(export.files) == sorted(folder.iterdir())


def test_the_file_equals_the_network_on_a_recording(export: Export) -> None:
    assert [one.exit for one in export.differences] == list(EXITS)
    assert all(one.mean <= one.largest < 1e-5 for one in export.differences)


def test_the_description_is_of_this_file(export: Export, network: DynamicNsNet2) -> None:
    onnx_path, json_path = export.files[:2]
    description = json.loads(json_path.read_text())
    assert description["sha256"] == hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    assert description["architecture"] == network.architecture.to_dict()
    assert (description["exits"], description["latency_samples"], description["latency_ms"]) == (
        [0, 1, 3, 5],
        512,
        32.0,
    )
    shapes = {one["name"]: one["shape"] for one in description["inputs"]}
    assert shapes["state_0"] == [1, 1, 257] and shapes["state_3"] == [1, 1, 128] and shapes["exit"] == []
    assert [cost["macs"] for cost in description["costs_per_frame"]] == [network.macs_per_frame(e) for e in EXITS]


def test_golden_vectors_are_what_the_network_gives(network: DynamicNsNet2, clip: np.ndarray, tmp_path: Path) -> None:
    golden = np.load(export_all(network, tmp_path / "model.onnx", [1, 5], clip, **CHOICES).files[2])
    features = log_power(stft(clip[None]))[:, :4]
    np.testing.assert_allclose(golden["inputs"][:3], features[0, :3], atol=1e-4)  # the last one saw the clip go on
    for exit in (1, 5):
        with torch.no_grad():
            mask, state = network(torch.from_numpy(golden["inputs"][None]), exit=exit)
        np.testing.assert_allclose(golden[f"outputs_exit_{exit}"], mask[0], atol=1e-5)
        np.testing.assert_allclose(golden[f"state_0_exit_{exit}"].ravel(), state[1][0].ravel(), atol=1e-5)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_c_program_reads_the_same_numbers(export: Export, tmp_path: Path) -> None:
    header, golden = next(path for path in export.files if path.suffix == ".h"), np.load(export.files[2])
    program = (
        f'#include "{header}"\n#include <stdio.h>\n'
        'int main(void) { printf("%d %d %d %d %.9g %.9g\\n", DYNSNET_BINS, DYNSNET_STATE_0_SIZE, dynsnet_exits[3], '
        "dynsnet_macs_of_exit[1], dynsnet_golden_inputs[1][7], dynsnet_golden_outputs_exit_3[2][5]); return 0; }\n"
    )
    (tmp_path / "main.c").write_text(program)
    subprocess.run(
        ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-Wno-unused-variable", "-o", "main", "main.c"],
        cwd=tmp_path,
        check=True,
    )
    words = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout.split()
    assert words[:3] == ["257", "257", "5"]
    assert int(words[3]) == export.costs[1].macs
    assert np.float32(words[4]) == golden["inputs"][1, 7]
    assert np.float32(words[5]) == golden["outputs_exit_3"][2, 5]


def test_costs_grow_with_the_exit_and_int8_reads_a_third(network: DynamicNsNet2) -> None:
    floats, ints = (frame_costs(network, EXITS, precision, "features") for precision in ("fp32", "int8"))
    for cost, quantised in zip(floats, ints, strict=True):
        assert cost.macs == quantised.macs == network.macs_per_frame(cost.exit)
        assert 4 * cost.macs < cost.weight_bytes < 4.06 * cost.macs  # and biases
        assert quantised.weight_bytes < cost.weight_bytes / 2.9
        assert cost.activation_bytes >= 4 * (257 + 257)  # the features and a mask at least
    assert [cost.state_bytes for cost in floats] == [0, 4 * 257, 4 * 2 * 385, 4 * 2 * 385]


def test_another_network_is_told_from_this_one(network: DynamicNsNet2, clip: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = make_network("concat", EXITS).eval()
    for precision in ("fp32", "int8"):
        path = export_onnx(other, tmp_path / f"{precision}.onnx", precision=precision)
        model = RuntimeModel(path)
        shallow = [
            one for one in verify(network, model, clip) if one.exit < 5
        ]  # a fresh network's deepest gains are all alike
        assert not any(one.is_within(precision) for one in shallow)
        assert all(one.is_within(precision) for one in verify(other, model, clip))


def test_what_is_not_the_network_is_not_written(
    network: DynamicNsNet2, clip: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    other = make_network("concat", EXITS)
    monkeypatch.setattr(folder, "export_onnx", lambda network, *args, **kwargs: export_onnx(other, *args, **kwargs))
    (tmp_path / "model.onnx").write_text("before")
    with pytest.raises(VerificationError, match=r"model\.onnx: not written, .* differ by up to .* at exit 0"):
        export_all(network, tmp_path / "model.onnx", None, clip, **CHOICES)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize("victim", ["weights.npz", "weights.json", "weights.h"])
def test_what_no_export_wrote_is_not_replaced(
    victim: str, network: DynamicNsNet2, clip: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / victim).write_text("{}")
    with pytest.raises(InputError, match=f"{victim}: is not from an export and would be replaced"):
        export_all(network, tmp_path / "weights.onnx", None, clip, **CHOICES)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(victim, "{}")]


def test_an_export_replaces_an_export(network: DynamicNsNet2, clip: np.ndarray, tmp_path: Path) -> None:
    sizes = []
    for exit in (1, 0):
        export_all(network, tmp_path / "model.onnx", [exit], clip, **CHOICES)
        sizes.append((tmp_path / "model.onnx").stat().st_size)
    assert sizes[1] < sizes[0] / 5 and RuntimeModel(tmp_path / "model.onnx").exits == (0,)


@pytest.mark.parametrize(("frames", "latency"), [(1, 512), (3, 1024), ("any", None)])
def test_states_and_latency_of_many_frames_a_call(
    frames: int | str, latency: int | None, network: DynamicNsNet2, clip: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    files = export_all(network, path, [1], clip, precision="fp32", frames=frames, signal="features").files
    assert json.loads(files[1].read_text())["latency_samples"] == latency
    golden = np.load(files[2])
    assert ("state_0_exit_1" in golden) == (frames != 3)  # four golden frames do not fill calls of three
    with torch.no_grad():
        mask, _ = network(torch.from_numpy(golden["inputs"][None]), exit=1)
    np.testing.assert_allclose(golden["outputs_exit_1"], mask[0], atol=1e-5)
    assert "#define DYNSNET_STATE_0_SIZE 257" in files[3].read_text()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_changed_weight_is_found_without_the_description(
    precision: str, network: DynamicNsNet2, tmp_path: Path
) -> None:
    path = export_onnx(network, tmp_path / "model.onnx", precision=precision)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="it has changed since it was written"):
        RuntimeModel(path)


@pytest.mark.parametrize(("name", "message"), [("model.pt", "ends in .onnx"), ("missing/model.onnx", "does not exist")])
def test_a_bad_name_is_refused(
    name: str, message: str, network: DynamicNsNet2, clip: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        export_all(network, tmp_path / name, None, clip, **CHOICES)
    assert not list(tmp_path.iterdir())
