"""Fixtures that several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speechbrain_dynsnet.model.bundle import save_bundle
from speechbrain_dynsnet.model.network import make_network

_LONG = ("integration", "training", "docs", "recipes")  # folders whose files take the longest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, or one process ends with them while the others have nothing left to do."""
    items.sort(key=lambda item: not item.nodeid.startswith(tuple(f"tests/{name}/" for name in _LONG)))


@pytest.fixture(scope="session")
def known_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose effect is known: exit 1 halves the signal, exits 0, 3 and 5 leave it."""
    network = make_network("concat", (0, 1, 3, 5))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            # The sigmoid of 40 is 1; a GRU of zeros stays at 0, which is a gain of one half.
            is_gain_bias = "mask_layer.linear.bias" in name
            parameter.fill_(40.0 if is_gain_bias else 0.0)
    return save_bundle(network, tmp_path_factory.mktemp("models") / "known")
