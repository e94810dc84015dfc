"""`dynsnet stream`: denoise raw audio in a pipe, as it comes."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.cli.pipes import StandardPipes
from speechbrain_dynsnet.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dynsnet.runtime.frame_times import StreamStats

_BROKEN_PIPE = 128 + 13  # the exit code of a program that SIGPIPE ends
_TYPES = {"s16": "<i2", "f32": "<f4"}
# How files begin that are often piped in; raw audio begins so by chance once in a thousand million times.
_FILES = {b"RIFF": "WAV", b"RF64": "WAV", b"FORM": "AIFF", b"caff": "CAF", b"fLaC": "FLAC", b"OggS": "Ogg"}


class _Denoiser(Protocol):
    """What runs between the pipes."""

    @property
    def stats(self) -> StreamStats: ...

    def process(self, samples: Any) -> Any: ...

    def flush(self) -> Any: ...


@click.command("stream")
@click.option("--model", type=Path, metavar="M.onnx", help="An exported model. [default: the one in this package]")
@click.option("--exit", type=int, metavar="K", help="Leave the model at this exit. [default: the deepest]")
@click.option(
    "--rate", type=click.IntRange(4000, 384000), default=SAMPLE_RATE, show_default=True, metavar="HZ",
    help="Of input and output. Others are resampled: delay 38 ms, 45 at 8000, 58 at 4000.",
)  # fmt: skip
@click.option(
    "--budget_ms", type=float, metavar="X",
    help="Take earlier exits for a while when a frame (16 ms) takes longer than this.",
)  # fmt: skip
@click.option("--attenuation_limit_db", type=float, metavar="X", help="Turn nothing down by more than this.")
@click.option(
    "--high_band", type=click.Choice(["follow", "drop", "keep"]), default="follow", show_default=True,
    help="Above 8 kHz, which the model does not see: as the bands below, nothing, or as it is.",
)  # fmt: skip
@click.option("--format", "sample_format", type=click.Choice(list(_TYPES)), default="s16", show_default=True)
@click.option(
    "--stats", is_flag=True, help="At the end print times, those of resampling left out, and counts on stderr."
)
def command(
    model: Path | None,
    exit: int | None,
    rate: int,
    budget_ms: float | None,
    attenuation_limit_db: float | None,
    high_band: str,
    sample_format: str,
    stats: bool,
) -> None:
    """Denoise raw audio from stdin to stdout: one channel, little endian, with a delay of 32 ms.

    What comes out is as long as what went in, and in step with it. Ctrl-C ends the audio, as its own end does: what is
    in the pipe by then still comes through. A second one ends all at once.

    \b
    arecord -t raw -f S16_LE -r 16000 | dynsnet stream | aplay -t raw -f S16_LE -r 16000
    """
    pipes = StandardPipes()  # first of all: from here on Ctrl-C waits until there is something to end
    try:
        from speechbrain_dynsnet.runtime import Stream, StreamAtRate
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: install the package with its dependencies") from error

    stream = Stream(model, exit, attenuation_limit_db, budget_ms)
    denoiser: _Denoiser = stream if rate == SAMPLE_RATE else StreamAtRate(stream, rate, high_band=high_band)
    try:
        left_over = _pump(pipes, denoiser, sample_format)
    except BrokenPipeError:  # who reads has had enough, which is no error
        left_over, broken = b"", True
    else:
        broken = False
    if stats:
        click.echo(_report(denoiser.stats), err=True)
    if broken:
        sys.exit(_BROKEN_PIPE)
    if left_over:
        raise InputError(f"stdin ended within a sample; is it raw {sample_format}, and whole?")
    if bad := denoiser.stats.bad_samples:
        click.echo(
            f"warning: {bad} samples were NaN, infinite or absurd, and taken as 0; is it raw {sample_format}?", err=True
        )


def _pump(pipes: StandardPipes, denoiser: _Denoiser, sample_format: str) -> bytes:
    """All audio from stdin through to stdout; what is left at the end that is no whole sample."""
    import numpy as np

    from speechbrain_dynsnet.audio.pcm import from_int16, to_int16

    sample_type = np.dtype(_TYPES[sample_format])

    def write(samples: Any) -> None:
        samples = to_int16(samples) if sample_format == "s16" else samples
        pipes.write(samples.astype(sample_type, copy=False).tobytes())

    chunks = pipes.chunks()
    first = b""
    while len(first) < 4 and (more := next(chunks, b"")):
        first += more
    if kind := _FILES.get(first[:4]):
        raise InputError(f"stdin is a {kind} file, not raw audio: `dynsnet enhance` takes files")
    carried = b""
    for data in itertools.chain([first], chunks):
        data = carried + data
        carried = data[len(data) - len(data) % sample_type.itemsize :]
        samples = np.frombuffer(data, sample_type, len(data) // sample_type.itemsize)
        floats = from_int16(samples) if sample_format == "s16" else samples.astype(np.float32, copy=False)
        write(denoiser.process(floats))
    write(denoiser.flush())
    return carried


def _report(stats: StreamStats) -> str:
    exits = ", ".join(f"{exit}: {frames}" for exit, frames in stats.frames_by_exit.items() if frames)
    return (
        f"{stats.frames} frames: mean {stats.mean_ms:.3f} ms, p99 {stats.p99_ms:.3f} ms, max {stats.max_ms:.3f} ms, "
        f"real-time factor {stats.real_time_factor:.4f}\n"
        f"frames by exit: {exits or 'none'}; switches {stats.switches}, late {stats.late}, overruns {stats.overruns}, "
        f"bad samples {stats.bad_samples}"
    )
