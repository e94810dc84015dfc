"""Hours of the worst input leave states and masks as bounded as ever."""

from __future__ import annotations

import pytest
import torch

from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.model.features import log_power

HOUR = 225_000  # frames
BLOCK = 5_000


@pytest.mark.slow
@torch.inference_mode()
def test_an_hour_of_noise_clipping_and_silence() -> None:
    network = load_bundle()
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "noise": lambda: torch.randn(1, BLOCK, 257, dtype=torch.cfloat, generator=generator),
        "full scale": lambda: torch.full((1, BLOCK, 257), 256.0 + 0j),
        "silence": lambda: torch.zeros(1, BLOCK, 257, dtype=torch.cfloat),
    }
    state = network.initial_state(1)
    for block in range(HOUR // BLOCK):
        make = list(inputs.values())[block % len(inputs)]
        masks, state = network(log_power(make()), state, exit=network.exits)
        for mask in masks:
            assert torch.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1
        assert all(part.abs().max() <= 1 for layer in state for part in layer)
