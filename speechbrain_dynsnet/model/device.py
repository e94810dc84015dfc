"""Whether a device that somebody named is there."""

from __future__ import annotations

from typing import Any

import torch

from speechbrain_dynsnet.errors import InputError


def check_device(name: Any) -> str:
    """The device as SpeechBrain wants it: a string, with an index for CUDA.

    Raises
    ------
    InputError
        When this machine has no such device.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {name} cannot be used here; choose cpu, or another device") from error
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", 0)
    return str(device)
