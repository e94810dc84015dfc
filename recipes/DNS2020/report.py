"""The paper's Table 2 and figures, of models that `dynsnet evaluate` measured.

python recipes/DNS2020/report.py RESULTS... -o OUT [--bench BENCH.csv] [--model BUNDLE --test_set SET --clip NOISY.wav]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import click
from matplotlib.figure import Figure
from PIL import Image

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.cli.pairing import find_pairs
from speechbrain_dynsnet.errors import InputError, one_line_errors
from speechbrain_dynsnet.evaluation.configurations import (
    Run,
    baseline_of,
    by_configuration,
    describe_bundle,
    mean_rows,
    read_runs,
    scores_of,
)
from speechbrain_dynsnet.evaluation.costs import cost_points, draw_costs, read_times
from speechbrain_dynsnet.evaluation.evaluate import Row, check_lengths
from speechbrain_dynsnet.evaluation.figures import (
    QUALITY,
    draw_boxes,
    draw_gains,
    draw_noise_types,
    save_figures,
)
from speechbrain_dynsnet.evaluation.masks import (
    RANGE_COLUMNS,
    Mask,
    Signal,
    draw_mask_ranges,
    draw_masks,
    mask_ranges,
    masks_of,
)
from speechbrain_dynsnet.evaluation.paired import pairs_to_markdown
from speechbrain_dynsnet.evaluation.summary import BASELINE
from speechbrain_dynsnet.evaluation.systems import NOISY, Pair, read_mono, read_noisy
from speechbrain_dynsnet.evaluation.table1 import table1_to_markdown
from speechbrain_dynsnet.evaluation.table2 import (
    COLUMNS,
    compare_with_paper,
    make_table,
    others_to_markdown,
    read_paper,
    to_markdown,
)
from speechbrain_dynsnet.evaluation.trained import trainings_to_markdown
from speechbrain_dynsnet.inference.sources import find_model
from speechbrain_dynsnet.model.bundle import CONFIG, SHIPPED_BUNDLE
from speechbrain_dynsnet.model.importing import load_network
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.writing import appearing, write_table, write_text

PAPER = Path(__file__).with_name("paper_table2.csv")
SHOWN_S = 6  # of a clip whose masks are drawn
COLOURS = 128  # of a picture with spectrograms
ELSEWHERE = ", which is no training of this table: not like for like."
DIFFERS = (
    "What differs from the paper: the test set ({test_set}; the paper's is DNS-2020's synthetic one without "
    "reverberation), what the models were trained on, and how. Its DNSMOS is P.808, as we read it, and here PESQ is "
    "wide-band. Its numbers here are few and second hand, not its Table 2: `paper_table2.csv` says what is known of "
    "each."
)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("results", metavar="RESULTS...", type=Path, nargs=-1, required=True)
@click.option("-o", "--output", metavar="OUT", type=Path, required=True, help="The folder for table and figures.")
@click.option("--bench", type=Path, multiple=True, help="What `dynsnet bench` wrote, for times; for several models.")
@click.option("--model", multiple=True, help="Draw the masks of this bundle; for several, joint and layerwise.")
@click.option("--baseline", help="And beside them those of this model, such as nsNet2's weights (.npz).")
@click.option("--clip", type=Path, help="The noisy file whose masks are drawn. [default: the first of the test set]")
@click.option("--test_set", type=Path, metavar="SET", help="The pairs for the ranges of masks.")
@click.option("--clips", type=click.IntRange(1), default=24, help="So many of them.")
def main(
    results: tuple[Path, ...],
    output: Path,
    bench: tuple[Path, ...],
    model: tuple[str, ...],
    baseline: str | None,
    clip: Path | None,
    test_set: Path | None,
    clips: int,
) -> None:
    """Put the models of RESULTS, folders that `dynsnet evaluate` wrote, side by side in OUT.

    table1.md is as the paper's Table 1, table2.md and table2.csv are as its Table 2; several seeds of one configuration
    become a mean, with the interval over seeds. The figures are PNG and SVG. What is there already is replaced.
    """
    with one_line_errors():
        if (baseline or clip or test_set) and not model:
            raise InputError("--baseline, --clip and --test_set are for the masks of a model: give --model")
        if model and not (clip or test_set):
            raise InputError("the masks of --model need a --clip, a --test_set, or both")
        sources = [find_model(source) for source in model]
        times = [time for path in bench for time in read_times(path)]
        pairs = find_pairs(test_set)[:clips] if test_set else []
        check_lengths(pairs)
        bundles = dict.fromkeys(path for path in (SHIPPED_BUNDLE, *sources) if path.is_dir())
        runs = read_runs(results, bundles)
        networks = {label(path): load_network(path) for path in sources}
        if len(networks) < len(sources):
            raise InputError(f"two of --model are called alike ({'; '.join(networks)}); give one of each training")
        other = find_model(baseline) if baseline else None
        rivals = {rival_name(other): load_network(other)} if other else {}
        output.mkdir(parents=True, exist_ok=True)
        click.echo(write_tables(runs, output))
        written = [path for name, figure in result_figures(runs, times) for path in save_figures(figure, output, name)]
        if networks:
            written += draw_all_masks(networks, rivals, clip, pairs, output)
        click.echo(f"\nwritten to {output}: table1.md, table2.md, table2.csv and {len(written)} more files")


def write_tables(runs: Sequence[Run], output: Path) -> str:
    """Write table1.md, table2.csv and table2.md; the last one's text."""
    table = make_table(runs)
    parts = [to_markdown(table), others_to_markdown(runs), pairs_to_markdown(runs), trainings_to_markdown(runs)]
    parts += [compare_with_paper(read_paper(PAPER), runs)]
    if baseline := baseline_of(runs):
        system, run = baseline
        model = next(row["model"] for row in run.rows if row["system"] == system)
        is_row = system in run.systems.values()
        parts.append(f"Shares here are of {f'our {run.configuration}.' if is_row else model + ELSEWHERE}")
    test_set = runs[0].test_set
    parts.append(DIFFERS.format(test_set=f"{test_set.get('name')}, {test_set.get('clips')} clips"))
    text = "\n\n".join(filter(None, parts))
    write_text(output / "table1.md", table1_to_markdown() + "\n")
    write_table(output / "table2.csv", COLUMNS, table)
    write_text(output / "table2.md", text + "\n")
    return text


