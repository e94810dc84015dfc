"""How many steps a second training makes on the CPU, and what each means to make them cheaper gives.

Full steps (STFT, teacher, masks of all exits, loss, backward, optimiser) on ready mixtures: with torch's own GRU and
with this package's recurrence, in float32 and in bfloat16, with and without a teacher. They alternate, so that whatever
else the machine does meets all of them.

    python benchmarks/training_speed.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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

EXITS = {"baseline": (5,), "concat": (0, 1, 3, 5)}
WAYS = (  # own recurrence, bfloat16, teacher
    ("torch's GRU, float32", False, False, False),
    ("own recurrence, float32", True, False, False),
    ("own recurrence, bfloat16", True, True, False),
    ("the same, and a teacher", True, True, True),
)


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16, help="clips a step")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a clip")
    parser.add_argument("--steps", type=int, default=9, help="steps of each way that are timed")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    clean = 0.1 * torch.randn(arguments.batch, round(arguments.seconds * SAMPLE_RATE))
    noisy = clean + 0.1 * torch.randn_like(clean)
    with TemporaryDirectory() as folder:
        teacher = Teacher(save_bundle(make_network("baseline", EXITS["baseline"]), f"{folder}/teacher"), 3.0)
    print(f"{arguments.batch} clips of {arguments.seconds:g} s, {arguments.threads} thread(s), medians")
    for family, exits in EXITS.items():
        network = make_network(family, exits)
        steps = {name: partial(_step, network, noisy, clean, teacher, *way) for name, *way in WAYS}
        for name, times in alternate(steps, arguments.steps).items():
            seconds = median(times)
            speed = arguments.batch * arguments.seconds / seconds
            print(
                f"{family:9s} {name:26s} {1000 * seconds:7.0f} ms {1 / seconds:6.1f} steps/s {speed:6.0f} x real time"
            )


def _step(
    network: DynamicNsNet2,
    noisy: torch.Tensor,
    clean: torch.Tensor,
    teacher: Teacher,
    own: bool,
    half: bool,
    taught: bool,
) -> None:
    loss = MultiExitLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-12, fused=True)
    noisy_spectrum, clean_spectrum = stft(noisy), stft(clean)
    terms = loss.prepare(noisy_spectrum, clean_spectrum, clean.std(dim=-1))
    features = log_power(noisy_spectrum)
    with torch.autocast("cpu", torch.bfloat16, enabled=half), recurrence(own):
        if taught:
            terms = teacher.guide(terms, features, loss)
        masks, _ = network(features, exit=network.exits)
        total, _ = loss(masks, terms)
    total.backward()
    optimizer.step()
    optimizer.zero_grad()


@contextmanager
def recurrence(own: bool) -> Iterator[None]:
    """This package's recurrence, or torch's."""
    if own:
        yield
    else:
        with patch.object(layers, "_own_recurrence_is_quicker", return_value=False):
            yield


def alternate(calls: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, all of them in turn, after a warm-up of one round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds + 1):
        for name, call in calls.items():
            start = perf_counter()
            call()
            if index:
                times[name].append(perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
