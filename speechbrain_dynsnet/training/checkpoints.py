"""Checkpoints that are whole or absent.

SpeechBrain writes a checkpoint's description before its contents, so that a kill in between leaves a folder
that looks valid. Here a checkpoint is written under another name, with a checksum of each file, and renamed when
complete; one that was damaged since is skipped, and named.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import zlib
from collections.abc import Iterable
from typing import Any

import torch
from speechbrain.utils.checkpoints import (
    CKPT_PREFIX,
    Checkpoint,
    Checkpointer,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.logger import get_logger
from torch.optim import Optimizer

from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.model.architecture import Architecture
from speechbrain_dynsnet.model.bundle import describe_difference
from speechbrain_dynsnet.model.network import DynamicNsNet2

logger = get_logger(__name__)
_UNFINISHED = "unfinished-"
_CHECKSUMS = "CHECKSUMS.json"


@register_checkpoint_hooks
class ArchitectureRecord:
    """Puts the architecture into each checkpoint, and refuses to load one of another architecture.

    Arguments
    ---------
    architecture : Architecture
        Of the network that is trained.
    """

    def __init__(self, architecture: Architecture) -> None:
        self._fields = architecture.to_dict()

    @mark_as_saver  # type: ignore[untyped-decorator]
    def save(self, path: pathlib.Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(self._fields), encoding="utf-8")

    @mark_as_loader  # type: ignore[untyped-decorator]
    def check(self, path: pathlib.Path, end_of_epoch: bool) -> None:
        """Compare; raises InputError naming what differs."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(set(kept) | set(self._fields))
        different = [
            f"{name} {kept.get(name)!r}, not {self._fields.get(name)!r}"
            for name in names
            if kept.get(name) != self._fields.get(name)
        ]
        if different:
            raise InputError(f"{path.parent}: a checkpoint of another architecture ({'; '.join(different)})")


class AtomicCheckpointer(Checkpointer):  # type: ignore[misc]
    """SpeechBrain's Checkpointer, with each checkpoint renamed into place when it is complete."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._verified: set[pathlib.Path] = set()
        super().__init__(*args, **kwargs)

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> Checkpoint | None:
        """As the base class, but the checkpoint appears whole or not at all. All ranks must call it."""
        saved = super().save_checkpoint(*args, **kwargs)
        ddp_barrier()  # every rank has written its part
        if saved is not None:
            final = saved.path.with_name(saved.path.name.removeprefix(_UNFINISHED))
            sums = {file.name: _checksum(file) for file in saved.path.iterdir()}
            (saved.path / _CHECKSUMS).write_text(json.dumps(sums), encoding="utf-8")
            os.replace(saved.path, final)
            paths = {name: final / path.name for name, path in saved.paramfiles.items()}
            saved = Checkpoint(final, saved.meta, paths)
        ddp_barrier()
        return saved

    def save_and_keep_only(self, *args: Any, **kwargs: Any) -> None:
        """As the base class, which adds to its own default with each call, and so takes longer and longer."""
        super().save_and_keep_only(*args, **{"importance_keys": [], **kwargs})

    def remove_unfinished(self) -> None:
        """Delete what a killed run was writing."""
        if if_main_process():
            for folder in self.checkpoints_dir.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(folder)
        ddp_barrier()

    def _new_checkpoint_dirpath(self) -> pathlib.Path:
        return self._unfinished(super()._new_checkpoint_dirpath())

    def _custom_checkpoint_dirpath(self, name: str) -> pathlib.Path:
        return self._unfinished(super()._custom_checkpoint_dirpath(name))

    def _list_checkpoint_dirs(self) -> list[pathlib.Path]:
        return [folder for folder in super()._list_checkpoint_dirs() if self._is_whole(folder)]

    @staticmethod
    def _unfinished(path: pathlib.Path) -> pathlib.Path:
        return path.with_name(_UNFINISHED + path.name)

    def _is_whole(self, folder: pathlib.Path) -> bool:
        if folder in self._verified:
            return True
        try:
            sums = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
            whole = all(_checksum(folder / name) == value for name, value in sums.items())
        except (OSError, ValueError):
            whole = False
        if not whole:
            # Under another name it is neither listed again nor lost.
            logger.warning("%s is damaged: going on from the one before, or from the beginning without one", folder)
            if if_main_process():
                os.replace(
                    folder,
                    folder.with_name(folder.name.replace(CKPT_PREFIX, "damaged-" + CKPT_PREFIX, 1)),
                )
        else:
            self._verified.add(folder)
        return whole


def facts_of(checkpoint: Checkpoint) -> dict[str, float]:
    """What it was saved with: its epoch and validation losses."""
    return {name: value for name, value in checkpoint.meta.items() if name not in ("unixtime", "end-of-epoch")}


def check_recovered(networks: Iterable[DynamicNsNet2], optimizer: Optimizer, checkpoint: Checkpoint | None) -> None:
    """InputError when something is broken that came from a checkpoint, or from before the first one (None)."""
    broken = [difference for network in networks if (difference := describe_difference(network, network.state_dict()))]
    if checkpoint is None:
        if broken:
            raise InputError(f"the network to be trained is broken: {broken[0]}")
        return
    faults = [f"its network is broken, {difference}" for difference in broken]
    states = (value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value))
    if not all(torch.isfinite(value).all() for value in states):
        faults.append("the state of its optimiser is not finite")
    if faults:
        raise InputError(f"{checkpoint.path}: {faults[0]}; delete it, then the same command goes on")


def _checksum(path: pathlib.Path) -> int:
    return zlib.crc32(path.read_bytes())
