"""The pictures of the guide: the three families, and what trains in which phase; as SVG, light and dark.

What trains is asked of the network and its phases, so that the picture is right by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from speechbrain_dynsnet.model.architecture import LAYER_KINDS
from speechbrain_dynsnet.model.network import DynamicNsNet2, make_network
from speechbrain_dynsnet.training.phases import Phase, joint, layerwise
from speechbrain_dynsnet.writing import appearing

EXITS = (0, 1, 3, 5)
STAGES = range(len(LAYER_KINDS))
_WIDTH_IN = 9.0
_BOX = (0.56, 0.40)  # width and height; stages stand 1 apart


@dataclass(frozen=True)
class Palette:
    """The colours of one scheme."""

    name: str
    text: str
    line: str
    mask: str
    feature: str
    extra: str
    frozen: str


PALETTES = (
    Palette("light", "#1a1a1a", "#666666", "#bcd9f2", "#d9e8c4", "#c0392b", "#e2e2e2"),
    Palette("dark", "#eeeeee", "#a8a8a8", "#1f4e79", "#3f5a26", "#ff8a75", "#484848"),
)


def draw_all(folder: Path) -> None:
    """Write `families_light.svg`, `phases_light.svg` and their dark twins; the same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "guide", "font.family": "DejaVu Sans", "font.size": 9}):
        for palette in PALETTES:
            for name, draw in (("families", draw_families), ("phases", draw_phases)):
                with appearing(folder / f"{name}_{palette.name}.svg") as unfinished:
                    draw(palette).savefig(unfinished, format="svg", transparent=True, metadata={"Date": None})


def draw_families(palette: Palette) -> Figure:
    """The stages of `pretrain`, `split` and `concat`, and where masks come out."""
    figure = Figure(figsize=(_WIDTH_IN, 6.8), layout="constrained")
    panels = figure.subplots(3, 1, height_ratios=(1.45, 2.2, 2.2))
    _prepare(
        panels[0], palette, (-0.75, 0.7), "pretrain: nsNet2 as it is; the first 257 features of a layer are its mask"
    )
    _chain(panels[0], palette)
    for panel, family in zip(panels[1:], ("split", "concat"), strict=True):
        told = "do not see" if family == "split" else "see"
        title = f"{family}: each stage has a mask layer and a feature layer; feature layers {told} the masks"
        _prepare(panel, palette, (-1.5, 0.7), title)
        _two_rows(panel, palette, sees_masks=family == "concat")
    return figure


def draw_phases(palette: Palette) -> Figure:
    """Which layers of `split` and `concat` train in each phase of both schemes; what is frozen, what does not run."""
    phases = [*joint(EXITS), *layerwise(EXITS)]
    network = make_network("concat", EXITS)
    figure = Figure(figsize=(_WIDTH_IN, 7.2), layout="constrained")
    heights = [1.45] * (len(phases) - 1) + [1.75]
    panels = figure.subplots(len(phases), 1, height_ratios=heights)
    for index, (panel, phase) in enumerate(zip(panels, phases, strict=True)):
        if index == 0:
            title = f"joint: one phase, the loss is the sum over all exits; up to {phase.max_epochs} epochs"
        else:
            title = f"layerwise, phase {index}: exit {phase.exits[0]} alone; up to {phase.max_epochs} epochs"
        _prepare(panel, palette, (-1.15 if index == len(phases) - 1 else -0.85, 0.6), title)
        _phase(panel, palette, network, phase)
    for stage in STAGES:
        _label(panels[-1], palette, stage, -1.02, f"stage {stage}")
    return figure


def _prepare(panel: Axes, palette: Palette, heights: tuple[float, float], title: str) -> None:
    panel.set(xlim=(-1.0, len(STAGES) - 0.35), ylim=heights)
    panel.set_axis_off()
    panel.set_title(title, loc="left", color=palette.text, fontsize=10)


