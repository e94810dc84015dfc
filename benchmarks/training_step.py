"""What a training step costs on the CPU: what the loss of all exits adds, and what makes it cheaper.

First a full step (STFT of noisy and clean, features, masks of four exits, loss, backward) beside the same network's
bare forward and backward on ready-made features, whose gradient comes from a plain sum; no optimiser runs in either.
Then steps with the optimiser, with torch's own GRU and with this package's recurrence, in float32 and in bfloat16, with
and without a teacher. What is compared alternates, so that whatever else the machine does meets all of it.

    python benchmarks/training_step.py --family concat --batch 16 --seconds 2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from unittest.mock import patch

import torch

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.model import layers
from speechbrain_dynsnet.model.bundle import save_bundle
from speechbrain_dynsnet.model.features import log_power, stft
from speechbrain_dynsnet.model.network import DynamicNsNet2, make_network
from speechbrain_dynsnet.training.distillation import Teacher
from speechbrain_dynsnet.training.losses import MultiExitLoss

EXITS = {"baseline": (5,), "pretrain": (0, 1, 3, 5), "split": (0, 1, 3, 5), "concat": (0, 1, 3, 5)}
BOUND = 1.15
WAYS = {  # own recurrence, bfloat16, teacher
    "torch's GRU, float32": (False, False, False),
    "own recurrence, float32": (True, False, False),
    "own recurrence, bfloat16": (True, True, False),
    "the same, with a teacher": (True, True, True),
}


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", default="concat", choices=EXITS)
    parser.add_argument("--batch", type=int, default=16, help="clips a step")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a clip")
    parser.add_argument("--steps", type=int, default=15, help="steps of each kind that are timed")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    network = make_network(arguments.family, EXITS[arguments.family])
    clean = 0.1 * torch.randn(arguments.batch, round(arguments.seconds * SAMPLE_RATE))
    noisy = clean + 0.1 * torch.randn_like(clean)
    with TemporaryDirectory() as folder:
        teacher = Teacher(save_bundle(make_network("baseline", EXITS["baseline"]), f"{folder}/teacher"), 3.0)

    overhead = {
        "bare forward and backward": make_bare_step(network, noisy),
        "full training step": make_full_step(network, noisy, clean),
    }
    ways = {name: make_step_in(way, network, noisy, clean, teacher) for name, way in WAYS.items()}
    size = f"{arguments.batch} clips of {arguments.seconds:g} s"
    print(f"{arguments.family}, {size}, {arguments.threads} thread(s), medians")
    medians = alternate(overhead, arguments.steps)
    for name, seconds in medians.items():
        print(f"{name:26s} {1000 * seconds:7.0f} ms")
    bare, full = medians.values()
    print(f"{'ratio':26s} {full / bare:10.3f}    (bound {BOUND})\n")
    for name, seconds in alternate(ways, arguments.steps).items():
        speed = arguments.batch * arguments.seconds / seconds
        print(f"{name:26s} {1000 * seconds:7.0f} ms {1 / seconds:6.1f} steps/s {speed:6.0f} times real time")


def make_bare_step(network: DynamicNsNet2, noisy: torch.Tensor) -> Callable[[], None]:
    """Forward to all exits from ready features, and backward."""
    features = log_power(stft(noisy))

    def step() -> None:
        network.zero_grad()
        masks, _ = network(features, exit=network.exits)
        torch.stack([mask.sum() for mask in masks]).sum().backward()

    return step


def make_full_step(network: DynamicNsNet2, noisy: torch.Tensor, clean: torch.Tensor) -> Callable[[], None]:
    """All that training does from waveforms to gradients."""
    loss = MultiExitLoss()

    def step() -> None:
        network.zero_grad()
        noisy_spectrum, clean_spectrum = stft(noisy), stft(clean)
        terms = loss.prepare(noisy_spectrum, clean_spectrum, clean.std(dim=-1))
        masks, _ = network(log_power(noisy_spectrum), exit=network.exits)
        loss(masks, terms)[0].backward()

    return step


def make_step_in(
    way: tuple[bool, bool, bool], network: DynamicNsNet2, noisy: torch.Tensor, clean: torch.Tensor, teacher: Teacher
) -> Callable[[], None]:
    """A full step with the optimiser, in one of `WAYS`."""
    own_recurrence, half, taught = way
    loss = MultiExitLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-12, fused=True)

    def step() -> None:
        noisy_spectrum, clean_spectrum = stft(noisy), stft(clean)
        terms = loss.prepare(noisy_spectrum, clean_spectrum, clean.std(dim=-1))
        features = log_power(noisy_spectrum)
        without = partial(patch.object, layers, "_own_recurrence_is_quicker", return_value=False)
        with torch.autocast("cpu", torch.bfloat16, enabled=half), nullcontext() if own_recurrence else without():
            if taught:
                terms = teacher.guide(terms, features, loss)
            masks, _ = network(features, exit=network.exits)
            total, _ = loss(masks, terms)
        total.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def alternate(calls: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each call, all of them in turn, after a warm-up of two rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds + 2):
        for name, call in calls.items():
            start = perf_counter()
            call()
            if index >= 2:
                times[name].append(perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
