"""The loss is the paper's, for any mask and any signal, and its gradient never breaks a training run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechbrain_dynsnet.model.features import stft
from speechbrain_dynsnet.training.losses import LossTerms, MultiExitLoss

SAMPLES = 2048


def signals(batch: int = 3, level: float = 0.1) -> tuple[Tensor, Tensor]:
    """Noisy and clean, (batch, samples)."""
    generator = torch.Generator().manual_seed(0)
    clean = level * torch.randn(batch, SAMPLES, generator=generator) * torch.tensor([[0.5], [1.0], [3.0]])[:batch]
    return clean + 0.5 * level * torch.randn(batch, SAMPLES, generator=generator), clean


def random_mask(like: LossTerms, seed: int = 0) -> Tensor:
    return 0.02 + 0.96 * torch.rand(like.quadratic.shape, generator=torch.Generator().manual_seed(seed))


def prepare(noisy: Tensor, clean: Tensor, frames: Tensor | None = None, **options: float) -> LossTerms:
    return MultiExitLoss(**options).prepare(stft(noisy), stft(clean), clean.std(dim=-1), frames)


def paper_equation_3(
    noisy: NDArray[np.complex128],
    clean: NDArray[np.complex128],
    mask: NDArray[np.float64],
    std: float,
    compression: float = 0.3,
    complex_share: float = 0.3,
) -> float:
    """Equation 3 for one clip (time, bins), in complex arithmetic, over its frames and bins."""

    def compress(spectrum: NDArray[np.complex128]) -> NDArray[np.complex128]:
        return np.abs(spectrum) ** compression * np.exp(1j * np.angle(spectrum))

    target, estimate = compress(clean / std), compress(mask * noisy / std)
    complex_error = np.sum(np.abs(estimate - target) ** 2)
    magnitude_error = np.sum((np.abs(estimate) - np.abs(target)) ** 2)
    return float((complex_share * complex_error + (1 - complex_share) * magnitude_error) / mask.size)


def reference(noisy: Tensor, clean: Tensor, mask: Tensor, frames: list[int] | None = None, **options: float) -> float:
    clips = []
    for index in range(len(noisy)):
        valid = slice(None if frames is None else frames[index])
        spectra = [stft(x[index : index + 1])[0].numpy().astype(np.complex128)[valid] for x in (noisy, clean)]
        std = float(clean[index].double().std())
        clips.append(paper_equation_3(*spectra, mask[index].double().numpy()[valid], std, **options))
    return float(np.mean(clips))


@pytest.mark.parametrize("options", [{}, {"compression": 0.5}, {"complex_share": 1.0}, {"complex_share": 0.0}])
def test_the_loss_is_equation_3_of_the_paper(options: dict[str, float]) -> None:
    noisy, clean = signals()
    terms = prepare(noisy, clean, **options)
    mask = random_mask(terms)
    loss = MultiExitLoss(**options).of_mask(mask, terms)
    assert float(loss) == pytest.approx(reference(noisy, clean, mask, **options), rel=1e-4)


def test_the_joint_loss_is_equation_4_of_the_paper() -> None:
    noisy, clean = signals()
    terms = prepare(noisy, clean)
    masks = [random_mask(terms, seed) for seed in range(3)]
    expected = [reference(noisy, clean, mask) for mask in masks]
    total, each = MultiExitLoss()(masks, terms)
    assert [float(one) for one in each] == pytest.approx(expected, rel=1e-4)
    assert float(total) == pytest.approx(sum(expected), rel=1e-4)
    total, each = MultiExitLoss()(masks, terms, [0.5, 0.0, 2.0])
    assert [float(one) for one in each] == pytest.approx(expected, rel=1e-4)
    assert float(total) == pytest.approx(0.5 * expected[0] + 2.0 * expected[2], rel=1e-4)


def test_weights_of_the_exits_scale_the_gradients() -> None:
    terms = prepare(*signals())
    masks = [random_mask(terms, seed).requires_grad_() for seed in range(2)]
    MultiExitLoss()(masks, terms, [3.0, 0.0])[0].backward()
    alone = random_mask(terms, 0).requires_grad_()
    MultiExitLoss().of_mask(alone, terms).backward()
    torch.testing.assert_close(masks[0].grad, 3.0 * alone.grad)
    assert not masks[1].grad.any()


def test_a_weight_for_every_exit() -> None:
    terms = prepare(*signals())
    with pytest.raises(ValueError, match="2 exit weights for 1 masks"):
        MultiExitLoss()([random_mask(terms)], terms, [1.0, 1.0])


def test_frames_beyond_the_end_of_a_clip_count_nothing() -> None:
    noisy, clean = signals()
    frames = [9, 4, 1]
    terms = prepare(noisy, clean, torch.tensor(frames))
    mask = random_mask(terms).requires_grad_()
    loss = MultiExitLoss().of_mask(mask, terms)
    assert float(loss.detach()) == pytest.approx(reference(noisy, clean, mask.detach(), frames), rel=1e-4)
    loss.backward()
    for clip, valid in enumerate(frames):
        assert mask.grad[clip, :valid].all()
        assert not mask.grad[clip, valid:].any()


def test_a_clip_without_valid_frames_is_no_division_by_zero() -> None:
    noisy, clean = signals(2)
    terms = prepare(noisy, clean, torch.tensor([9, 0]))
    mask = random_mask(terms)
    expected = reference(noisy[:1], clean[:1], mask[:1]) / 2
    assert float(MultiExitLoss().of_mask(mask, terms)) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_is_that_of_the_paper_by_autograd() -> None:
    noisy, clean = signals()
    terms = prepare(noisy, clean)
    mask = random_mask(terms).requires_grad_()
    MultiExitLoss().of_mask(mask, terms).backward()

    naive = mask.detach().double().requires_grad_()
    std = clean.double().std(dim=-1)[:, None, None]
    x, s = stft(noisy).to(torch.cdouble) / std, stft(clean).to(torch.cdouble) / std
    estimate = torch.polar((naive * x.abs()) ** 0.3, x.angle())
    target = torch.polar(s.abs() ** 0.3, s.angle())
    loss = 0.3 * (estimate - target).abs().square() + 0.7 * (estimate.abs() - target.abs()).square()
    loss.mean().backward()
    torch.testing.assert_close(mask.grad.double(), naive.grad, rtol=2e-3, atol=1e-9)


def test_the_gradient_is_the_slope_of_the_value() -> None:
    noisy, clean = signals()
    terms = prepare(noisy, clean)
    terms = LossTerms(*(term.double() for term in (terms.quadratic, terms.linear, terms.constant, terms.weights)))
    mask = random_mask(terms).requires_grad_()
    loss = MultiExitLoss().of_mask(mask, terms)
    loss.backward()
    direction = torch.randn(mask.shape, generator=torch.Generator().manual_seed(1))
    step = 1e-3
    values = [float(MultiExitLoss().of_mask(mask.detach() + sign * step * direction, terms)) for sign in (1, -1)]
    slope = float((mask.grad * direction).sum())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("noisy_is", ["silent", "speech", "clipped", "loud", "faint"])
@pytest.mark.parametrize("clean_is", ["silent", "speech", "clipped", "loud", "faint"])
@pytest.mark.parametrize("mask_is", ["zero", "one", "tiny", "between"])
def test_loss_and_gradient_are_finite_for_any_signal_and_mask(noisy_is: str, clean_is: str, mask_is: str) -> None:
    noisy, clean = signals()
    change = {
        "silent": torch.zeros_like,
        "speech": lambda x: x,
        "clipped": lambda x: (1e3 * x).clamp(-1, 1),
        "loud": lambda x: 1e3 * x,
        "faint": lambda x: 1e-9 * x,
    }
    terms = prepare(change[noisy_is](noisy), change[clean_is](clean))
    mask = random_mask(terms)
    mask = {"zero": 0 * mask, "one": 0 * mask + 1, "tiny": 1e-30 * mask, "between": mask}[mask_is].requires_grad_()
    loss = MultiExitLoss().of_mask(mask, terms)
    loss.backward()
    assert torch.isfinite(loss)
    assert float(loss.detach()) >= -1e-6
    assert torch.isfinite(mask.grad).all()


@pytest.mark.parametrize("logit", [-1e4, -120.0, -80.0, 80.0, 1e4])
def test_a_saturated_mask_has_a_finite_gradient(logit: float) -> None:
    terms = prepare(*signals())
    raw = torch.full(terms.quadratic.shape, logit, requires_grad=True)
    loss = MultiExitLoss().of_mask(torch.sigmoid(raw), terms)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("gain", [0.1, 3.0])
def test_a_gain_on_both_signals_changes_nothing(gain: float) -> None:
    noisy, clean = signals()
    terms, scaled = prepare(noisy, clean), prepare(gain * noisy, gain * clean)
    mask = random_mask(terms)
    expected = float(MultiExitLoss().of_mask(mask, terms))
    assert float(MultiExitLoss().of_mask(mask, scaled)) == pytest.approx(expected, rel=1e-4)


def test_loud_and_quiet_clips_weigh_the_same() -> None:
    noisy, clean = signals()
    gains = torch.tensor([[0.1], [1.0], [10.0]])
    terms, scaled = prepare(noisy, clean), prepare(gains * noisy, gains * clean)
    mask = random_mask(terms)
    expected = float(MultiExitLoss().of_mask(mask, terms))
    assert float(MultiExitLoss().of_mask(mask, scaled)) == pytest.approx(expected, rel=1e-4)


def test_keeping_a_clean_signal_costs_nothing() -> None:
    _, clean = signals()
    terms = prepare(clean, clean)
    ones = torch.ones_like(terms.quadratic)
    assert float(MultiExitLoss().of_mask(ones, terms)) == pytest.approx(0.0, abs=1e-5)
    assert float(MultiExitLoss().of_mask(0.5 * ones, terms)) > 0.01


def test_the_best_mask_is_the_ratio_where_phases_agree() -> None:
    _, clean = signals()
    terms = prepare(2.0 * clean, clean)
    losses = {m: float(MultiExitLoss().of_mask(torch.full_like(terms.linear, m), terms)) for m in (0.4, 0.5, 0.6, 1.0)}
    assert min(losses, key=lambda m: losses[m]) == 0.5
    assert losses[0.5] == pytest.approx(0.0, abs=1e-5)


def test_bf16_masks_get_bf16_gradients_and_a_float32_loss() -> None:
    terms = prepare(*signals())
    mask = random_mask(terms).bfloat16().requires_grad_()
    loss = MultiExitLoss().of_mask(mask, terms)
    loss.backward()
    exact = mask.detach().float().requires_grad_()
    expected = MultiExitLoss().of_mask(exact, terms)
    expected.backward()
    assert (loss.dtype, mask.grad.dtype) == (torch.float32, torch.bfloat16)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)
    torch.testing.assert_close(mask.grad.float(), exact.grad, rtol=0.01, atol=1e-9)


def test_preparing_leaves_the_spectra_alone_and_keeps_no_graph() -> None:
    noisy, clean = (stft(x).requires_grad_() for x in signals())
    copies = noisy.detach().clone(), clean.detach().clone()
    terms = MultiExitLoss().prepare(noisy, clean, torch.ones(3))
    assert torch.equal(noisy.detach(), copies[0])
    assert torch.equal(clean.detach(), copies[1])
    assert not terms.quadratic.requires_grad


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("compression", [0.3, 1.0])
def test_a_teacher_adds_the_squared_distance_of_compressed_masks(weight: float, compression: float) -> None:
    noisy, clean = signals()
    loss = MultiExitLoss(compression)
    terms = prepare(noisy, clean, torch.tensor([9, 4, 7]), compression=compression)
    mask, taught = random_mask(terms).requires_grad_(), random_mask(terms, seed=1)
    before = terms.quadratic.clone(), terms.linear.clone(), terms.constant.clone()
    guided = loss.of_mask(mask, loss.towards(terms, taught, weight))
    # The distance written out, in double precision, over valid frames and bins, then the mean over the batch.
    spectra = stft(noisy).abs().double() / clean.double().std(dim=-1)[:, None, None]
    distance = (spectra**compression * (mask.double() ** compression - taught.double() ** compression)) ** 2
    by_hand = torch.stack([clip[:frames].mean() for clip, frames in zip(distance, (9, 4, 7), strict=True)]).mean()
    expected = loss.of_mask(mask, terms).double() + weight * by_hand
    assert guided.item() == pytest.approx(expected.item(), rel=1e-4)
    (slope,) = torch.autograd.grad(guided, mask, retain_graph=True)
    (expected_slope,) = torch.autograd.grad(expected, mask)
    torch.testing.assert_close(slope, expected_slope, rtol=2e-3, atol=1e-5)
    for kept, now in zip(before, (terms.quadratic, terms.linear, terms.constant), strict=True):
        assert torch.equal(kept, now)


def test_silence_with_a_teacher_stays_finite() -> None:
    noisy = torch.zeros(2, SAMPLES)
    loss = MultiExitLoss()
    terms = prepare(noisy, noisy)
    for value in (0.0, 1.0):
        mask = torch.full_like(terms.quadratic, 0.5).requires_grad_()
        total = loss.of_mask(mask, loss.towards(terms, torch.full_like(terms.quadratic, value), 3.0))
        total.backward()
        assert torch.isfinite(total) and torch.isfinite(mask.grad).all()
