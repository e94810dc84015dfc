"""`dynsnet export`, as its user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.cli import main
from speechbrain_dynsnet.runtime.export import folder
from speechbrain_dynsnet.runtime.export.folder import CLIP
from speechbrain_dynsnet.runtime.export.verify import Difference


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def description(path: Path) -> dict[str, object]:
    return dict(json.loads(path.with_suffix(".json").read_text()))


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ((), {"exits": [0, 1, 3, 5], "precision": "fp32", "frames": 1, "signal": "features"}),
        (("--dynamic", "--int8"), {"exits": [0, 1, 3, 5], "precision": "int8", "frames": 1}),
        (("--exit", "1"), {"exits": [1]}),
        (("--frames", "8", "--exit", "0"), {"exits": [0], "frames": 8}),
        (("--frames", "any", "--exit", "0", "--int8"), {"frames": "any", "precision": "int8"}),
        (("--waveform", "--exit", "0"), {"signal": "waveform", "frames": 1}),
    ],
)
def test_each_choice_is_in_the_file(
    options: tuple[str, ...], facts: dict[str, object], known_bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    result = export(known_bundle, "-o", path, *options)
    assert result.exit_code == 0, result.output
    written = description(path)
    assert {name: written[name] for name in facts} == facts
    assert "largest difference from torch" in result.output
    assert {file.name for file in tmp_path.iterdir()} == {"model.onnx", "model.json", "model.npz", "model.h"}


def test_bytes_before_and_after_are_told(known_bundle: Path, tmp_path: Path) -> None:
    output = export(known_bundle, "-o", tmp_path / "model.onnx", "--int8").output
    total = next(line for line in output.splitlines() if line.startswith("| all "))
    after, before = (int(cell.strip().replace(",", "")) for cell in total.split("|")[4:6])
    assert 4 * 1_878_288 < before < 4 * 1_900_000 and before / 3.3 < after < before / 3


def test_a_recording_of_any_rate_verifies(known_bundle: Path, tmp_path: Path) -> None:
    samples = read_audio(CLIP).samples
    write_audio(tmp_path / "clip.wav", Audio(samples[:, :8000], SAMPLE_RATE // 2))
    result = export(known_bundle, "-o", tmp_path / "model.onnx", "--clip", tmp_path / "clip.wav", "--exit", "0")
    assert result.exit_code == 0, result.output


def test_what_int8_costs_on_a_test_set(known_bundle: Path, tmp_path: Path) -> None:
    samples = read_audio(CLIP).samples
    for kind in ("clean", "noisy"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        write_audio(tmp_path / "set" / kind / "a.wav", Audio(samples, SAMPLE_RATE))
    result = export(
        known_bundle, "-o", tmp_path / "model.onnx", "--int8", "--exit", "0", "--test_set", tmp_path / "set"
    )
    assert result.exit_code == 0, result.output
    assert [line.split("|")[2].strip() for line in result.stdout.splitlines() if "| met |" in line] == [
        "PESQ-WB",
        "DNSMOS P.808",
    ]


def test_a_file_that_is_not_the_network_ends_with_1(
    known_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "verify", lambda *_: [Difference(3, 0.5, 0.5)])
    result = export(known_bundle, "-o", tmp_path / "model.onnx")
    assert result.exit_code == 1 and not list(tmp_path.iterdir())
    assert "not written, because onnxruntime and torch differ by up to 0.5 at exit 3" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--exit", "2"), "no exit 2: choose one of [0, 1, 3, 5]"),
        (("--exit", "1", "--dynamic"), "give one of them"),
        (("--frames", "x"), "frames is 'x'"),
        (("--frames", "0"), "frames is 0"),
        (("--frames", "8", "--waveform"), "one frame a call"),
        (("--test_set", "nowhere"), "give --int8 too"),
        (("--test_set", "nowhere", "--int8", "--waveform"), "do not go together"),
        (("--test_set", "nowhere", "--int8"), "nowhere: no such folder"),
        (("--clip", "nowhere.wav"), "nowhere.wav: no such file"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    options: tuple[str, ...], message: str, known_bundle: Path, tmp_path: Path
) -> None:
    result = export(known_bundle, "-o", tmp_path / "model.onnx", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"), [("model.bin", "ends in .onnx"), ("missing/model.onnx", "create it first")]
)
def test_a_bad_name_is_one_line(name: str, message: str, known_bundle: Path, tmp_path: Path) -> None:
    result = export(known_bundle, "-o", tmp_path / name)
    assert result.exit_code == 2 and message in result.stderr and result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
