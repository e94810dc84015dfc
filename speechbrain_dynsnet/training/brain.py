"""The Brain: one phase of training, whatever the scheme."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.logger import get_logger
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from speechbrain_dynsnet.data.pairs import EpochSampler, Pair
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.features import log_power, stft
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.model.whitening import Whitening
from speechbrain_dynsnet.training.average import kept_network, make_average
from speechbrain_dynsnet.training.checkpoints import ArchitectureRecord, AtomicCheckpointer, check_recovered, facts_of
from speechbrain_dynsnet.training.distillation import Teacher
from speechbrain_dynsnet.training.divergence import GRACE, Diverged, LossBefore
from speechbrain_dynsnet.training.losses import LossTerms, MultiExitLoss
from speechbrain_dynsnet.training.phases import Phase
from speechbrain_dynsnet.training.progress import Averages, EpochLog, Skipped, line_of
from speechbrain_dynsnet.training.schedules import make_schedule

OptimizerClass = Callable[[Iterable[Tensor]], Optimizer]
logger = get_logger(__name__)
_SILENT = 0.1  # 20 dB below the mixture
_NAMED = 20  # so many files that could not be read are named; the rest are counted
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
    whitening : Whitening or None
        Of the features that the network trains on; None: they are plain.
    options : dict
        SpeechBrain's run options as the recipe sets them.
    run_opts : dict or RunOptions
        The same from the command line; they win.
    average_decay : float
        Of the moving average of the weights, which is what is validated and kept; 0 is none.
    teacher : Teacher or None
        Whose masks are a second target, in training only: losses of validation are those of the paper.
    keep : callable or None
        Called by the main process after each epoch that is the best so far, and when a phase goes on, with the network
        as it was validated and what its checkpoint was saved with.
    """

    # set by SpeechBrain
    max_grad_norm: float
    optimizer_step_limit: int | None

    def __init__(
        self,
        network: DynamicNsNet2,
        phase: Phase,
        folder: Path,
        loss: MultiExitLoss,
        opt_class: OptimizerClass,
        schedule: str,
        patience: int,
        whitening: Whitening | None,
        options: dict[str, Any],
        run_opts: Any,
        average_decay: float = 0.0,
        teacher: Teacher | None = None,
        keep: Callable[[DynamicNsNet2, dict[str, float]], None] | None = None,
    ) -> None:
        trainable = phase.trainable(network)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in trainable)
        self.network = network  # the bare one: self.modules may hold it wrapped
        self.phase = phase
        self.loss = loss
        self.teacher = teacher
        self.keep = keep
        self.schedule_name = schedule
        self.patience = patience
        self.epochs = EpochCounter(phase.max_epochs)
        self.log = EpochLog(folder) if if_main_process() else None
        self.skipped = Skipped()
        self.before = LossBefore()
        self.bar = tqdm(disable=True)
        # The architecture comes first: it is checked before any weight is loaded.
        recoverables = {"architecture": ArchitectureRecord(network.architecture), "network": network}
        self.average = make_average(network, average_decay) if average_decay else None
        if self.average is not None:
            recoverables["average"] = self.average
        checkpointer = AtomicCheckpointer(folder, recoverables | {"epochs": self.epochs})
        checkpointer.add_recoverable("before", self.before, optional_load=True)  # older checkpoints lack it
        checkpointer.remove_unfinished()
        super().__init__({"network": network}, opt_class, options, run_opts, checkpointer)
        if self.average is not None:
            self.average.to(self.device)
        self.whitening = None if whitening is None else whitening.to(self.device)
        if self.max_grad_norm < 0:
            self.max_grad_norm = math.inf  # what SpeechBrain promises; its own code would flip the gradients
        if self.optimizer_step_limit is not None:
            self.optimizer_step_limit = int(self.optimizer_step_limit)  # the command line gives a string

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

        Raises
        ------
        InputError
            When training diverges, or SpeechBrain was told to test only.
        """
        self.batches = {sb.Stage.TRAIN: len(train), sb.Stage.VALID: len(valid)}
        self.valid = valid
        self.train_sampler = sampler
        self.checkpointer.add_recoverable("dataloader", train)
        self.fit(self.epochs, train, valid, progressbar=False)  # the bar of on_stage_start shows every exit
        best = self._best()
        if best is None:
            raise InputError("nothing was trained: leave --test_only out")
        self.network.load_state_dict(self._kept(best).state_dict())
        return facts_of(best)

    def init_optimizers(self) -> None:
        """An optimiser for what trains in this phase, and the learning-rate schedule."""
        self.optimizer = self.opt_class(p for p in self.network.parameters() if p.requires_grad)
        self.optimizers_dict = {"opt_class": self.optimizer}
        steps_per_epoch = max(1, self.batches[sb.Stage.TRAIN] // self.grad_accumulation_factor)
        self.schedule = make_schedule(self.schedule_name, self.optimizer, self.phase.max_epochs * steps_per_epoch)
        self.checkpointer.add_recoverable("optimizer", self.optimizer)
        self.checkpointer.add_recoverable("schedule", self.schedule.scheduler)

    def on_fit_start(self) -> None:
        """Recover the last checkpoint, and say where the phase goes on; InputError when that is worth nothing."""
        super().on_fit_start()
        check_recovered((self.network, self._averaged()), self.optimizer, self.checkpointer.find_checkpoint())
        best = self._best()
        if best is not None:
            self._check_progress(best)
            self._offer(best)
        elif self.step == 0 and not self.debug:
            self.before.loss = self._validate()
        self._stop_without_improvement()
        if self.epochs.current >= self.epochs.limit:
            logger.info("%s is finished, after epoch %d", self.phase.name, self.epochs.current)
        elif self.epochs.current or self.step:
            steps = f"after step {self.step} of {self.batches[sb.Stage.TRAIN]}"
            logger.info("%s goes on in epoch %d, %s", self.phase.name, self.epochs.current + 1, steps)

    def compute_forward(self, batch: Pair, stage: sb.Stage) -> tuple[tuple[Tensor, ...], LossTerms]:
        """The masks of the exits in the loss, in one pass, and what the loss needs of the spectra."""
        network = self.modules["network"] if stage == sb.Stage.TRAIN else self._averaged()
        self.skipped.add(batch.skipped)
        noisy, clean = (signal.to(self.device, non_blocking=True) for signal in (batch.noisy, batch.clean))
        # Powers of small numbers under a logarithm: not for half precision.
        with torch.autocast(self.device_type, enabled=False):
            noisy_spectrum, clean_spectrum = stft(noisy), stft(clean)
            # A target that is silent beside its noise must not outweigh the rest of the batch.
            scale_std = torch.maximum(clean.std(dim=-1), _SILENT * noisy.std(dim=-1))
            terms = self.loss.prepare(noisy_spectrum, clean_spectrum, scale_std)
            log_powers = log_power(noisy_spectrum)
            features = log_powers if self.whitening is None else self.whitening(log_powers)
        if self.teacher is not None and stage == sb.Stage.TRAIN:
            terms = self.teacher.guide(terms, log_powers, self.loss)
        masks, _ = network(features, exit=self.phase.exits)
        return masks, terms

    def compute_objectives(
        self,
        predictions: tuple[tuple[Tensor, ...], LossTerms],
        batch: Pair,
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
        self.skipped_steps = 0
        self.bar = tqdm(
            desc=f"{self.phase.name} epoch {epoch} {stage.name.lower()}",
            total=self.batches[stage],
            initial=self.step,
            dynamic_ncols=True,
            leave=False,
            disable=True if self.noprogressbar or not if_main_process() else None,  # None: only on a terminal
        )

    def on_fit_batch_end(self, batch: Pair, outputs: Any, loss: Tensor, should_step: bool) -> None:
        """Move the schedule and the average; show the losses of the exits in the progress bar."""
        if should_step:
            self.schedule.after_step()
            if self.average is not None:
                self.average.update_parameters(self.network)
        if self.step % _STATUS_STEPS == 1:
            self.bar.set_postfix_str(line_of(self.averages.local()), refresh=False)
        self.bar.update()

    def evaluate_batch(self, batch: Pair, stage: sb.Stage) -> Tensor:
        """As the base class, and move the progress bar."""
        loss: Tensor = super().evaluate_batch(batch, stage)
        self.bar.update()
        return loss

    def check_loss_isfinite(self, loss: Tensor) -> None:
        """Leave out a batch whose loss is not finite; when there are too many of them in an epoch, stop."""
        if not torch.isfinite(loss):
            self.nonfinite_count += 1
            if self.nonfinite_count > self.nonfinite_patience:
                raise self._diverged(f"the losses of {self.nonfinite_count} batches are not finite")

    def check_gradients(self) -> None:
        """Skip the step when a gradient is not finite."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        if not all(torch.isfinite(gradient).all() for gradient in gradients):
            logger.warning("step %d of epoch %d skipped: a gradient is not finite", self.step, self.epochs.current)
            self.optimizer.zero_grad()
            self.skipped_steps += 1
            if self.skipped_steps > self.nonfinite_patience:
                raise self._diverged(f"the gradients of {self.skipped_steps} steps are not finite")

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """After training, remember the losses; after validation, decide, log, and save the best and the last."""
        self.bar.close()
        if skipped := self.skipped.new_over_ranks():
            named = "; ".join(skipped[:_NAMED]) + ("; ..." if len(skipped) > _NAMED else "")
            logger.warning("others were used in place of %d audio files: %s", len(skipped), named)
        if stage == sb.Stage.TRAIN:
            # The Brain's own average: it is saved in the middle of an epoch, and leaves out losses that are not finite.
            average = Averages()
            average.add({"loss": torch.tensor(stage_loss, device=self.device)})
            self.train_loss = average.over_ranks()["loss"]
            return
        means = self.averages.over_ranks()
        if not math.isfinite(means["loss"]):
            raise self._diverged("the validation loss is not finite")
        rate = self.optimizer.param_groups[0]["lr"]
        self.schedule.after_epoch(means["loss"])
        if self.log is not None:
            self.log.write(int(epoch or 0), {"lr": rate, "train_loss": self.train_loss} | means)
        logger.info(
            f"{self.phase.name} epoch {epoch}/{self.phase.max_epochs}  lr {rate:.2g}  "
            f"train {self.train_loss:.4f}  valid {line_of(means)}"
        )
        self.checkpointer.save_and_keep_only(
            meta={"epoch": int(epoch or 0)} | means, importance_keys=[], min_keys=["loss"]
        )
        best = self._best()
        if best.meta["epoch"] == epoch:
            self._offer(best)
        self._check_progress(best)
        self._stop_without_improvement()

    def _averaged(self) -> DynamicNsNet2:
        """What is validated and kept."""
        return cast(DynamicNsNet2, self.network if self.average is None else self.average.module)

    def _kept(self, checkpoint: Any) -> DynamicNsNet2:
        return kept_network(self.network, self.average, checkpoint.paramfiles)

    def _offer(self, best: Any) -> None:
        """Have the best network kept for use, unless it is worse than the one that the phase began with."""
        if self.keep is not None and if_main_process() and not self.before.is_exceeded(best.meta["loss"]):
            self.keep(self._kept(best), facts_of(best))

    def _validate(self) -> float:
        """The validation loss as it is; every rank must call it."""
        self.averages = Averages()
        for batch in self.valid:
            super().evaluate_batch(batch, sb.Stage.VALID)
        return self.averages.over_ranks()["loss"]

    def _check_progress(self, best: Any) -> None:
        """Raise Diverged when the best epoch so far is worse than what the phase began with."""
        now, loss = self.epochs.current, best.meta["loss"]
        if now >= min(GRACE, self.phase.max_epochs) and self.before.is_exceeded(loss):
            raise self._diverged(f"the best validation loss is {loss:.4g}, and {self.before.loss:.4g} before training")

    def _best(self) -> Any:
        return self.checkpointer.find_checkpoint(min_key="loss")

    def _stop_without_improvement(self) -> None:
        """End the phase when its best epoch is too long ago.

        Read from the checkpoints, which always keep the best: a run that was stopped decides as one that was not.
        (SpeechBrain's EpochCounterWithStopper forgets its state: only its parent has checkpoint hooks.)
        """
        best = self._best()
        if best is not None and self.epochs.current - best.meta["epoch"] >= self.patience:
            self.epochs.limit = self.epochs.current

    def _diverged(self, what: str) -> Diverged:
        self.bar.close()
        return Diverged(
            f"{self.phase.name} diverged in epoch {self.epochs.current}: {what}; "
            "train with a lower --lr into another --output_folder"
        )
