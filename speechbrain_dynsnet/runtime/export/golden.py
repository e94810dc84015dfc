"""Golden vectors of an exported file, and a C header of them, for those who port the network to another machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbrain_dynsnet.audio.constants import BINS, HOP, SAMPLE_RATE, WINDOW
from speechbrain_dynsnet.model.architecture import Architecture
from speechbrain_dynsnet.runtime.export.costs import FrameCost
from speechbrain_dynsnet.runtime.export.running import Array, open_session, run_frames
from speechbrain_dynsnet.writing import appearing, write_text

FRAMES = 4
_PER_LINE = 8


@dataclass(frozen=True)
class Golden:
    """What goes in and what comes out, from silence on.

    Arguments
    ---------
    inputs : array
        (frames, 257) features, or (frames, 256) samples where the STFT is in the file.
    outputs : dict of int to array
        By exit: (frames, 257) masks, or (frames, 256) samples.
    states : dict of int to dict
        By exit: the states after the last frame, by name.
    """

    inputs: Array
    outputs: Mapping[int, Array]
    states: Mapping[int, Mapping[str, Array]]


def golden_vectors(path: Path, exits: Sequence[int], inputs: Array) -> Golden:
    """Run a file on some frames at each of its exits."""
    session = open_session(path)
    results = {exit: run_frames(session, inputs, exit) for exit in exits}
    return Golden(
        inputs,
        {exit: outputs for exit, (outputs, _) in results.items()},
        {exit: states for exit, (_, states) in results.items()},
    )


def write_npz(golden: Golden, path: Path) -> None:
    """`inputs`, `outputs_exit_K` and `state_N_exit_K`, as a NumPy archive."""
    arrays = {"inputs": golden.inputs}
    for exit, outputs in golden.outputs.items():
        arrays[f"outputs_exit_{exit}"] = outputs
        arrays |= {f"{name}_exit_{exit}": state for name, state in golden.states[exit].items()}
    with appearing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def write_header(
    golden: Golden, path: Path, architecture: Architecture, costs: Sequence[FrameCost], about: str
) -> None:
    """Sizes as macros, and the golden inputs and outputs as arrays, in C.

    Arguments
    ---------
    golden : Golden
        Of the file.
    path : Path
        The header.
    architecture : Architecture
        Of the network.
    costs : sequence of FrameCost
        One an exit.
    about : str
        One line on the file that this belongs to.
    """
    states = {name: state.size for states in golden.states.values() for name, state in states.items()}
    sizes = {
        "SAMPLE_RATE_HZ": SAMPLE_RATE,
        "WINDOW_SAMPLES": WINDOW,
        "HOP_SAMPLES": HOP,
        "BINS": BINS,
        "LATENCY_SAMPLES": WINDOW,
        "EXITS": len(costs),
        "INPUT_SIZE": golden.inputs.shape[1],
        "OUTPUT_SIZE": next(iter(golden.outputs.values())).shape[1],
        "STATES": len(states),
        **{f"{name.upper()}_SIZE": size for name, size in states.items()},
        "GOLDEN_FRAMES": len(golden.inputs),
    }
    if architecture.is_chain:
        sizes |= {"HIDDEN_SIZE": architecture.hidden_size, "DENSE_SIZE": architecture.dense_size}
    else:
        sizes["FEATURE_SIZE"] = architecture.feature_size
    lines = [f"/* {about} */", "#ifndef DYNSNET_MODEL_H", "#define DYNSNET_MODEL_H", ""]
    lines += [f"#define DYNSNET_{name} {size}" for name, size in sizes.items()]
    lines += ["", _integers("exits", [cost.exit for cost in costs])]
    for field in ("macs", "weight_bytes", "state_bytes", "activation_bytes"):
        lines.append(_integers(f"{field}_of_exit", [getattr(cost, field) for cost in costs]))
    lines += ["", "/* From silence (states of zeros), frame by frame; a row a frame. */"]
    lines.append(_floats("golden_inputs", golden.inputs))
    lines += [_floats(f"golden_outputs_exit_{exit}", outputs) for exit, outputs in golden.outputs.items()]
    write_text(path, "\n".join([*lines, "", "#endif", ""]))


def _integers(name: str, values: Sequence[int]) -> str:
    return f"static const int dynsnet_{name}[{len(values)}] = {{{', '.join(map(str, values))}}};"


def _floats(name: str, rows: Array) -> str:
    numbers = [f"{value:.9e}f" for value in rows.ravel()]  # nine digits give a float32 back exactly
    lines = [", ".join(numbers[start : start + _PER_LINE]) for start in range(0, len(numbers), _PER_LINE)]
    body = ",\n    ".join(lines)
    return f"static const float dynsnet_{name}[{rows.shape[0]}][{rows.shape[1]}] = {{\n    {body}\n}};"
