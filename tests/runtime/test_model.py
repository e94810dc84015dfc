"""What is not a model of this project's, whole and of this version, is refused in one line that says what to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.runtime.export import export_onnx
from speechbrain_dynsnet.runtime.frames import FrameRunner
from speechbrain_dynsnet.runtime.model import RuntimeModel


@pytest.fixture
def path(streaming_files: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to spoil."""
    copy = tmp_path / "model.onnx"
    copy.write_bytes(streaming_files["int8"].read_bytes())
    return copy


def change_metadata(path: Path, change: Callable[[dict[str, str]], None]) -> None:
    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    change(metadata)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)


def change_architecture(metadata: dict[str, str]) -> None:
    metadata["architecture"] = json.dumps(json.loads(metadata["architecture"]) | {"sample_rate": 48000})


def to_first_version(metadata: dict[str, str]) -> None:
    del metadata["format_version"]
    metadata["exit"] = "5"


def test_a_file_says_what_it_is(models: dict[str, RuntimeModel], network: DynamicNsNet2) -> None:
    for name, model in models.items():
        assert (model.exits, model.precision, model.frames, model.signal) == (network.exits, name, 1, "features")
        assert model.architecture == network.architecture.to_dict()
        assert model.macs_per_frame == {exit: network.macs_per_frame(exit) for exit in network.exits}
    assert models["fp32"].fingerprint != models["int8"].fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (to_first_version, "older version of this package wrote it; export it again"),
        (lambda metadata: metadata.update(format_version="1"), "its format is 1, .* export it again"),
        (lambda metadata: metadata.update(format_version="3"), "its format is 3, .* install a newer version"),
        (lambda metadata: metadata.update(format_version="two"), "its format is two"),
        (lambda metadata: metadata.clear(), "not a model that `dynsnet export` wrote .*lacks our metadata"),
        (lambda metadata: metadata.pop("precision"), "not a model that `dynsnet export` wrote"),
        (lambda metadata: metadata.update(exits="not JSON"), "not a model that `dynsnet export` wrote"),
        (lambda metadata: metadata.update(exits="[3]"), "not a model that `dynsnet export` wrote"),
        (lambda metadata: metadata.update(exits="[3]", macs_per_frame="[1]"), "its inputs and its metadata disagree"),
        (lambda metadata: metadata.update(architecture="[]"), "its inputs and its metadata disagree"),
        (lambda metadata: metadata.update(signal="waveform"), "its inputs and its metadata disagree"),
        (change_architecture, "trained with another sample_rate; this runtime works at sample_rate 16000"),
    ],
)
def test_metadata_that_is_not_ours(path: Path, change: Callable[[dict[str, str]], None], message: str) -> None:
    change_metadata(path, change)
    with pytest.raises(InputError, match=message) as error:
        RuntimeModel(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("size", [0, 1, 1000, 1_000_000])
def test_a_file_that_was_cut_short(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="not a model that `dynsnet export` wrote"):
        RuntimeModel(path)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_damage_anywhere_is_one_line(
    streaming_files: dict[str, Path], precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed bit is refused in weights as in names, shapes and metadata, which stand at the end and the start."""
    path, whole = tmp_path / "model.onnx", streaming_files[precision].read_bytes()
    random, size = np.random.default_rng(0), len(whole)
    for place in np.concatenate([random.integers(0, size, 40), random.integers(size - 3000, size, 40), np.arange(9)]):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(InputError) as error:
            FrameRunner(RuntimeModel(path))
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["mask", "new_state_0"])
def test_outputs_of_other_names_are_refused(path: Path, name: str) -> None:
    graph = onnx.load(path)
    for output in graph.graph.output:
        output.name = "other" if output.name == name else output.name
    for node in graph.graph.node:
        node.output[:] = ["other" if output == name else output for output in node.output]
    onnx.save(graph, path)
    with pytest.raises(InputError, match="its inputs and its metadata disagree"):
        RuntimeModel(path)


def test_what_is_no_model_at_all(tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("this is no model\n" * 99)
    with pytest.raises(InputError, match="text.onnx: not a model that `dynsnet export` wrote"):
        RuntimeModel(text)
    for missing, problem in ((tmp_path, "is a folder, no .onnx file"), (tmp_path / "missing.onnx", "no such file")):
        with pytest.raises(InputError, match=f"{problem}; write one with `dynsnet export`"):
            RuntimeModel(missing)


def test_the_json_beside_it_tells_whether_it_is_the_file(path: Path) -> None:
    record = path.with_suffix(".json")
    record.write_text(json.dumps({"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))
    RuntimeModel(path)
    change_metadata(path, lambda metadata: metadata.update(note="another file"))
    with pytest.raises(InputError, match=r"damaged, or not the file that model.json is about; export it again"):
        RuntimeModel(path)
    record.write_text("{")
    with pytest.raises(InputError, match=r"model.json: is damaged; export model.onnx again"):
        RuntimeModel(path)
    record.write_text("[1]")  # somebody else's
    with pytest.raises(InputError, match="it has changed since it was written"):
        RuntimeModel(path)


def test_exits_are_checked(model: RuntimeModel, network: DynamicNsNet2, tmp_path: Path) -> None:
    assert [model.check_exit(exit) for exit in (None, 0, 3)] == [5, 0, 3]
    with pytest.raises(InputError, match=r"no exit 2; choose one of \[0, 1, 3, 5\]"):
        model.check_exit(2)
    single = RuntimeModel(export_onnx(network, tmp_path / "model.onnx", 3))
    assert single.check_exit(None) == 3
    with pytest.raises(InputError, match="holds exit 3 only, not 5"):
        single.check_exit(5)
