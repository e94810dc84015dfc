"""An exported model file: read, checked, and loaded once for any number of streams."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_state

from speechbrain_dynsnet.audio.constants import BINS, HOP, POWER_FLOOR, SAMPLE_RATE, WINDOW
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.runtime.format import ANY, FEATURES, FORMAT_VERSION, FP32, INT8, SEAL, WAVEFORM, is_whole

# What onnxruntime raises for a file that it cannot load or run; its own have no common ancestor.
_OWN_ERRORS = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
ONNX_ERRORS = (
    *(getattr(onnxruntime_state, name) for name in _OWN_ERRORS),
    RuntimeError,
    UnicodeDecodeError,  # names that are none
)
# The model in this package, all exits, in int8. One frame a call takes a tenth less time in a file that can do no more
# than that; whole files take a third less in one with a time axis.
_SHIPPED = Path(__file__).parents[1] / "models" / "concat_joint_4"
STREAMING_MODEL, WHOLE_FILE_MODEL = _SHIPPED / "streaming_int8.onnx", _SHIPPED / "whole_file_int8.onnx"
_STATE = "state_"
_SIGNAL = {"sample_rate": SAMPLE_RATE, "window": WINDOW, "hop": HOP, "power_floor": POWER_FLOOR}


class RuntimeModel:
    """What `dynsnet export` wrote, loaded; streams and enhancers share it.

    Attributes: `path`; `exits`, those in the file, ascending; `precision` (`fp32`, `int8`); `frames` a call (1, another
    number, or `any`); `signal` (`features`, `waveform`); `architecture`, a dict; `macs_per_frame`, a dict from exit to
    multiply-accumulates; `fingerprint`, which tells models apart; and of the graph `session`, `state_names` and
    `new_state_names`.

    Arguments
    ---------
    path : str, Path or None
        The `.onnx` file; None is the one in this package for streams.
    threads : int
        Cores to use. One frame is too little work for more than one.

    Raises
    ------
    InputError
        When the file is missing, damaged, another project's or of another version, or is not the one that the JSON file
        beside it describes.
    """

    def __init__(self, path: str | Path | None = None, threads: int = 1) -> None:
        self.path = STREAMING_MODEL if path is None else Path(path)
        try:
            content = _read(self.path)
            self.session = _open(content, threads)
            metadata = self.session.get_modelmeta().custom_metadata_map
        except ONNX_ERRORS as error:
            raise not_ours(self.path, error) from error
        facts = _facts(self.path, metadata)
        try:
            self.exits = tuple(int(exit) for exit in json.loads(facts["exits"]))
            self.precision = facts["precision"]
            self.frames: int | str = ANY if facts["frames"] == ANY else int(facts["frames"])
            self.signal = facts["signal"]
            self.architecture: dict[str, Any] = json.loads(facts["architecture"])
            self.macs_per_frame = dict(zip(self.exits, json.loads(facts["macs_per_frame"]), strict=True))
            weights, sealed = facts["weights_sha256"], facts[SEAL]
        except (KeyError, TypeError, ValueError) as error:
            raise not_ours(self.path, error) from error
        self._state_shapes: dict[str, list[int | str]] = {
            info.name: info.shape for info in self.session.get_inputs() if info.name.startswith(_STATE)
        }
        self.state_names = list(self._state_shapes)
        self.new_state_names = [f"new_{name}" for name in self.state_names]
        self.fingerprint = f"{weights} {self.precision} {list(self.exits)}"
        self._check()
        if not is_whole(content, sealed):
            raise not_ours(self.path, "it has changed since it was written")

    @property
    def has_choice(self) -> bool:
        """Whether the exit is an input of the graph."""
        return len(self.exits) > 1

    def check_exit(self, exit: int | None) -> int:
        """The exit (None: the deepest); InputError when it is not in the file."""
        if exit is None:
            return self.exits[-1]
        if exit in self.exits:
            return int(exit)
        if self.has_choice:
            raise InputError(f"{self.path}: no exit {exit}; choose one of {list(self.exits)}")
        raise InputError(f"{self.path}: this file holds exit {self.exits[0]} only, not {exit}: export that one")

    def initial_states(self, channels: int = 1) -> dict[str, NDArray[np.float32]]:
        """Zeros, by the name of the input; an axis without a number is that of the channels."""
        return {
            name: np.zeros([size if isinstance(size, int) else channels for size in shape], np.float32)
            for name, shape in self._state_shapes.items()
        }

    def _check(self) -> None:
        """InputError when the metadata is of some other graph than this."""
        inputs = {info.name: info.shape for info in self.session.get_inputs()}
        features = self.signal == FEATURES
        wanted = {"features"} if features else {"samples", "history", "overlap"}
        outputs = {"mask"} if features else {"enhanced", "new_history", "new_overlap"}
        wanted |= {"exit"} if self.has_choice else set()
        if (
            not self.exits
            or not isinstance(self.architecture, dict)
            or list(self.exits) != sorted(set(self.exits))
            or self.precision not in (FP32, INT8)
            or self.signal not in (FEATURES, WAVEFORM)
            or set(inputs) != wanted | set(self._state_shapes)
            or {info.name for info in self.session.get_outputs()} != outputs | set(self.new_state_names)
            or inputs["features" if features else "samples"][-1] != (BINS if features else HOP)
        ):
            raise not_ours(self.path, "its inputs and its metadata disagree")
        if differing := [name for name, value in _SIGNAL.items() if self.architecture.get(name) != value]:
            raise InputError(
                f"{self.path}: was trained with another {', '.join(differing)}; this runtime works at "
                + ", ".join(f"{name} {value}" for name, value in _SIGNAL.items())
            )


def _read(path: Path) -> bytes:
    """The file's content; InputError when it cannot be read, or when the JSON file beside it is about another one."""
    if not path.is_file():
        problem = "is a folder, no .onnx file" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {problem}; write one with `dynsnet export`")
    content = path.read_bytes()
    record = path.with_suffix(".json")
    if record.is_file():
        try:
            facts = json.loads(record.read_bytes())
        except ValueError as error:
            raise InputError(
                f"{record}: is damaged; export {path.name} again, or delete this file to go without its check"
            ) from error
        expected = facts.get("sha256") if isinstance(facts, dict) else None
        if expected is not None and expected != hashlib.sha256(content).hexdigest():
            raise InputError(f"{path}: damaged, or not the file that {record.name} is about; export it again")
    return content


def _open(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is said in one line
    # Between two frames there is nothing to wait for that is worth a busy core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Its fallback would print, and try the same again.
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def _facts(path: Path, metadata: Mapping[str, str]) -> Mapping[str, str]:
    """The metadata, of the version that this code reads."""
    version = metadata.get("format_version")
    if version is None and {"architecture", "exit"} <= set(metadata):
        raise InputError(f"{path}: an older version of this package wrote it; export it again")
    if version is None:
        raise not_ours(path, "it lacks our metadata")
    if not version.isdecimal() or int(version) < FORMAT_VERSION:
        raise InputError(f"{path}: its format is {version}, and this package reads {FORMAT_VERSION}; export it again")
    if int(version) > FORMAT_VERSION:
        raise InputError(
            f"{path}: its format is {version}, and this package reads {FORMAT_VERSION}; install a newer version"
        )
    return metadata


def not_ours(path: Path, reason: Exception | str) -> InputError:
    """The error for a file that is damaged or another project's."""
    told = " ".join(str(reason).split())[:120]
    return InputError(f"{path}: not a model that `dynsnet export` wrote ({told}); export it again")
