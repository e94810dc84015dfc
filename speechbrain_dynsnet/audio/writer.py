"""Write audio files block by block; they appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.bit_rate import compression
from speechbrain_dynsnet.audio.formats import container_for, subtype_for
from speechbrain_dynsnet.audio.metadata import Metadata
from speechbrain_dynsnet.audio.unfinished import copy_permissions, unfinished_beside
from speechbrain_dynsnet.errors import InputError

Array = NDArray[np.float32]

# Frames a call: libsndfile's Vorbis encoder puts a call on the stack, and a long one overflows it.
_BLOCK = 65536
_INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "ALAC_16": 16, "ALAC_24": 24}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ASCII_TAGS = ("MP3", "AIFF")  # libsndfile garbles others there


class AudioWriter:
    """A file that is being written, under a temporary name until all of it is there; a context manager.

    An existing file is replaced at the end, with its owner and permissions; an error that ends the context leaves it.
    The encoding stays where the format has it. Integer formats round; what is beyond full scale is clipped and counted.
    Attributes: `format` and `subtype`, those of the file; `clipped`, how many samples so far.

    Arguments
    ---------
    path : str or Path
        The file; its extension chooses the format.
    rate, channels : int
        Samples a second in Hz, and how many channels.
    format, subtype : str
        Container and encoding of the input, in libsndfile's words.
    frames : int
        Samples of each channel that are to come, for formats that have room for 4 GB.
    tags : mapping
        Texts by name, such as `title`; written where the format has them and there is no fitting `metadata`.
    bits_per_second : float or None
        Of the input, for a lossy result in the same encoding; None is the encoder's default.
    metadata : Metadata or None
        What the input carries besides samples: copied byte for byte into a file of its kind.

    Raises
    ------
    InputError
        See `check_output`; and when the format cannot hold this rate, these channels or so much, the samples are not
        finite, or the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        rate: int,
        channels: int,
        format: str,
        subtype: str,
        frames: int,
        tags: Mapping[str, str] | None = None,
        bits_per_second: float | None = None,
        metadata: Metadata | None = None,
    ) -> None:
        self.path = Path(path)
        check_output(self.path)
        wanted = container_for(self.path, format)
        self.subtype = subtype_for(self.path, wanted, subtype)
        self.format = container_for(self.path, format, self.subtype, channels * frames)
        if self.subtype.startswith("ALAC"):
            _check_room_for_alac(self.path, 4 * channels * frames)
        self.clipped = 0
        self._rate, self._channels = rate, channels
        self._metadata = metadata if metadata is not None and metadata.fits(self.format, self.subtype) else None
        self._tags = dict(tags or {})
        same = bits_per_second is not None and self.subtype == subtype
        self._compression = compression(subtype, rate, channels, bits_per_second or 0.0) if same else {}
        self._disk: _Disk | None = None

    def write(self, samples: Array) -> None:
        """Add (time, channels) float32, full scale is 1; any length. InputError for NaN and infinity."""
        if not np.isfinite(samples).all():
            raise InputError(f"{self.path}: not written, because the samples to write hold NaN or infinity")
        if self.subtype not in ("FLOAT", "DOUBLE"):
            self.clipped += int(np.count_nonzero(np.abs(samples) > 1.0))
            samples = samples.clip(-1.0, 1.0)  # encoders differ in what they do beyond full scale
        if bits := _INTEGER_BITS.get(self.subtype):
            # libsndfile rounds down: half a step of offset, unless the values are whole steps already.
            steps = np.float32(2.0 ** (bits - 1))
            samples = np.round(samples * steps) / steps
        with self._one_line_errors():
            for begin in range(0, len(samples), _BLOCK):
                self._file.write(samples[begin : begin + _BLOCK])

    def __enter__(self) -> AudioWriter:
        with self._one_line_errors(), ExitStack() as undo:
            self._temporary, file = undo.enter_context(unfinished_beside(self.path))
            self._disk = _Disk(file)
            self._file = soundfile.SoundFile(
                self._disk, "w", self._rate, self._channels, self.subtype, format=self.format, **self._compression
            )
            undo.callback(self._close_anyhow)
            if self._metadata is not None:
                self._source = undo.enter_context(self._metadata.open())
            if self._metadata is None or not self._metadata.parts:
                self._write_tags()
            self._disk.check()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._undo:
            if kind is not None:
                return
            with self._one_line_errors():
                self._file.close()
            with self._one_line_errors():
                if self._metadata is not None:
                    self._metadata.copy(self._source, self._temporary)
                if self.path.exists():
                    copy_permissions(self.path, self._temporary)
                    with self._temporary.open("rb") as file:
                        os.fsync(file.fileno())  # a power cut must not leave less than there was
                os.replace(self._temporary, self.path)

    def _close_anyhow(self) -> None:
        with suppress(soundfile.LibsndfileError):  # there is an error already, and it is the one to tell
            self._file.close()

    def _write_tags(self) -> None:
        for name, text in self._tags.items():
            if self.format in _ASCII_TAGS and not text.isascii():
                continue
            try:
                setattr(self._file, name, text)
            except soundfile.LibsndfileError:
                return  # this container has no texts

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        """What goes wrong on the disk or in libsndfile, as an InputError."""
        try:
            try:
                yield
            finally:
                if self._disk is not None:
                    self._disk.check()  # it knows better than libsndfile
        except (OSError, soundfile.LibsndfileError) as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError | soundfile.LibsndfileError) -> InputError:
        if isinstance(error, soundfile.LibsndfileError):
            return InputError(
                f"{self.path}: cannot be written as {self.format}/{self.subtype} with {self._channels} channel(s) at "
                f"{self._rate} Hz ({error.error_string.rstrip('.')}); try .wav, .flac or another folder"
            )
        if error.errno in _NO_ROOM:
            free = shutil.disk_usage(self.path.parent).free
            return InputError(
                f"{self.path}: cannot be written, {free / 1e6:,.1f} MB are free on the disk; make room or choose "
                "another output"
            )
        return InputError(f"{self.path}: cannot be written ({error.strerror}); choose another output")


def _check_room_for_alac(path: Path, size: int) -> None:
    # libsndfile first writes it to the system's temporary folder, and crashes when that is full.
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"{path}: ALAC needs up to {size / 1e6:,.1f} MB in {folder}, and {free / 1e6:,.1f} MB are free there; make "
            "room, or give a name that ends in .flac"
        )


class _Disk:
    """A file for libsndfile, which forgets some of a disk's errors: in its encoders, and when it closes.

    Arguments
    ---------
    file : FileIO
        Open, without a buffer.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self._problem: BaseException | None = None

    def write(self, data: bytes) -> int:
        """As that of a file, but for errors: C calls this, where none can be raised."""
        done = 0
        try:
            while done < len(data):
                done += self._file.write(data[done:])
        except BaseException as problem:  # that somebody interrupts, too
            self._problem = self._problem or problem
        return done

    def check(self) -> None:
        """Raise the first error of `write`, once."""
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem


def check_output(path: str | Path, source: str | Path | None = None) -> None:
    """Find out before any work whether a file can be written, without touching the disk.

    Arguments
    ---------
    path : str or Path
        The file to write.
    source : str or Path or None
        The file that is read, which must not be written over.

    Raises
    ------
    InputError
        When the folder is missing or not writable, the path is a folder, the extension is no known
        format, or the output is the source.
    """
    path = Path(path)
    container_for(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file to write")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{path}: is read-only; choose another output")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: the folder {path.parent} is not writable; choose another output")
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise InputError(f"{path}: is the input itself; give another name, so that the recording stays")
