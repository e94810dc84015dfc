"""`dynsnet bench`: what each exit of a model costs, and what it takes on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import click

from speechbrain_dynsnet.errors import InputError


@click.command("bench")
@click.argument("model", required=False)
@click.option(
    "--frames", type=click.IntRange(1), default=1000, show_default=True, help="How many to time, of each exit."
)
@click.option("--peers", metavar="NAME,NAME", help="Others on the same files: nsnet2, rnnoise (extra [peers]).")
@click.option("-o", "--output", type=Path, metavar="OUT", help="A CSV file for all figures, a row an exit.")
def command(model: str | None, frames: int, peers: str | None, output: Path | None) -> None:
    """Print parameters, MACs, times, real-time factors and peak memory of every exit, measured on one core.

    MODEL is a folder, Hub id or public nsNet2 weights (.npz), the model in this package by default. It is run in torch,
    and in the runtime in float32 and int8. Times stand beside those of a matrix-vector product over as many weights,
    from the same run: on a busy machine trust the ratios. The last lines say which bounds on them are met.
    """
    try:
        from speechbrain_dynsnet.evaluation.bench import COLUMNS, VERSIONS, bench
        from speechbrain_dynsnet.evaluation.bench_table import to_markdown
        from speechbrain_dynsnet.inference.sources import find_model
        from speechbrain_dynsnet.writing import check_writable, write_table
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed: install the package with its [evaluation,export] extras"
        ) from error

    if output is not None:
        check_writable(output, "CSV file")
    path = find_model(model)
    name = path.resolve().name if model is None or Path(model).exists() else model
    load = _load()
    others = list(dict.fromkeys(filter(None, (peers or "").split(","))))
    rows = bench(path, name, frames, others, report=lambda step: click.echo(f"{step} ...", err=True))
    first = rows[0]
    click.echo(
        f"{name}: {first['family']}, {first['parameters_in_all']:,} parameters\n"
        f"{first['cpu']}, {first['threads']} thread; {load}\n"
        + ", ".join(f"{library} {first[f'{library}_version']}" for library in VERSIONS)
        + f"\n\n{to_markdown(rows)}"
    )
    if output is not None:
        write_table(output, COLUMNS, rows)
        click.echo(f"\nwritten: {output}")


def _load() -> str:
    """How busy the machine was before the run."""
    if not hasattr(os, "getloadavg"):  # Windows
        return f"{os.cpu_count()} cores"
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before the run"
