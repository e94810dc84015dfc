"""Denoise a recording at every exit of a model: `make enhance [IN=my.wav]`.

Writes a WAV an exit and one picture, and prints what each exit costs.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import click
import torch
from tqdm import tqdm

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import Audio, check_output, read_audio, write_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import one_line_errors
from speechbrain_dynsnet.evaluation.complexity import exit_costs
from speechbrain_dynsnet.evaluation.pictures import draw_exits
from speechbrain_dynsnet.inference.enhance import EnhanceDynamic
from speechbrain_dynsnet.model.features import log_power, stft
from speechbrain_dynsnet.model.network import DynamicNsNet2

_RUNS = 9  # timed passes over the recording, the median counts
_TIMED_S = 20  # of the recording, at most
_PICTURE_S = 20  # seconds of the recording that the picture shows, at most


@click.command()
@click.option("--input", "source", type=Path, default=Path(__file__).parent / "noisy.flac", help="A recording.")
@click.option("--output", "folder", type=Path, default=Path("enhanced"), help="The folder for the results.")
def main(source: Path, folder: Path) -> None:
    """Denoise a recording at every exit."""
    with one_line_errors():
        run(source, folder)


def run(source: Path, folder: Path) -> None:
    """Enhance, draw, time, print."""
    torch.set_num_threads(1)  # times of one core can be compared
    enhancer = EnhanceDynamic.from_hparams(run_opts={"device": "cpu"})
    network = enhancer.network
    audio = read_audio(source)
    outputs = {exit: folder / f"{source.stem}_exit{exit}.wav" for exit in enhancer.exits}
    picture = folder / f"{source.stem}.png"
    folder.mkdir(parents=True, exist_ok=True)
    for output in outputs.values():
        check_output(output, source=source)
    for exit, output in tqdm(outputs.items(), desc=f"{source.name}", unit="exit", leave=False):
        write_audio(output, enhance_as_wav(enhancer, audio, exit))
    mono = torch.from_numpy(resample(audio.samples[:1], audio.rate, SAMPLE_RATE))
    title = source.name if len(audio.samples) == 1 else f"{source.name}, first channel"
    draw(network, mono[:, : _PICTURE_S * SAMPLE_RATE], picture, title)
    times = time_exits(network, mono[:, : _TIMED_S * SAMPLE_RATE])
    print(f"\n{source.name}: {mono.shape[-1] / SAMPLE_RATE:.1f} s, {network.architecture.family} model\n")
    print("exit   MACs a second   of the deepest   of the baseline   ms a second of audio (one core)")
    for cost in exit_costs(network):
        print(
            f"{cost.exit:4}   {cost.macs_per_second / 1e6:9.1f} M   {cost.share_of_deepest:13.1%}"
            f"   {cost.share_of_baseline:14.1%}   {times[cost.exit]:10.2f}"
        )
    print(f"\nwritten: {', '.join(str(path) for path in [*outputs.values(), picture])}")


def enhance_as_wav(enhancer: EnhanceDynamic, audio: Audio, exit: int) -> Audio:
    """The recording at one exit, as WAV whatever it came as, so that any player opens it."""
    enhanced = enhancer.enhance_audio(audio, exit)
    return Audio(enhanced.samples, enhanced.rate, subtype=audio.subtype)


@torch.no_grad()
def draw(network: DynamicNsNet2, mono: torch.Tensor, path: Path, title: str) -> None:
    """The picture of one channel."""
    spectrum = stft(mono)
    masks, _ = network(log_power(spectrum), exit=network.exits)
    draw_exits(
        spectrum[0].numpy(),
        {exit: mask[0].numpy() for exit, mask in zip(network.exits, masks, strict=True)},
        path,
        title,
    )


@torch.no_grad()
def time_exits(network: DynamicNsNet2, mono: torch.Tensor) -> dict[int, float]:
    """Milliseconds of network time for a second of audio, whole file at once, exits interleaved."""
    features = log_power(stft(mono))
    seconds = mono.shape[-1] / SAMPLE_RATE
    network(features)  # the first pass finds nothing in the caches
    times: dict[int, list[float]] = {exit: [] for exit in network.exits}
    for _ in range(_RUNS):
        for exit in network.exits:
            start = time.perf_counter()
            network(features, exit=exit)
            times[exit].append((time.perf_counter() - start) * 1e3 / seconds)
    return {exit: median(values) for exit, values in times.items()}


if __name__ == "__main__":
    main()
