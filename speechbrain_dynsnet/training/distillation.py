"""A teacher's masks as a second target: each exit is drawn towards what a trained network does to the same mixture."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from speechbrain_dynsnet.model.bundle import weights_digest
from speechbrain_dynsnet.model.importing import load_network
from speechbrain_dynsnet.training.losses import LossTerms, MultiExitLoss


class Teacher:
    """A trained network, and how much its masks count.

    Arguments
    ---------
    path : str or Path
        A bundle, or public nsNet2 weights (.npz); its deepest exit teaches.
    weight : float
        Of the mean of (|X|^c (M^c - M_teacher^c))^2 beside the loss of each exit.
    """

    def __init__(self, path: str | Path, weight: float) -> None:
        self.network = load_network(path).requires_grad_(False)
        self.weight = weight

    @torch.no_grad()
    def guide(self, terms: LossTerms, features: Tensor, loss: MultiExitLoss) -> LossTerms:
        """The terms of a batch with the teacher's opinion in them.

        Arguments
        ---------
        terms : LossTerms
            Of the batch.
        features : Tensor
            Log powers (batch, time, bins) of the noisy clips, on the device of the terms. Under autocast the teacher
            runs in its type.
        loss : MultiExitLoss
            Which made the terms.

        Returns
        -------
        LossTerms
            New ones; the loss of any mask by them has the distance to the teacher's in it.
        """
        mask, _ = self.network.to(features.device)(features)
        return loss.towards(terms, mask, self.weight)


def fingerprint(path: str | Path) -> str:
    """The checksum of a model's weights, wherever they are."""
    path = Path(path)
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else weights_digest(path)