def result_figures(runs: Sequence[Run], times: Sequence[Row]) -> Iterator[tuple[str, Figure]]:
    """Figures 3, 4 and 6 and that of the types of noise, with the names of their files; says what cannot be drawn."""
    figures: dict[str, Callable[[], Figure]] = {
        "figure4_costs": partial(draw_costs, cost_points(runs, times), noisy_means(runs))
    }
    for configuration, some in by_configuration(runs).items():
        rows, title = mean_rows(some), str(configuration)
        figures |= {
            f"figure3_scores_{configuration.slug}": partial(draw_boxes, rows, title=title),
            f"figure6_gains_{configuration.slug}": partial(draw_gains, rows, title=title),
            f"noise_types_{configuration.slug}": partial(draw_noise_types, rows, title=title),
        }
    for name, draw in figures.items():
        try:
            figure = draw()
        except InputError as error:
            click.echo(f"left out: {name}, {error}", err=True)
        else:
            yield name, figure


def noisy_means(runs: Sequence[Run]) -> dict[str, float]:
    """The means of the input, by metric."""
    scores = {metric: list(scores_of(runs[0].rows, NOISY, metric).values()) for metric in QUALITY}
    return {metric: sum(values) / len(values) for metric, values in scores.items() if values}


def draw_all_masks(
    networks: dict[str, DynamicNsNet2],
    baseline: dict[str, DynamicNsNet2],
    clip: Path | None,
    pairs: Sequence[Pair],
    output: Path,
) -> list[Path]:
    """Figure 5 of each model, and the ranges of all masks as a figure and a table."""
    noisy = read_mono(clip) if clip else read_noisy(pairs[0])
    noisy = noisy[: SHOWN_S * SAMPLE_RATE]
    written = []
    for name, network in networks.items():
        spectrum, masks = masks_of(network, noisy)
        panels: dict[str, Mask] = {f"mask of exit {exit}": mask for exit, mask in masks.items()}
        for other, rival in baseline.items():
            panels[f"mask of the {other}"] = masks_of(rival, noisy)[1][rival.exits[-1]]
        suffix = f"_{slug(name)}" if len(networks) > 1 else ""
        paths = save_figures(draw_masks(spectrum, panels, name), output, f"figure5_masks{suffix}")
        reduce_colours(paths[0])
        written += paths
    if pairs:
        rows = [
            row
            for name, network in (networks | baseline).items()
            for row in mask_ranges(name, network, map(read_pair, pairs))
        ]
        write_table(output / "mask_ranges.csv", RANGE_COLUMNS, rows)
        written += [output / "mask_ranges.csv", *save_figures(draw_mask_ranges(rows), output, "mask_ranges")]
    return written


def reduce_colours(path: Path) -> None:
    """Make a PNG of spectrograms a fourth as large, by a palette."""
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    with appearing(path) as unfinished:
        reduced.save(unfinished, optimize=True)


def read_pair(pair: Pair) -> tuple[Signal, Signal]:
    """Clean and noisy, of one length."""
    return read_mono(pair.clean), read_noisy(pair)


def label(path: Path) -> str:
    """A model by its training where its bundle tells, else by its name."""
    if not (path / CONFIG).is_file():
        return path.name
    configuration, _ = describe_bundle(json.loads((path / CONFIG).read_text(encoding="utf-8")))
    return str(configuration)


def rival_name(path: Path) -> str:
    """The model that others stand beside: as a baseline, and which."""
    name = label(path)
    return name if name == BASELINE else f"{BASELINE} ({name})"


def slug(name: str) -> str:
    """For names of files."""
    return re.sub(r"\W+", "_", name)


if __name__ == "__main__":
    main()
