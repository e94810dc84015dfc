"""Whitening takes as much of the correlation as it is told to, and once folded away it changes no mask."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from speechbrain_dynsnet.model.network import make_network
from speechbrain_dynsnet.model.whitening import Whitening

BINS = 9
SMALL = {"bins": BINS, "hidden_size": 12, "dense_size": 14, "feature_size": 5}


def correlated(frames: int, loudness: float = 3.0, fine: float = 1.2) -> Tensor:
    """Features of bins that rise and fall together."""
    generator = torch.Generator().manual_seed(0)
    common = loudness * torch.randn(frames, 1, generator=generator, dtype=torch.float64)
    return common + fine * torch.randn(frames, BINS, generator=generator, dtype=torch.float64) - 8.0


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_variances_become_a_power_of_theirs(strength: float) -> None:
    features = correlated(4000)
    white = Whitening.fit(features, strength).double()(features)
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(BINS, dtype=torch.float64), rtol=0, atol=1e-5)
    before, after = (torch.linalg.eigvalsh(torch.cov(x.T)) for x in (features, white))
    torch.testing.assert_close(after / after[0], (before / before[0]) ** (1.0 - strength), rtol=1e-4, atol=0)
    assert float(white.var(dim=0).mean()) == pytest.approx(1.0, rel=1e-4)


def test_a_strength_of_0_centres_and_scales_alike() -> None:
    features = correlated(4000)
    scaled = Whitening.fit(features, 0.0)(features.float())
    expected = (features - features.mean(dim=0)) / features.var(dim=0).mean().sqrt()
    torch.testing.assert_close(scaled, expected.float(), rtol=0, atol=1e-5)


def test_bins_stay_where_they_are() -> None:
    features = correlated(4000)
    white = Whitening.fit(features, 1.0).double()(features)
    fine = features - features.mean(dim=1, keepdim=True)
    of_bins = torch.corrcoef(torch.cat([fine, white], dim=1).T)[:BINS, BINS:]
    assert torch.equal(of_bins.argmax(dim=1), torch.arange(BINS))


def test_a_bin_without_signal_is_not_blown_up() -> None:
    features = correlated(4000)
    features[:, -2:] = -18.4 + 1e-4 * features[:, -2:]
    whitening = Whitening.fit(features, 1.0)
    assert whitening.matrix.abs().max() < 2.0
    assert torch.isfinite(whitening(features.float())).all()


def test_fewer_frames_than_bins_are_enough() -> None:
    features = correlated(4)
    assert torch.isfinite(Whitening.fit(features, 1.0)(features.float())).all()


@torch.no_grad()
@pytest.mark.parametrize(
    ("family", "exits"),
    [("baseline", (5,)), ("pretrain", (0, 1, 3, 5)), ("split", (0, 3)), ("concat", (0, 1, 3, 5)), ("concat", (0,))],
)
def test_a_folded_whitening_changes_no_mask(family: str, exits: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = make_network(family, exits, **SMALL).double()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    features = correlated(200)
    whitening = Whitening.fit(features, 0.5).double()
    expected, _ = network(whitening(features[None]), exit=exits)
    whitening.fold(network)
    for mask, other in zip(network(features[None], exit=exits)[0], expected, strict=True):
        torch.testing.assert_close(mask, other, rtol=0, atol=1e-12)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("stages.0.")}
    whitening.unfold(network)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-12)
