"""What stands in the JSON beside an exported file, for those who run it without this package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from speechbrain_dynsnet.audio.constants import HOP, SAMPLE_RATE, WINDOW
from speechbrain_dynsnet.runtime.export.costs import FrameCost
from speechbrain_dynsnet.runtime.export.verify import Difference
from speechbrain_dynsnet.runtime.model import RuntimeModel
from speechbrain_dynsnet.writing import write_text

_SIGNAL_PATH = {
    "window": "periodic square-root Hann, for analysis and synthesis: sin(pi n / 512)",
    "frames": "frame t spans the hops t - 1 and t; before the signal there is a hop of zeros",
    "features": "natural logarithm of |X|^2 + 1e-8, X the unscaled DFT of the windowed frame",
    "synthesis": "mask times X, inverse DFT, window, overlap-add: a frame completes the hop t - 1",
    "states": "zeros at the beginning of a signal; what an output new_N gives goes into the input N of the next call",
}


def write_description(
    model: RuntimeModel, path: Path, costs: Sequence[FrameCost], differences: Sequence[Difference]
) -> None:
    """Write it: sizes, states, latency, fingerprints, the cost of each exit, and how far it is from the network.

    Arguments
    ---------
    model : RuntimeModel
        What `export_onnx` wrote, loaded.
    path : Path
        The JSON.
    costs : sequence of FrameCost
        One an exit.
    differences : sequence of Difference
        What `verify` found.
    """
    metadata = model.session.get_modelmeta().custom_metadata_map
    latency = WINDOW + (model.frames - 1) * HOP if isinstance(model.frames, int) else None
    values = {"inputs": model.session.get_inputs(), "outputs": model.session.get_outputs()}
    description: dict[str, Any] = {
        "format_version": int(metadata["format_version"]),
        "sha256": hashlib.sha256(model.path.read_bytes()).hexdigest(),
        "weights_sha256": metadata["weights_sha256"],
        "architecture": model.architecture,
        "exits": list(model.exits),
        "exit_input": "one of `exits`; any other number runs the deepest" if model.has_choice else "there is none",
        "precision": model.precision,
        "frames": model.frames,
        "signal": model.signal,
        "latency_samples": latency,
        "latency_ms": None if latency is None else 1000.0 * latency / SAMPLE_RATE,
        **{
            kind: [{"name": one.name, "shape": one.shape, "type": one.type} for one in of_kind]
            for kind, of_kind in values.items()
        },
        "signal_path": _SIGNAL_PATH,
        "costs_per_frame": [asdict(cost) for cost in costs],
        "difference_from_the_network": [asdict(difference) for difference in differences],
    }
    write_text(path, json.dumps(description, indent=2) + "\n")
