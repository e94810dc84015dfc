"""The STFT and overlap-add as nodes, for graphs that read and write samples.

Both transforms are matrix products with the window inside: any runtime has that operator, and 0.5 million MACs a frame
are few beside the network's. They stay in float32 in int8 files too, because features reach 80 dB down.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import BINS, HOP, POWER_FLOOR, WINDOW
from speechbrain_dynsnet.audio.stft import SQRT_HANN
from speechbrain_dynsnet.runtime.export.graph import Graph

SAMPLES, HISTORY, OVERLAP = "samples", "history", "overlap"  # inputs of the graph, each of a hop


def write_analysis(graph: Graph) -> tuple[str, str]:
    """From the hop before and this one to the spectrum, (channels, real and imaginary parts), and the features."""
    frame = graph.add("Concat", [HISTORY, SAMPLES], axis=1)
    spectrum = graph.add("MatMul", [frame, graph.weight(_analysis(), "dft.analysis")])
    real, imaginary = graph.add_many("Split", [spectrum, graph.integers(BINS, BINS)], 2, axis=1)
    squares = [graph.add("Mul", [part, part]) for part in (real, imaginary)]
    power = graph.add("Add", [graph.add("Add", squares), graph.number(POWER_FLOOR)])
    return spectrum, graph.add("Log", [power])


def write_synthesis(graph: Graph, spectrum: str, mask: str) -> tuple[str, str]:
    """From the spectrum and the mask to the next hop of samples and the half that the next frame overlaps."""
    masked = graph.add("Mul", [spectrum, graph.add("Concat", [mask, mask], axis=1)])
    frame = graph.add("MatMul", [masked, graph.weight(_synthesis(), "dft.synthesis")])
    first, second = graph.add_many("Split", [frame, graph.integers(HOP, HOP)], 2, axis=1)
    return graph.add("Add", [first, OVERLAP]), second


def _analysis() -> NDArray[np.float32]:
    """(samples, real and imaginary parts): the windowed transform."""
    angles = _angles()
    return (np.concatenate([np.cos(angles), -np.sin(angles)], axis=1) * SQRT_HANN[:, None]).astype(np.float32)


def _synthesis() -> NDArray[np.float32]:
    """(real and imaginary parts, samples): its inverse, windowed again."""
    angles = _angles().T
    weight = np.full((BINS, 1), 2.0 / WINDOW)  # all bins but the outer two stand for a negative frequency too
    weight[[0, -1]] = 1.0 / WINDOW
    return (np.concatenate([weight * np.cos(angles), -weight * np.sin(angles)]) * SQRT_HANN).astype(np.float32)


def _angles() -> NDArray[np.floating]:
    return 2.0 * np.pi / WINDOW * np.outer(np.arange(WINDOW), np.arange(BINS))
