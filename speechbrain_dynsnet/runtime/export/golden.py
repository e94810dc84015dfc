"""Golden vectors of an exported file, and a C header of them, for those who port the network to another machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbrain_dynsnet.audio.constants import BINS, HOP, SAMPLE_RATE, WINDOW
from speechbrain_dynsnet.model.architecture import Architecture
from speechbrain_dynsnet.runtime.export.costs import FrameCost
from speechbrain_dynsnet.runtime.export.running import Array, first_inputs, run_frames
from speechbrain_dynsnet.runtime.model import RuntimeModel
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
        By exit: the states after the last frame, by name; none where a call has more frames than these.
    state_sizes : dict of str to int
        Numbers in each state, by name.
    """

    inputs: Array
    outputs: Mapping[int, Array]
    states: Mapping[int, Mapping[str, Array]]
    state_sizes: Mapping[str, int]


def golden_vectors(model: RuntimeModel, inputs: Array) -> Golden:
    """Run a file on some frames at each of its exits."""
    results = {exit: run_frames(model.session, inputs, exit) for exit in model.exits}
    given = {info.name for info in model.session.get_outputs()}
    return Golden(
        inputs,
        {exit: outputs for exit, (outputs, _) in results.items()},
        {exit: states for exit, (_, states) in results.items()},
        {name: value.size for name, value in first_inputs(model.session).items() if f"new_{name}" in given},
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
    sizes = {
        "SAMPLE_RATE_HZ": SAMPLE_RATE,
        "WINDOW_SAMPLES": WINDOW,
        "HOP_SAMPLES": HOP,
        "BINS": BINS,
        "LATENCY_SAMPLES": WINDOW,
        "EXITS": len(costs),
        "INPUT_SIZE": golden.inputs.shape[1],
        "OUTPUT_SIZE": next(iter(golden.outputs.values())).shape[1],
        "STATES": len(golden.state_sizes),
        **{f"{name.upper()}_SIZE": size for name, size in golden.state_sizes.items()},
        "GOLDEN_FRAMES": len(golden.inputs),
    }
    if architecture.is_chain:
        sizes |= {"HIDDEN_SIZE": architecture.hidden_size, "DENSE_SIZE": architecture.dense_size}
    else:
        sizes["FEATURE_SIZE"] = architecture.feature_size
    guard = f"DYNSNET_{re.sub(r'[^A-Z0-9]', '_', path.stem.upper())}_H"
    lines = [f"/* {about} */", f"#ifndef {guard}", f"#define {guard}"]
    lines += ["#ifdef DYNSNET_BINS", '#error "the header of another model is included already"', "#endif", ""]
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
    body = ",\n".join(f"  {{{_row(row)}}}" for row in rows)
    return f"static const float dynsnet_{name}[{rows.shape[0]}][{rows.shape[1]}] = {{\n{body}\n}};"


def _row(values: Array) -> str:
    numbers = [f"{value:.8e}f" for value in values]  # nine digits give a float32 back exactly
    lines = [", ".join(numbers[start : start + _PER_LINE]) for start in range(0, len(numbers), _PER_LINE)]
    return ",\n   ".join(lines)
