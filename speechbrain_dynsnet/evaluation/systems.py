"""What makes estimates of clean speech out of a noisy clip: nothing at all, a model, a peer, or files made before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import read_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import InputError, one_line

Signal = NDArray[np.float32]
NOISY = "noisy"


@dataclass(frozen=True)
class Pair:
    """The files of one clip; any format and rate, one channel.

    Arguments
    ---------
    clip : str
        Its name in results.
    clean, noisy, enhanced : Path
        `noisy` is needed by all systems but `Folder`, and `enhanced` by that one.
    facts : dict of str to str
        What else is known of it, for columns of the results.
    """

    clip: str
    clean: Path
    noisy: Path | None = None
    enhanced: Path | None = None
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """One estimate a clip: what it is called in the column `system`, by which model, at which exit."""

    system: str
    model: str = ""
    exit: int | None = None


class EstimateFailure(ValueError):
    """A system has no estimate of a clip: the message says why, in one line."""


Estimator = Callable[[Pair], tuple[Signal, ...]]


class System(Protocol):
    """Small, so that it can be sent to processes; what is heavy is loaded there, by `open`."""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What its estimates are, in their order."""

    def identity(self) -> dict[str, Any]:
        """What tells it from another of the same name, for the settings of a run."""

    def open(self) -> Estimator:
        """A function from a clip to its estimates, (time,) at 16 kHz; it may raise `EstimateFailure`."""


@dataclass(frozen=True)
class Noisy:
    """The input as it is: what all systems have to beat."""

    outputs: tuple[Output, ...] = (Output(NOISY),)

    def identity(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def open(self) -> Estimator:
        """Reads."""
        return lambda pair: (read_noisy(pair),)


@dataclass(frozen=True)
class Folder:
    """Files that somebody else's system made, whatever it is: the `enhanced` of each pair.

    Arguments
    ---------
    name : str
        What the system is called.
    """

    name: str

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One."""
        return (Output(self.name),)

    def identity(self) -> dict[str, Any]:
        """Nothing: what its files hold is known to whom the pairs are."""
        return {}

    def open(self) -> Estimator:
        """Reads. A file that is no audio, or holds NaN, is a failure of the system's."""

        def estimate(pair: Pair) -> tuple[Signal, ...]:
            assert pair.enhanced is not None, "pairs for a Folder have a file each"
            try:
                return (read_mono(pair.enhanced),)
            except InputError as error:
                raise EstimateFailure(one_line(error).removeprefix(f"{pair.enhanced}: ")) from error

        return estimate


@dataclass(frozen=True)
class Network:
    """A model at some of its exits: of an exported file one by one, or else all from one pass.

    Arguments
    ---------
    path : Path
        A bundle, public nsNet2 weights (.npz), or a file that `dynsnet export` wrote (.onnx).
    name : str
        What the model is called.
    exits : tuple of int
        Some that it has; see `find_exits`.
    system : str or None
        What the one exit of `exits` is called; None calls each `exit_N`.
    """

    path: Path
    name: str
    exits: tuple[int, ...]
    system: str | None = None

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One an exit."""
        return tuple(Output(self.system or f"exit_{exit}", self.name, exit) for exit in self.exits)

    def macs_shares(self) -> dict[str, float]:
        """The cost of each of its systems as a share of nsNet2's."""
        from speechbrain_dynsnet.evaluation.complexity import baseline_macs_per_frame

        macs = _macs_per_frame(self.path)
        baseline = baseline_macs_per_frame()
        return {output.system: macs[exit] / baseline for output, exit in zip(self.outputs, self.exits, strict=True)}

    def identity(self) -> dict[str, Any]:
        """Its weights, and what its bundle says of it."""
        from speechbrain_dynsnet.model.bundle import CONFIG, WEIGHTS

        is_bundle = self.path.is_dir()
        files = [self.path / CONFIG, self.path / WEIGHTS] if is_bundle else [self.path]
        told = {"model": self.name, "exits": list(self.exits), "sha256": digest_files(files)}
        # How it was trained, for reports that put models side by side.
        return told | ({"config": json.loads((self.path / CONFIG).read_text(encoding="utf-8"))} if is_bundle else {})

    def open(self) -> Estimator:
        """Loads it, onto the CPU."""
        if self.path.suffix == ".onnx":
            from speechbrain_dynsnet.runtime.enhancer import Enhancer

            enhancer = Enhancer(self.path)

            def run(pair: Pair) -> tuple[Signal, ...]:
                noisy = read_noisy(pair)[np.newaxis]
                return tuple(enhancer.enhance(noisy, exit)[0] for exit in self.exits)

            return run
        import torch

        from speechbrain_dynsnet.model.enhance import enhance
        from speechbrain_dynsnet.model.importing import load_network

        network = load_network(self.path)

        @torch.no_grad()
        def estimate(pair: Pair) -> tuple[Signal, ...]:
            noisy = torch.from_numpy(read_noisy(pair))
            return tuple(np.asarray(signal[0]) for signal in enhance(network, noisy[None], self.exits))

        return estimate


@dataclass(frozen=True)
class Peer:
    """One of `speechbrain_dynsnet.evaluation.peers`."""

    name: str

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One."""
        from speechbrain_dynsnet.evaluation.peers import peer_version

        return (Output(self.name, peer_version(self.name)),)

    def identity(self) -> dict[str, Any]:
        """Its package and version."""
        return {"model": self.outputs[0].model}

    def open(self) -> Estimator:
        """Loads it."""
        from speechbrain_dynsnet.evaluation.peers import open_peer

        denoise = open_peer(self.name)
        return lambda pair: (denoise(read_noisy(pair)),)


def find_exits(path: Path) -> tuple[int, ...]:
    """The exits of a model in a file or folder, shallow to deep; InputError when it is none."""
    if path.suffix == ".onnx":
        from speechbrain_dynsnet.runtime.enhancer import Enhancer

        return Enhancer(path).exits
    from speechbrain_dynsnet.model.importing import load_network

    return tuple(load_network(path).exits)


def _macs_per_frame(path: Path) -> dict[int, int]:
    """Of each exit of a model in a file or folder."""
    if path.suffix == ".onnx":
        from speechbrain_dynsnet.runtime.model import RuntimeModel

        return RuntimeModel(path).macs_per_frame
    from speechbrain_dynsnet.model.importing import load_network

    network = load_network(path)
    return {exit: network.macs_per_frame(exit) for exit in network.exits}


def read_mono(path: Path) -> Signal:
    """(time,) at 16 kHz, float32, from a file of any rate.

    Raises
    ------
    InputError
        See `speechbrain_dynsnet.audio.files.read_audio`; and for a file with several channels.
    """
    audio = read_audio(path)
    if len(audio.samples) != 1:
        raise InputError(f"{path}: has {len(audio.samples)} channels; metrics are for one, choose which")
    return np.asarray(resample(audio.samples, audio.rate, SAMPLE_RATE)[0])


def read_noisy(pair: Pair) -> Signal:
    """The noisy signal, (time,) at 16 kHz."""
    assert pair.noisy is not None, "pairs for this system have a noisy file each"
    return read_mono(pair.noisy)


def digest_files(paths: Iterable[Path]) -> str:
    """SHA-256 of the contents of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
