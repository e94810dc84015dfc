"""A Hub on loopback that `huggingface_hub` takes for the true one, and figures to make cards of."""

from __future__ import annotations

import csv
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.utils import close_session

from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.evaluation.metrics import METRICS
from speechbrain_dynsnet.evaluation.summary import COLUMNS, summarise
from speechbrain_dynsnet.evaluation.systems import digest_files
from speechbrain_dynsnet.model.bundle import CONFIG, WEIGHTS, load_bundle
from speechbrain_dynsnet.writing import write_table
from tests.hub.stand_in import WRITER, Hub, serve_hub


@pytest.fixture
def hub_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, token or network but the test's own; files go over plain HTTP, and nobody waits between attempts."""
    constants = huggingface_hub.constants
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", WRITER)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def hub(hub_settings: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve_hub() as served:
        point_to(served.url, monkeypatch)
        yield served
    close_session()


@pytest.fixture
def disconnect(hub_settings: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Call it, and from then on nobody answers."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen

        def point_nowhere() -> None:
            point_to(f"http://127.0.0.1:{deaf.getsockname()[1]}", monkeypatch)

        yield point_nowhere


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `huggingface_hub` ask this address."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def results(known_bundle: Path, tmp_path: Path) -> Path:
    """What `dynsnet evaluate` would write of `known_bundle`, with figures that are easy to recognise."""
    return write_results(tmp_path / "results", known_bundle)


def write_results(folder: Path, bundle: Path) -> Path:
    """An evaluation of four clips: exit k has 2 + k / 100 in every metric, and the noisy input 1.5."""
    columns = ("clip", "system", "model", "exit", *METRICS, "failures", "snr_db", "speaker")
    shares = {f"exit_{cost.exit}": cost.share_of_baseline for cost in exit_costs(load_bundle(bundle))}
    levels = {"noisy": ("", 1.5)} | {name: (name[5:], 2 + int(name[5:]) / 100) for name in shares}
    rows = [
        {"clip": f"clip_{clip}", "system": system, "model": "model" if exit else "", "exit": exit, "failures": ""}
        | {"snr_db": str(5.0 * clip), "speaker": f"s{clip % 2}"}
        | {metric: str(level + clip / 1000) for metric in METRICS}
        for clip in range(4)
        for system, (exit, level) in levels.items()
    ]
    identity = {"model": "model", "sha256": digest_files([bundle / CONFIG, bundle / WEIGHTS])}
    settings = {
        "models": {system: identity if exit else {} for system, (exit, _) in levels.items()},
        "test_set": {"name": "four_clips", "clips": 4, "sha256": "ab" * 32},
    }
    folder.mkdir()
    write_table(folder / "clips.csv", columns, rows)
    write_table(folder / "summary.csv", COLUMNS, summarise(rows, macs_shares=shares))
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder / "summary.csv"


def change_table(path: Path, change: Callable[[dict[str, str]], dict[str, str] | None]) -> None:
    """Write a table again with each row changed, or without it."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [new for row in csv.DictReader(file) if (new := change(row)) is not None]
    write_table(path, list(rows[0]), rows)