def _chain(panel: Axes, palette: Palette) -> None:
    widths = (400, 400, 400, 600, 600, 257)
    _label(panel, palette, -0.75, 0.0, "257\nfeatures")
    for stage in STAGES:
        _box(panel, palette, stage, 0.0, f"{LAYER_KINDS[stage].upper()}\n{widths[stage]}", palette.mask)
        _arrow(panel, palette.line, (stage - (0.5 if stage == 0 else 0.72), 0.0), (stage - 0.28, 0.0))
        _label(panel, palette, stage, -0.5, f"stage {stage}")
        if stage in EXITS:
            _exit(panel, palette, stage, 0.2)


def _two_rows(panel: Axes, palette: Palette, sees_masks: bool) -> None:
    low = -0.8
    _label(panel, palette, -0.75, low / 2, "257\nfeatures")
    for y in (0.0, low):
        _arrow(panel, palette.line, (-0.5, low / 2), (-0.28, y))
    for stage in STAGES:
        kind = LAYER_KINDS[stage].upper()
        _box(panel, palette, stage, 0.0, f"{kind}\n257", palette.mask)
        _label(panel, palette, stage, -1.3, f"stage {stage}")
        if stage in EXITS:
            _exit(panel, palette, stage, 0.2)
        if stage == STAGES[-1]:
            continue
        _box(panel, palette, stage, low, f"{kind}\n128", palette.feature)
        start, end = stage + 0.28, stage + 0.72
        _arrow(panel, palette.line, (start, 0.0), (end, 0.0))
        _arrow(panel, palette.line, (start, low), (end, -0.12))
        if stage + 1 < STAGES[-1]:
            _arrow(panel, palette.line, (start, low), (end, low))
            if sees_masks:
                _arrow(panel, palette.extra, (start, 0.0), (end, low + 0.12))
    _label(panel, palette, STAGES[-1] + 0.02, low, "no feature layer\nin the last stage", small=True)


def _phase(panel: Axes, palette: Palette, network: DynamicNsNet2, phase: Phase) -> None:
    trainable = phase.trainable(network)
    runs = set().union(*(network.path_parameters(exit) for exit in phase.exits))
    for y, layer, subject in ((0.0, "mask_layer", "masks"), (-0.55, "feature_layer", "features")):
        _label(panel, palette, -0.68, y, subject)
        for stage in STAGES:
            names = {name for name, _ in network.named_parameters() if name.startswith(f"stages.{stage}.{layer}.")}
            if not names:
                continue
            if names <= trainable:
                _box(panel, palette, stage, y, "trains", palette.mask, weight="bold")
            elif names <= runs:
                _box(panel, palette, stage, y, "frozen", palette.frozen)
            else:
                _box(panel, palette, stage, y, "not run", "none", linestyle="--")
    for exit in phase.exits:
        _exit(panel, palette, exit, 0.2, length=0.22, text="loss")


def _box(panel: Axes, palette: Palette, x: float, y: float, text: str, colour: str, **look: Any) -> None:
    width, height = _BOX
    weight = look.pop("weight", "normal")
    style = "round,pad=0,rounding_size=0.06"
    corner = (x - width / 2, y - height / 2)
    panel.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=colour, edgecolor=palette.line, **look)
    )
    panel.text(x, y, text, ha="center", va="center", color=palette.text, fontsize=8, weight=weight, linespacing=1.1)


def _label(panel: Axes, palette: Palette, x: float, y: float, text: str, small: bool = False) -> None:
    panel.text(x, y, text, ha="center", va="center", color=palette.text, fontsize=7.5 if small else 8.5)


def _exit(panel: Axes, palette: Palette, stage: int, y: float, length: float = 0.3, text: str = "") -> None:
    _arrow(panel, palette.extra, (stage, y), (stage, y + length))
    panel.text(
        stage + 0.07, y + length / 2 + 0.03, text or f"exit {stage}", color=palette.extra, fontsize=8, va="center"
    )


def _arrow(panel: Axes, colour: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    panel.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=8, shrinkA=0, shrinkB=0, color=colour, linewidth=1.1
        )
    )
