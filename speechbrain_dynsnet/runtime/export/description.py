"""What stands in the JSON beside an exported file: all that someone needs to run it without this package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE, WINDOW
from speechbrain_dynsnet.runtime.export.costs import FrameCost
from speechbrain_dynsnet.runtime.export.running import open_session
from speechbrain_dynsnet.runtime.export.verify import Difference
from speechbrain_dynsnet.writing import write_text

_JSON_KEYS = ("architecture", "exits", "macs_per_frame", "format_version", "frames")


def write_description(
    onnx_path: Path, path: Path, costs: Sequence[FrameCost], differences: Sequence[Difference]
) -> None:
    """Write it: sizes, states, latency, fingerprints, the cost of each exit, and how far it is from the network.

    Arguments
    ---------
    onnx_path : Path
        What `export_onnx` wrote.
    path : Path
        The JSON.
    costs : sequence of FrameCost
        One an exit.
    differences : sequence of Difference
        What `verify` found.
    """
    session = open_session(onnx_path)
    metadata = session.get_modelmeta().custom_metadata_map
    description: dict[str, Any] = {
        key: json.loads(value) if key in _JSON_KEYS and value != "any" else value for key, value in metadata.items()
    }
    description["sha256"] = hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    description["latency_samples"] = WINDOW
    description["latency_ms"] = 1000.0 * WINDOW / SAMPLE_RATE
    for kind, values in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        description[kind] = [{"name": one.name, "shape": one.shape, "type": one.type} for one in values]
    description["costs_per_frame"] = [asdict(cost) for cost in costs]
    description["difference_from_the_network"] = [asdict(difference) for difference in differences]
    write_text(path, json.dumps(description, indent=2) + "\n")
