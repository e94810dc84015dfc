"""`dynsnet export`: write a model to run without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.format import ANY, FEATURES, FP32, INT8, WAVEFORM

if TYPE_CHECKING:
    from speechbrain_dynsnet.evaluation.systems import Pair
    from speechbrain_dynsnet.runtime.export.folder import Export


@click.command("export")
@click.argument("model", required=False)
@click.option("-o", "--output", metavar="OUT", required=True, type=Path, help="The .onnx file to write.")
@click.option("--exit", type=int, metavar="K", help="A plain graph that holds the stages up to this exit only.")
@click.option("--dynamic", is_flag=True, help="One file with all exits, chosen in each call. [default]")
@click.option("--int8", is_flag=True, help="Weights and products in int8.")
@click.option("--frames", metavar="T", default="1", show_default=True, help=f"Frames a call, for files; or {ANY!r}.")
@click.option("--waveform", is_flag=True, help="With the STFT inside: 256 samples in, 256 samples out.")
@click.option(
    "--clip", type=Path, metavar="WAV", help="A recording to verify the file on. [default: one in this package]"
)
@click.option("--test_set", type=Path, metavar="DIR", help="With --int8: what that costs in PESQ and P.808 there.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes for --test_set.")
def command(
    model: str | None,
    output: Path,
    exit: int | None,
    dynamic: bool,
    int8: bool,
    frames: str,
    waveform: bool,
    clip: Path | None,
    test_set: Path | None,
    jobs: int,
) -> None:
    """Write a model as ONNX, to stream it or to run it where torch is not installed.

    MODEL is a folder, Hub id or public nsNet2 weights (.npz), the model in this package by default. Beside OUT.onnx
    there will be OUT.json (sizes, states, costs of each exit), OUT.npz and OUT.h (golden vectors, and sizes for C). The
    file is compared with the network first: what is not the same is not written.
    """
    if dynamic and exit is not None:
        raise InputError("--dynamic has all exits and --exit one: give one of them")
    if test_set is not None and not int8:
        raise InputError("--test_set measures what int8 costs: give --int8 too")
    if test_set is not None and waveform:
        raise InputError("--test_set and --waveform do not go together: int8 costs the same without --waveform")
    pairs = None if test_set is None else _find_pairs(test_set)
    try:
        from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
        from speechbrain_dynsnet.audio.files import read_audio
        from speechbrain_dynsnet.audio.resample import resample
        from speechbrain_dynsnet.inference.sources import find_model
        from speechbrain_dynsnet.model.importing import load_network
        from speechbrain_dynsnet.runtime.export.folder import CLIP, VerificationError, export_all
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: install the package with its [export] extra") from error

    path = find_model(model)
    audio = read_audio(CLIP if clip is None else clip)
    try:
        export = export_all(
            load_network(path),
            output,
            None if exit is None else [exit],
            resample(audio.samples, audio.rate, SAMPLE_RATE)[0],
            precision=INT8 if int8 else FP32,
            frames=int(frames) if frames.isdecimal() else frames,
            signal=WAVEFORM if waveform else FEATURES,
        )
    except VerificationError as error:
        raise click.ClickException(str(error)) from error
    _print(export)
    if pairs is not None:
        from speechbrain_dynsnet.evaluation.quantisation import quantisation_loss, to_markdown

        click.echo(f"\nscoring {len(pairs)} clips at every exit ...", err=True)
        click.echo(f"\n{to_markdown(quantisation_loss(path, output, pairs, jobs=jobs))}")


def _find_pairs(test_set: Path) -> list[Pair]:
    try:
        from speechbrain_dynsnet.cli.pairing import find_pairs
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: install the package with its [evaluation] extra") from error
    return find_pairs(test_set)


def _print(export: Export) -> None:
    click.echo("\n".join(f"written: {file} ({file.stat().st_size / 1e6:.2f} MB)" for file in export.files))
    click.echo("\n| layer | operator | type | bytes | in float32 |\n|---|---|---|---|---|")
    for row in export.weights:
        click.echo(f"| {row.name} | {row.operator} | {row.dtype} | {row.bytes:,} | {row.float32_bytes:,} |")
    total, before = sum(row.bytes for row in export.weights), sum(row.float32_bytes for row in export.weights)
    click.echo(f"| all | | | {total:,} | {before:,} |")
    click.echo(
        "\n| exit | MACs a frame | weights read (bytes) | states (bytes) | activations (bytes) "
        "| largest difference from torch | mean |\n|---|---|---|---|---|---|---|"
    )
    for cost, difference in zip(export.costs, export.differences, strict=True):
        click.echo(
            f"| {cost.exit} | {cost.macs:,} | {cost.weight_bytes:,} | {cost.state_bytes:,} | {cost.activation_bytes:,} "
            f"| {difference.largest:.1e} | {difference.mean:.1e} |"
        )
