"""What the loss of all exits adds to a training step.

Compares a full step (STFT of noisy and clean, features, masks of four exits, loss, backward) with the same network's
bare forward and backward on ready-made features, whose gradient comes from a plain sum. No optimiser runs in either.
The two alternate, so that whatever else the machine does meets both.

    python benchmarks/training_step.py --family concat --batch 16 --seconds 2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.model.features import log_power, stft
from speechbrain_dynsnet.model.network import DynamicNsNet2, make_network
from speechbrain_dynsnet.training.losses import MultiExitLoss

EXITS = (0, 1, 3, 5)
BOUND = 1.15


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", default="concat", choices=["pretrain", "split", "concat"])
    parser.add_argument("--batch", type=int, default=16, help="clips a step")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a clip")
    parser.add_argument("--steps", type=int, default=15, help="steps of each kind that are timed")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    network = make_network(arguments.family, EXITS)
    clean = 0.1 * torch.randn(arguments.batch, round(arguments.seconds * SAMPLE_RATE))
    noisy = clean + 0.1 * torch.randn_like(clean)

    bare, full = alternate(make_bare_step(network, noisy), make_full_step(network, noisy, clean), arguments.steps)
    print(f"{arguments.family}, exits {list(EXITS)}, {arguments.batch} x {arguments.seconds} s, median of a step:")
    print(f"bare forward and backward  {1000 * median(bare):8.1f} ms")
    print(f"full training step         {1000 * median(full):8.1f} ms")
    print(f"ratio                      {median(full) / median(bare):8.3f}    (bound {BOUND})")


def make_bare_step(network: DynamicNsNet2, noisy: torch.Tensor) -> Callable[[], None]:
    """Forward to all exits from ready features, and backward."""
    features = log_power(stft(noisy))

    def step() -> None:
        network.zero_grad()
        masks, _ = network(features, exit=EXITS)
        torch.stack([mask.sum() for mask in masks]).sum().backward()

    return step


def make_full_step(network: DynamicNsNet2, noisy: torch.Tensor, clean: torch.Tensor) -> Callable[[], None]:
    """All that training does from waveforms to gradients."""
    loss = MultiExitLoss()

    def step() -> None:
        network.zero_grad()
        noisy_spectrum, clean_spectrum = stft(noisy), stft(clean)
        terms = loss.prepare(noisy_spectrum, clean_spectrum, clean.std(dim=-1))
        masks, _ = network(log_power(noisy_spectrum), exit=EXITS)
        loss(masks, terms)[0].backward()

    return step


def alternate(first: Callable[[], None], second: Callable[[], None], steps: int) -> tuple[list[float], list[float]]:
    """Seconds of each call, one of `first` and one of `second` in turn, after a warm-up of two each."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(steps + 2):
        for call, seconds in zip((first, second), times, strict=True):
            start = perf_counter()
            call()
            if index >= 2:
                seconds.append(perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
