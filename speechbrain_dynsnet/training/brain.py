"""The Brain: one phase of training, whatever the scheme."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.epoch_loop import EpochCounterWithStopper
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from speechbrain_dynsnet.data.pairs import EpochSampler
from speechbrain_dynsnet.model.features import log_power, stft
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.training.checkpoints import AtomicCheckpointer
from speechbrain_dynsnet.training.losses import LossTerms, MultiExitLoss
from speechbrain_dynsnet.training.phases import Phase
from speechbrain_dynsnet.training.progress import Averages, EpochLog
from speechbrain_dynsnet.training.schedules import make_schedule

OptimizerClass = Callable[[Iterable[Tensor]], Optimizer]
_STATUS_STEPS = 10  # the running losses of the exits are shown anew after so many steps


class DynBrain(sb.Brain):  # type: ignore[misc]
    """Trains what a phase trains, on the exits that it has in the loss.

    One Brain serves one phase: parameters are frozen before anything is wrapped for several processes.

    Arguments
    ---------
    network : DynamicNsNet2
        Trained in place.
    phase : Phase
        What trains, on which exits, how long.
    folder : Path
        Of this phase: checkpoints and logs.
    loss : MultiExitLoss
        Of all exits.
    opt_class : callable
        Takes the parameters, gives the optimiser.
    schedule : str
        A name that `make_schedule` knows.
    patience : int
        Epochs without improvement of the validation loss until the phase stops.
    affine : pair of float
        (shift, scale): the network trains on `scale * (features + shift)`.
    options : dict
        SpeechBrain's run options as the recipe sets them.
    run_opts : dict or RunOptions
        The same from the command line; they win.
    """

    def __init__(
        self,
        network: DynamicNsNet2,
        phase: Phase,
        folder: Path,
        loss: MultiExitLoss,
        opt_class: OptimizerClass,
        schedule: str,
        patience: int,
        affine: tuple[float, float],
        options: dict[str, Any],
        run_opts: Any,
    ) -> None:
        trainable = phase.trainable(network)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in trainable)
        self.network = network  # the bare one: self.modules may hold it wrapped
        self.phase = phase
        self.loss = loss
        self.affine = affine
        self.schedule_name = schedule
        self.epochs = EpochCounterWithStopper(phase.max_epochs, patience, limit_warmup=0, direction="min")
        self.log = EpochLog(folder) if if_main_process() else None
        checkpointer = AtomicCheckpointer(folder, recoverables={"network": network, "epochs": self.epochs})
        checkpointer.remove_unfinished()
        super().__init__({"network": network}, opt_class, options, run_opts, checkpointer)
        self.steps_per_epoch = 0

    def train_phase(
        self,
        train: torch.utils.data.DataLoader[Any],
        sampler: EpochSampler,
        valid: torch.utils.data.DataLoader[Any],
    ) -> dict[str, float]:
        """Train until the phase ends, going on from its last checkpoint, and load its best weights.

        Arguments
        ---------
        train : DataLoader
            SpeechBrain's saveable one, so that a stopped epoch goes on in its middle.
        sampler : EpochSampler
            The sampler of `train`.
        valid : DataLoader
            The same pairs each time.

        Returns
        -------
        dict of str to float
            What the best checkpoint was saved with: its epoch and validation losses.
        """
        self.steps_per_epoch = len(train)
        self.train_sampler = sampler
        self.checkpointer.add_recoverable("dataloader", train)
        self.fit(self.epochs, train, valid)
        best = self.checkpointer.find_checkpoint(min_key="loss")
        self.network.load_state_dict(torch.load(best.paramfiles["network"], map_location=self.device))
        return {name: value for name, value in best.meta.items() if name not in ("unixtime", "end-of-epoch")}

    def init_optimizers(self) -> None:
        """An optimiser for what trains in this phase, and the learning-rate schedule."""
        self.optimizer = self.opt_class(p for p in self.network.parameters() if p.requires_grad)
        self.optimizers_dict = {"opt_class": self.optimizer}
        self.schedule = make_schedule(self.schedule_name, self.optimizer, self.phase.max_epochs * self.steps_per_epoch)
        self.checkpointer.add_recoverable("optimizer", self.optimizer)
        self.checkpointer.add_recoverable("schedule", self.schedule.scheduler)

    def compute_forward(self, batch: tuple[Tensor, Tensor], stage: sb.Stage) -> tuple[tuple[Tensor, ...], LossTerms]:
        """The masks of the exits in the loss, in one pass, and what the loss needs of the spectra."""
        noisy, clean = (signal.to(self.device, non_blocking=True) for signal in batch)
        # Powers of small numbers under a logarithm: not for half precision.
        with torch.autocast(self.device_type, enabled=False):
            noisy_spectrum, clean_spectrum = stft(noisy), stft(clean)
            terms = self.loss.prepare(noisy_spectrum, clean_spectrum, clean.std(dim=-1))
            shift, scale = self.affine
            features = scale * (log_power(noisy_spectrum) + shift)
        masks, _ = self.modules["network"](features, exit=self.phase.exits)
        return masks, terms

    def compute_objectives(
        self,
        predictions: tuple[tuple[Tensor, ...], LossTerms],
        batch: tuple[Tensor, Tensor],
        stage: sb.Stage,
    ) -> Tensor:
        """The weighted sum of the exits' losses."""
        masks, terms = predictions
        total, each = self.loss(masks, terms, self.phase.exit_weights)
        losses = {"loss": total} | {f"exit_{k}": one for k, one in zip(self.phase.exits, each, strict=True)}
        if stage != sb.Stage.TRAIN:
            losses["ones"] = self.loss.of_mask(torch.ones_like(masks[0]), terms)
        self.averages.add(losses)
        return total

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Count anew."""
        self.averages = Averages()
        if stage == sb.Stage.TRAIN:
            quiet = self.noprogressbar or not if_main_process()
            self.status = tqdm(total=0, position=1, bar_format="{desc}", disable=quiet, leave=False)

    def on_fit_batch_end(self, batch: tuple[Tensor, Tensor], outputs: Any, loss: Tensor, should_step: bool) -> None:
        """Move the schedule; show the losses of the exits beside the progress bar."""
        if should_step:
            self.schedule.after_step()
        if self.step % _STATUS_STEPS == 0:
            self.status.set_description_str(_line(self.averages.local()))

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """After training, remember the losses; after validation, decide, log, and save the best and the last."""
        means = self.averages.over_ranks()
        if stage == sb.Stage.TRAIN:
            self.status.close()
            self.train_loss = means["loss"]
            return
        rate = self.optimizer.param_groups[0]["lr"]
        self.schedule.after_epoch(means["loss"])
        self.epochs.update_metric(means["loss"])
        if self.log is not None:
            self.log.write(int(epoch or 0), {"lr": rate, "train_loss": self.train_loss} | means)
            tqdm.write(
                f"{self.phase.name} epoch {epoch}/{self.phase.max_epochs}  lr {rate:.2g}  "
                f"train {self.train_loss:.4f}  valid {_line(means)}"
            )
        self.checkpointer.save_and_keep_only(
            meta={"epoch": int(epoch or 0)} | means, importance_keys=[], min_keys=["loss"]
        )


def _line(losses: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
