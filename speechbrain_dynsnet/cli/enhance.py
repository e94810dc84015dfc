"""`dynsnet enhance`: denoise files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from speechbrain_dynsnet.errors import InputError, one_line

if TYPE_CHECKING:
    from speechbrain_dynsnet.inference import EnhanceDynamic
    from speechbrain_dynsnet.runtime.enhancer import Enhancer


@click.command("enhance")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@click.option(
    "-o", "--output", metavar="OUT", required=True,
    help="The file to write. A folder, made when missing, for several inputs or when it ends in /.",
)  # fmt: skip
@click.option("--exit", type=int, metavar="K", help="Leave the model at this exit. [default: the deepest]")
@click.option(
    "--model",
    metavar="SOURCE",
    help="A model's folder, Hub id user/repo, or exported .onnx file. [default: the one in this package]",
)
@click.option("--device", default="cpu", show_default=True, help="Such as cpu or cuda:0.")
def command(inputs: tuple[str, ...], output: str, exit: int | None, model: str | None, device: str) -> None:
    """Denoise audio files, or the audio files in folders.

    Each result has its input's sample rate, channels and length, in the format that its name
    asks for. Inputs are never written over.
    """
    pairs = _plan(inputs, output)
    enhancer = _load(model, device)
    enhancer.check_exit(exit)
    if len(pairs) == 1:
        _enhance_one(enhancer, *pairs[0], exit)
    else:
        _enhance_all(enhancer, pairs, exit)


def _load(model: str | None, device: str) -> EnhanceDynamic | Enhancer:
    """The engine that fits: onnxruntime for an exported file, torch for the rest."""
    if model is not None and model.endswith(".onnx"):
        from speechbrain_dynsnet.runtime.enhancer import Enhancer

        return Enhancer(model)
    try:
        from speechbrain_dynsnet.inference import EnhanceDynamic
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed: install the package with its dependencies, or give --model an .onnx file"
        ) from error
    return EnhanceDynamic.from_hparams(model, run_opts={"device": device})


def _enhance_all(enhancer: EnhanceDynamic | Enhancer, pairs: list[tuple[Path, Path]], exit: int | None) -> None:
    from tqdm import tqdm

    failures = 0
    for source, target in tqdm(pairs, unit="file"):
        try:
            _enhance_one(enhancer, source, target, exit)
        except InputError as error:
            failures += 1
            with tqdm.external_write_mode():
                click.echo(f"Error: {one_line(error)}", err=True)
    if failures:
        raise InputError(f"{failures} of {len(pairs)} files were not enhanced, for the reasons above")


def _enhance_one(enhancer: EnhanceDynamic | Enhancer, source: Path, target: Path, exit: int | None) -> None:
    from speechbrain_dynsnet.audio.files import read_audio, write_audio

    enhanced = enhancer.enhance_audio(read_audio(source), exit)
    try:
        # Not before there is something to put in it.
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target.parent}: cannot be made ({error.strerror}); choose another output") from error
    write_audio(target, enhanced)


def _plan(inputs: tuple[str, ...], output: str) -> list[tuple[Path, Path]]:
    """(input, output) of every file; InputError when one would replace an input or a result."""
    from speechbrain_dynsnet.audio.files import check_output
    from speechbrain_dynsnet.audio.formats import AUDIO_EXTENSIONS

    sources = _expand(inputs)
    target = Path(output)
    to_folder = len(inputs) > 1 or Path(inputs[0]).is_dir() or target.is_dir() or _ends_as_folder(output)
    if not to_folder:
        check_output(target, source=sources[0])
        return [(sources[0], target)]
    if target.suffix.lower() in AUDIO_EXTENSIONS and not target.is_dir() and not _ends_as_folder(output):
        raise InputError(f"{output}: is the name of a file, and there are several inputs; end it in / for a folder")
    ground = next(path for path in (target, *target.parents) if path.exists())
    if not (ground.is_dir() and os.access(ground, os.W_OK | os.X_OK)):
        raise InputError(f"{output}: {ground} is no writable folder; choose another output")
    originals = {os.path.realpath(source) for source in sources}
    by_result: dict[Path, Path] = {}
    for source in sources:
        result = target / _result_name(source)
        if result in by_result:
            raise InputError(f"{by_result[result]} and {source} would both become {result}; enhance them apart")
        if os.path.realpath(result) in originals:
            raise InputError(f"{result}: is an input; give another folder, so that it stays")
        by_result[result] = source
    return [(source, result) for result, source in by_result.items()]


def _expand(inputs: tuple[str, ...]) -> list[Path]:
    """The files meant: folders stand for the audio files directly in them; each file once."""
    from speechbrain_dynsnet.audio.formats import AUDIO_EXTENSIONS

    files: dict[Path, Path] = {}
    for path in map(Path, inputs):
        found = [path]
        if path.is_dir():
            found = sorted(
                file
                for file in path.iterdir()
                if file.suffix.lower() in AUDIO_EXTENSIONS and file.is_file() and not file.name.startswith(".")
            )
            if not found:
                raise InputError(f"{path}: no audio files in this folder ({' '.join(AUDIO_EXTENSIONS)})")
        for file in found:
            files.setdefault(Path(os.path.realpath(file)), file)
    return list(files.values())


def _result_name(source: Path) -> str:
    """The input's name; .wav in place of an extension that is read but not written."""
    from speechbrain_dynsnet.audio.formats import AUDIO_EXTENSIONS

    return source.name if source.suffix.lower() in AUDIO_EXTENSIONS else source.with_suffix(".wav").name


def _ends_as_folder(output: str) -> bool:
    return output.endswith(tuple(filter(None, (os.sep, os.altsep))))
