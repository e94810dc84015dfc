"""`dynsnet bench`: every exit has its figures, in a table and a file; bad input is one line, before any work."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from speechbrain_dynsnet.cli import main
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation import bench as module
from speechbrain_dynsnet.evaluation import bench_tasks
from speechbrain_dynsnet.evaluation.bench import COLUMNS
from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.evaluation.engines import ENGINES, PRECISIONS, Engine
from speechbrain_dynsnet.evaluation.memory import PeakMemory
from speechbrain_dynsnet.evaluation.peers import DISTRIBUTIONS, peer_version
from speechbrain_dynsnet.evaluation.timing import Timing, time_interleaved
from speechbrain_dynsnet.model.bundle import load_bundle, save_bundle
from speechbrain_dynsnet.model.network import make_network

EXITS = (0, 1, 5)
FLOORS = ("floor_cached", "floor_uncached")
STREAMS = [f"{engine}_stream" for engine in PRECISIONS]


def installed(name: str) -> bool:
    try:
        return bool(peer_version(name))
    except InputError:
        return False


PEERS = [name for name in DISTRIBUTIONS if installed(name)]
WITH_PEERS = ["--peers", ",".join(PEERS)] if PEERS else []
PUBLIC_WEIGHTS = Path(__file__).parents[3] / "shared" / "reference" / "nsnet2_257.npz"


def memory(engine: Engine, file_s: float) -> PeakMemory | None:
    """Quick, where the true one starts a process a call."""
    return PeakMemory(frames=(engine.exit + 1) * 1_000_000, file=int(file_s) * 1_000_000)


def two_seconds(tasks: Mapping[Any, object], *_: int, **__: int) -> dict[Any, Timing]:
    """In place of timing: every call takes 2 s, and none is made."""
    return dict.fromkeys(tasks, Timing(np.full(3, 2.0)))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "peak_memory", memory)
    monkeypatch.setattr(module, "time_interleaved", two_seconds)


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, words)])


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = make_network("concat", EXITS, feature_size=8)
    return save_bundle(network, tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def benched(small: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, list[dict[str, str]]]:
    """Timed in truth, but for files of 1 s."""
    output = tmp_path_factory.mktemp("results") / "bench.csv"
    noise = bench_tasks.make_noise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "peak_memory", memory)
        patch.setattr(module, "time_interleaved", time_interleaved)
        patch.setattr(bench_tasks, "make_noise", lambda seconds, seed=0: noise(1, seed))
        result = run(small, "--frames", 60, "-o", output, *WITH_PEERS)
    assert result.exit_code == 0, result.output
    return result, read(output)


def test_every_exit_has_every_figure(benched: tuple[Result, list[dict[str, str]]]) -> None:
    _, rows = benched
    assert [row["exit"] for row in rows] == list(map(str, EXITS))
    for row in rows:
        assert tuple(row) == COLUMNS
        assert (row["model"], row["family"], row["frames_timed"], row["threads"]) == ("small", "concat", "60", "1")
        measured = [name for name in COLUMNS if name.startswith((*ENGINES, "floor_", *PEERS))]
        measured.remove("torch_version")
        assert all(float(row[name]) > 0 for name in measured if "transforms" not in name)
        assert all(peer_version(name) in row["peers"] for name in PEERS)


def test_the_counts_are_those_of_the_architecture(small: Path, benched: tuple[Result, list[dict[str, str]]]) -> None:
    _, rows = benched
    for row, cost in zip(rows, exit_costs(load_bundle(small)), strict=True):
        assert int(row["parameters"]) == cost.parameters
        assert int(row["weight_bytes_per_frame"]) == 4 * cost.parameters
        assert int(row["macs_per_second"]) == 63 * cost.macs_per_frame
        assert int(row["flops_per_second"]) == 126 * cost.macs_per_frame
        assert float(row["macs_share_of_baseline"]) == cost.macs_per_frame / 2_777_000
    assert all(int(a["macs_per_frame"]) < int(b["macs_per_frame"]) for a, b in pairwise(rows))


def test_times_and_ratios_agree(benched: tuple[Result, list[dict[str, str]]]) -> None:
    _, rows = benched
    for row in rows:
        median_ms = {name: float(row[f"{name}_frame_median_ms"]) for name in (*ENGINES, *STREAMS, *FLOORS)}
        assert all(median <= float(row[f"{name}_frame_p99_ms"]) for name, median in median_ms.items())
        for engine in ENGINES:
            for floor in FLOORS:
                ratio = median_ms[engine] / median_ms[floor]
                assert float(row[f"{engine}_frame_to_{floor}"]) == pytest.approx(ratio)
        assert float(row["int8_frame_to_runtime"]) == pytest.approx(median_ms["int8"] / median_ms["runtime"])
        for engine, stream in zip(PRECISIONS, STREAMS, strict=True):
            assert float(row[f"{engine}_transforms_ms"]) == pytest.approx(median_ms[stream] - median_ms[engine])
            bound_ms = float(row["macs_share_of_deepest"]) * float(rows[-1][f"{engine}_frame_median_ms"]) + 0.02
            assert float(row[f"{engine}_macs_bound_ms"]) == pytest.approx(bound_ms)


def test_times_have_the_units_of_their_columns(small: Path, tmp_path: Path) -> None:
    assert run(small, "-o", tmp_path / "b.csv").exit_code == 0
    for row in read(tmp_path / "b.csv"):
        for name in (*ENGINES, *STREAMS):
            assert [float(row[f"{name}_frame_{one}_ms"]) for one in ("median", "mean", "p99")] == [2000.0] * 3
            assert float(row[f"{name}_real_time_factor_10s"]) == 2.0 / 10
            assert float(row[f"{name}_real_time_factor_60s"]) == 2.0 / 60


def test_the_memory_is_that_of_its_own_exit(benched: tuple[Result, list[dict[str, str]]]) -> None:
    _, rows = benched
    for row, exit in zip(rows, EXITS, strict=True):
        assert float(row["runtime_peak_memory_frames_mb"]) == exit + 1.0
        assert float(row["int8_peak_memory_frames_mb"]) == exit + 1.0
        assert float(row["torch_peak_memory_file_mb"]) == 60.0


def test_the_tables_have_a_row_an_exit_and_the_machine_above(
    benched: tuple[Result, list[dict[str, str]]],
) -> None:
    result, rows = benched
    text = result.stdout
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 6 + bool(PEERS)
    for header, rule, *body in tables:
        assert len({line.count("|") for line in (header, rule, *body)}) == 1
        assert header.startswith("|  |") or [line.split()[1] for line in body] == list(map(str, EXITS))
    heading = text.split("\n\n")[0]
    assert all(word in heading for word in ("small: concat", rows[0]["cpu"], "1 thread", rows[0]["torch_version"]))
    assert "63 frames" in text and "62.5" in text


def test_memory_that_the_system_does_not_tell_is_empty(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "peak_memory", lambda engine, file_s: None)
    result = run(small, "--frames", 1, "-o", tmp_path / "b.csv")
    assert result.exit_code == 0, result.output
    assert {row["torch_peak_memory_file_mb"] for row in read(tmp_path / "b.csv")} == {""}


def test_without_peers_their_columns_are_empty(small: Path, tmp_path: Path) -> None:
    result = run(small, "--frames", 1, "-o", tmp_path / "b.csv")
    assert result.exit_code == 0, result.output
    for row in read(tmp_path / "b.csv"):
        assert {row[name] for name in COLUMNS if name.startswith(("nsnet2", "rnnoise", "peers"))} == {""}
    assert "NSNet2" not in result.stdout and "rnnoise" not in result.stdout


def test_bounds_are_told_and_a_missed_one_is_no_error(small: Path) -> None:
    result = run(small)  # every call takes 2 s: int8 gains nothing, and an exit costs as much as the whole
    assert result.exit_code == 0
    bounds = result.stdout.partition("Bounds")[2]
    assert "int8 over fp32, exit 5: at most 0.6, measured 1: missed" in bounds
    assert "fp32 over the floor in the cache, exit 5: at most 1.5, measured 1: met" in bounds


@pytest.mark.skipif(not PUBLIC_WEIGHTS.is_file(), reason="no public weights here")
def test_public_weights_are_the_baseline(tmp_path: Path) -> None:
    result = run(PUBLIC_WEIGHTS, "--frames", 2, "-o", tmp_path / "b.csv")
    assert result.exit_code == 0, result.output
    (row,) = read(tmp_path / "b.csv")
    assert (row["family"], row["parameters"], row["macs_share_of_baseline"]) == ("baseline", "2783657", "1.0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing"], "missing: no such folder"),
        (["missing.npz"], "missing.npz: not an .npz archive"),
        (["exit3.onnx"], "exit3.onnx"),
        (["-o", "missing/b.csv"], "the folder missing does not exist"),
        (["-o", "."], "is a folder"),
        (["--peers", "nsnet3"], "no peer 'nsnet3': choose from nsnet2, rnnoise"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("exit3.onnx").write_bytes(b"")
    monkeypatch.setattr(module, "check_flops", lambda network: pytest.fail("began to work"))
    result = run(*words)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exit3.onnx"]
