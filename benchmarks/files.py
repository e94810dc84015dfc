"""How many times faster than real time files are denoised on one core, reading and writing included.

The shipped int8 model, a float32 one (exported with --frames any) and torch, at the deepest exit and exit 1, and
Microsoft's NSNet2 where it is installed, in turn, so that whatever else the machine does meets all of them.

    python benchmarks/files.py [NOISY.wav] [--seconds 60]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import InputError, one_line_errors
from speechbrain_dynsnet.evaluation.peers import open_peer
from speechbrain_dynsnet.inference.enhance import EnhanceDynamic
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.runtime import Enhancer
from speechbrain_dynsnet.runtime.export import export_onnx

EXITS = (5, 1)
RECORDING = Path(__file__).parent.parent / "examples" / "noisy.flac"


@click.command()
@click.argument("recording", type=Path, default=RECORDING)
@click.option("--seconds", default=60.0, show_default=True, help="Length of the file: the recording over and over.")
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Passes of each, after a first.")
def main(recording: Path, seconds: float, rounds: int) -> None:
    """Measure, and print one table."""
    with one_line_errors(), TemporaryDirectory() as folder:
        torch.set_num_threads(1)
        noisy, clean = Path(folder) / "noisy.wav", Path(folder) / "clean.wav"
        write_file(recording, noisy, seconds)
        calls = make_calls(Path(folder), noisy, clean)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for index in range(rounds + 1):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if index:
                    times[name].append(time.perf_counter() - start)
        for name, values in times.items():
            print(f"{name:20s} {seconds / median(values):6.0f} times real time (best {seconds / min(values):.0f})")


def write_file(recording: Path, path: Path, seconds: float) -> None:
    """So much of the recording, repeated, at 16 kHz in 16 bits."""
    audio = read_audio(recording)
    mono = resample(audio.samples[:1], audio.rate, SAMPLE_RATE)
    write_audio(path, Audio(np.resize(mono, (1, round(seconds * SAMPLE_RATE))), SAMPLE_RATE, "WAV", "PCM_16"))


def make_calls(folder: Path, noisy: Path, clean: Path) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    exported = folder / "model.onnx"
    export_onnx(load_bundle(), exported, frames="any")
    torch_model = EnhanceDynamic.from_hparams()
    shipped, float32 = Enhancer(), Enhancer(exported)
    calls: dict[str, Callable[[], object]] = {}
    for exit in EXITS:
        calls[f"int8 as shipped, {exit}"] = partial(shipped.enhance_file, noisy, clean, exit)
        calls[f"float32, {exit}"] = partial(float32.enhance_file, noisy, clean, exit)
        calls[f"torch, {exit}"] = partial(torch_model.enhance_file, noisy, exit, output_filename=clean)
    try:
        return {**calls, "NSNet2": partial(enhance_by, open_peer("nsnet2"), noisy, clean)}
    except InputError as error:
        print(error)
        return calls


def enhance_by(peer: Callable[[NDArray[np.float32]], NDArray[np.float32]], noisy: Path, clean: Path) -> None:
    """A whole file by another suppressor."""
    audio = read_audio(noisy)
    write_audio(clean, replace(audio, samples=peer(audio.samples[0])[None]))


if __name__ == "__main__":
    main()
