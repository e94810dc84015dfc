"""`dynsnet export`: write a model to run without torch."""

from __future__ import annotations

from pathlib import Path

import click

from speechbrain_dynsnet.errors import InputError


@click.command("export")
@click.argument("model", required=False)
@click.option("-o", "--output", metavar="OUT", required=True, type=Path, help="The .onnx file to write.")
@click.option("--exit", type=int, metavar="K", help="Keep the stages up to this exit. [default: the deepest]")
def command(model: str | None, output: Path, exit: int | None) -> None:
    """Write a model (a folder or Hub id) as ONNX, to run where torch is not installed."""
    if output.suffix.lower() != ".onnx":
        raise InputError(f"{output}: give a file name that ends in .onnx")
    try:
        from speechbrain_dynsnet.inference.sources import resolve_source
        from speechbrain_dynsnet.model.bundle import load_bundle
        from speechbrain_dynsnet.runtime.export import export_onnx
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: install the package with its [export] extra") from error

    export_onnx(load_bundle(resolve_source(model)), output, exit)
    click.echo(f"written: {output} ({output.stat().st_size / 1e6:.1f} MB)")
