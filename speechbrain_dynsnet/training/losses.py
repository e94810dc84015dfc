"""The compressed spectral loss of arXiv 2308.16678 (equations 3 and 4), for all exits at the cost of one.

With A = |X|^c and B = |S|^c, X_c and S_c the spectra with compressed magnitude and their own phase, and a real
mask M, the estimate M X compresses to m X_c with m = M^c. Then

    0.3 |m X_c - S_c|^2 + 0.7 (m A - B)^2  =  A^2 m^2 - 2 m (0.3 C + 0.7 A B) + B^2,   C = Re(X_c conj(S_c)),

so X and S are compressed once, and each exit costs one power and two products. No estimate is resynthesised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

_POWER_FLOOR = 1e-12  # under the compression: |X|^2 at digital silence
_MASK_FLOOR = 1e-6  # -120 dB: below it the slope of M^c would grow without bound
_STD_FLOOR = 1e-3  # -60 dBFS: under any speech


@dataclass(frozen=True)
class LossTerms:
    """What the loss of a batch needs of noisy and clean, the same for every exit.

    `quadratic`, `linear` and `constant` are (batch, time, bins): loss = quadratic m^2 - 2 linear m + constant.
    `weights` (batch, time, 1) averages over valid frames, bins and the batch.
    """

    quadratic: Tensor
    linear: Tensor
    constant: Tensor
    weights: Tensor


class MultiExitLoss:
    """Weighted sum over the exits of the compressed spectral loss.

    Arguments
    ---------
    compression : float
        The exponent c.
    complex_share : float
        Weight of the complex error; the magnitude error has the rest.

    Example
    -------
    >>> import torch
    >>> noisy, clean = torch.randn(2, 9, 257, dtype=torch.cfloat), torch.randn(2, 9, 257, dtype=torch.cfloat)
    >>> loss = MultiExitLoss()
    >>> terms = loss.prepare(noisy, clean, clean_std=torch.ones(2))
    >>> loss.of_mask(torch.rand(2, 9, 257), terms).shape
    torch.Size([])
    """

    def __init__(self, compression: float = 0.3, complex_share: float = 0.3) -> None:
        self.compression = compression
        self.complex_share = complex_share

    @torch.no_grad()
    def prepare(self, noisy: Tensor, clean: Tensor, clean_std: Tensor, frames: Tensor | None = None) -> LossTerms:
        """Compress noisy and clean once.

        Arguments
        ---------
        noisy, clean : Tensor
            Complex spectra (batch, time, bins).
        clean_std : Tensor
            (batch,), standard deviation of each clean waveform. Both spectra are divided by it, floored, so
            that quiet and loud clips weigh the same.
        frames : Tensor or None
            (batch,), valid frames of each clip; None: all.

        Returns
        -------
        LossTerms
        """
        scale = clean_std.clamp(min=_STD_FLOOR).reciprocal().square()[:, None, None]
        noisy_power = _power(noisy).mul_(scale).add_(_POWER_FLOOR)
        clean_power = _power(clean).mul_(scale).add_(_POWER_FLOOR)
        powers = noisy_power * clean_power
        quadratic, constant = noisy_power.pow_(self.compression), clean_power.pow_(self.compression)
        product = (quadratic * constant).sqrt_()  # A B
        # C / (A B): the cosine of the angle between X and S
        cosine = (noisy.real * clean.real).addcmul_(noisy.imag, clean.imag).mul_(scale).mul_(powers.rsqrt_())
        linear = product.mul_(cosine.mul_(self.complex_share).add_(1.0 - self.complex_share))
        return LossTerms(quadratic, linear, constant, _frame_weights(noisy, frames))

    @torch.no_grad()
    def towards(self, terms: LossTerms, mask: Tensor, weight: float) -> LossTerms:
        """Terms whose loss has `weight` times the mean of (|X|^c (M^c - `mask`^c))^2 added to it, at no cost an exit.

        That is A^2 m^2 - 2 A^2 n m + A^2 n^2 with n = `mask`^c: of the same form as the loss.

        Arguments
        ---------
        terms : LossTerms
            From `prepare`.
        mask : Tensor
            (batch, time, bins), what masks are drawn towards.
        weight : float
            Of the added term.

        Returns
        -------
        LossTerms
            New ones.
        """
        drawn = mask.float().clamp(min=_MASK_FLOOR).pow_(self.compression).mul_(terms.quadratic).mul_(weight)
        return LossTerms(
            terms.quadratic * (1.0 + weight),
            terms.linear + drawn,
            drawn.square_().div_(terms.quadratic * weight).add_(terms.constant) if weight > 0.0 else terms.constant,
            terms.weights,
        )

    def of_mask(self, mask: Tensor, terms: LossTerms) -> Tensor:
        """The loss of one exit (equation 3 over valid frames and bins, then the mean over the batch).

        Arguments
        ---------
        mask : Tensor
            (batch, time, bins), gains in [0, 1].
        terms : LossTerms
            From `prepare`.

        Returns
        -------
        Tensor
            Scalar.
        """
        return cast(Tensor, _MaskLoss.apply(mask, terms, self.compression))

    def __call__(
        self, masks: Sequence[Tensor], terms: LossTerms, exit_weights: Sequence[float] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """The joint loss (equation 4) and each exit's own.

        Arguments
        ---------
        masks : sequence of Tensor
            One (batch, time, bins) an exit.
        terms : LossTerms
            From `prepare`.
        exit_weights : sequence of float or None
            alpha_i, one an exit; None is 1 each.

        Returns
        -------
        total : Tensor
            Scalar, the weighted sum.
        each : list of Tensor
            Scalars, unweighted.
        """
        each = [self.of_mask(mask, terms) for mask in masks]
        alphas = [1.0] * len(each) if exit_weights is None else exit_weights
        if len(alphas) != len(each):
            raise ValueError(f"{len(alphas)} exit weights for {len(each)} masks")
        total = torch.stack([alpha * loss for alpha, loss in zip(alphas, each, strict=True)]).sum()
        return total, each


class _MaskLoss(torch.autograd.Function):
    """The loss of a mask, with its gradient worked out in the same pass over the arrays.

    With m = M^c the slope is 2 (A^2 m - linear) c m / M: the backward pass needs no second power, which is
    most of the cost.
    """

    @staticmethod
    def forward(ctx: Any, mask: Tensor, terms: LossTerms, compression: float) -> Tensor:
        gain = mask.float().clamp(min=_MASK_FLOOR)
        m = gain.pow(compression)
        slope = terms.quadratic * m
        slope.sub_(terms.linear)
        # A^2 m^2 - 2 L m = m ((A^2 m - L) - L)
        error = (slope - terms.linear).mul_(m).add_(terms.constant)
        loss = error.mul_(terms.weights).sum()
        if ctx.needs_input_grad[0]:
            slope.mul_(m).div_(gain).mul_(terms.weights * (2.0 * compression))
            ctx.save_for_backward(slope)
            ctx.mask_dtype = mask.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return (slope * grad).to(ctx.mask_dtype), None, None


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)


def _frame_weights(spectrum: Tensor, frames: Tensor | None) -> Tensor:
    batch, time, bins = spectrum.shape
    if frames is None:
        frames = torch.full((batch,), time, device=spectrum.device)
    valid = torch.arange(time, device=spectrum.device) < frames[:, None]
    return (valid / (frames.clamp(min=1)[:, None] * bins * batch)).unsqueeze(-1)
