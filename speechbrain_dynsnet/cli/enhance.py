"""`dynsnet enhance`: denoise a file, or all files of folders."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from speechbrain_dynsnet.errors import InputError

if TYPE_CHECKING:
    from speechbrain_dynsnet.audio.enhancement import MaskModel, Settings
    from speechbrain_dynsnet.cli.enhance_report import Result
    from speechbrain_dynsnet.cli.worklist import Task


@click.command("enhance")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option(
    "-o", "--output", metavar="OUT",
    help="The file to write; or a folder, for several inputs or when it ends in /. Missing folders are made.",
)  # fmt: skip
@click.option(
    "--in_place", is_flag=True,
    help="Instead of -o: replace each input by its result, in one step. Its permissions stay, its date becomes new, "
    "and hard links to it keep the recording as it was.",
)  # fmt: skip
@click.option("--recursive", is_flag=True, help="The folders in the folders IN, too; OUT has the same tree.")
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, metavar="N",
    help="Processes, each with one thread and a model of its own.",
)  # fmt: skip
@click.option(
    "--resume", is_flag=True,
    help="Leave out what is done already, as .dynsnet_enhance beside the results tells: same file, model and settings.",
)  # fmt: skip
@click.option("--exit", type=int, metavar="K", help="Leave the model at this exit. [default: the deepest]")
@click.option("--attenuation_limit_db", type=float, metavar="X", help="Turn nothing down by more than this.")
@click.option(
    "--mix", type=float, default=1.0, show_default=True, metavar="S",
    help="Share of the enhanced signal, 0 to 1; the rest is the input.",
)  # fmt: skip
@click.option(
    "--high_band", type=click.Choice(["follow", "drop", "keep"]), default="follow", show_default=True,
    help="Above 8 kHz, which the model does not see: as the bands below, nothing, or as it is.",
)  # fmt: skip
@click.option(
    "--channels", type=click.Choice(["each", "linked", "mono"]),
    help="Each by itself, one mask for all, or their average in all. [default: linked for stereo, else each]",
)  # fmt: skip
@click.option(
    "--model", metavar="M",
    help="A model's folder or Hub id user/repo, run in torch; or an exported .onnx file, run in onnxruntime. "
    "[default: the one in this package, in onnxruntime and int8; on another device in torch]",
)  # fmt: skip
@click.option("--device", metavar="D", default="cpu", show_default=True, help="For torch, such as cuda:0.")
@click.option(
    "--table", type=Path, metavar="FILE",
    help="A CSV file, a row a file: length, channels, rate, time taken, failure. [default: OUT/enhanced.csv]",
)  # fmt: skip
@click.option(
    "--report", type=Path, metavar="FILE",
    help="One HTML page to see and hear the results: spectrograms and players before and after, masks, levels.",
)  # fmt: skip
@click.option("--dnsmos", is_flag=True, help="In the report, DNSMOS P.808 and P.835 before and after too.")
def command(
    inputs: tuple[str, ...],
    output: str | None,
    in_place: bool,
    recursive: bool,
    jobs: int,
    resume: bool,
    exit: int | None,
    attenuation_limit_db: float | None,
    mix: float,
    high_band: str,
    channels: str | None,
    model: str | None,
    device: str,
    table: Path | None,
    report: Path | None,
    dnsmos: bool,
) -> None:
    """Denoise audio files, or the audio files in folders.

    Each result has its input's sample rate, channels, length and level, in the format that its name asks for. Inputs
    are written over with --in_place only. A file that cannot be enhanced does not stop the others: it is named at the
    end, and the exit code is 1.

    Where RANK and WORLD_SIZE are set, as torchrun does, each process takes its part of the files, and the last one to
    finish counts all.
    """
    from speechbrain_dynsnet.audio.enhancement import Settings
    from speechbrain_dynsnet.cli.enhance_files import made
    from speechbrain_dynsnet.cli.enhance_model import choose_model
    from speechbrain_dynsnet.cli.enhance_report import PageRequest
    from speechbrain_dynsnet.cli.enhance_run import Run, rank_and_ranks
    from speechbrain_dynsnet.cli.enhance_table import TABLE, check_table
    from speechbrain_dynsnet.cli.worklist import plan

    if in_place == (output is not None):
        raise InputError("give either -o OUT or --in_place")
    if in_place and report is not None:
        raise InputError("--report shows files before and after: give -o OUT in place of --in_place")
    if dnsmos and report is None:
        raise InputError("--dnsmos is for the report: give --report OUT.html too")
    settings = Settings(exit, attenuation_limit_db, mix, high_band, channels)
    rank, ranks = rank_and_ranks(os.environ)
    tasks = plan(inputs, output, recursive)
    folder = _folder(inputs, output)
    is_alone = len(inputs) == 1 and not Path(inputs[0]).is_dir() and not resume and table is None and ranks == 1
    if table is None and not in_place and not is_alone:
        table = folder / TABLE
    if table is not None:
        check_table(table, tasks, folder)
    choice = choose_model(model, device)
    if jobs > 1 and not is_alone:
        choice.processes()  # they import beside this one
    loaded = choice.load()
    loaded.check_exit(exit)
    with made(folder):
        page = None if report is None else PageRequest(report, dnsmos, jobs)
        write_page = None
        if page is not None:
            write_page = partial(page.write, settings=settings, model=loaded, model_path=choice.path)
        if is_alone:
            result = _enhance_alone(loaded, tasks[0], settings)
            if write_page is not None:
                write_page([result])
            return
        run = Run(tasks, folder, settings, choice, loaded, rank, ranks)
        sys.exit(run.enhance(jobs, resume, table, write_page))


def _enhance_alone(model: MaskModel, task: Task, settings: Settings) -> Result:
    from speechbrain_dynsnet.cli.enhance_files import enhance_alone
    from speechbrain_dynsnet.cli.enhance_progress import FileProgress

    begun = time.perf_counter()
    with FileProgress(task.source) as progress:
        facts = enhance_alone(model, task, settings, progress)
    return task.source, task.target, facts, time.perf_counter() - begun


def _folder(inputs: tuple[str, ...], output: str | None) -> Path:
    """Where a run keeps its record: with the results."""
    from speechbrain_dynsnet.cli.worklist import to_folder

    if output is not None:
        return Path(output) if to_folder(inputs, output) else Path(output).parent
    places = [path if path.is_dir() else path.parent for path in map(Path, inputs)]
    return Path(os.path.commonpath([os.path.realpath(place) for place in places]))
