"""Read audio files block by block, every block checked: memory does not grow with the length of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.formats import BYTES, native_name
from speechbrain_dynsnet.audio.metadata import metadata_of
from speechbrain_dynsnet.audio.whole import check_whole, length_of_samples
from speechbrain_dynsnet.errors import InputError

Array = NDArray[np.float32]

# Full scale: 1, or 2^31 in unscaled integers. Far above, the spectral power overflows float32.
LARGEST_SAMPLE = 2.0**31
_UNKNOWN_LENGTH = 2**62  # and more: what libsndfile says of a FLAC file that came through a pipe


class AudioReader:
    """A file in any format that libsndfile knows, open for reading; a context manager.

    Attributes: `path`; `rate` in Hz; `channels`; `frames`, the samples of each channel that the header promises;
    `format` and `subtype` in libsndfile's words; `tags`, texts such as title and artist by name; `metadata`, where all
    is that the file holds besides samples; `bits_per_second`, without that.

    Arguments
    ---------
    path : str or Path
        The file.

    Raises
    ------
    InputError
        For a file that is missing, unreadable, empty or no audio, or cut short (see `check_whole`).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _check_readable(self.path)
        try:
            self._file = soundfile.SoundFile(native_name(self.path))
        except soundfile.LibsndfileError as error:
            raise self._damaged(error) from error
        check_whole(self.path)
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = self._file.frames
        self.format: str = self._file.format
        self.subtype: str = self._file.subtype
        if self.format == "W64" and self.subtype in BYTES and (length := length_of_samples(self.path)):
            # libsndfile takes what is behind the samples for samples, too.
            self.frames = min(self.frames, length // (self.channels * BYTES[self.subtype]))
        seconds = max(self.frames, 1) / self.rate
        self.metadata = metadata_of(self.path, self.format, self.subtype)
        self.bits_per_second = 8 * (self.path.stat().st_size - self.metadata.size) / seconds
        self.tags = {name: text for name, text in self._file.copy_metadata().items() if text}

    def blocks(self, size: int, start: int = 0, frames: int | None = None) -> Iterator[Array]:
        """The samples from a frame on.

        Arguments
        ---------
        size : int
            Frames (a sample of every channel) a block; the last has less.
        start : int
            First frame.
        frames : int or None
            How many at most. None goes to the end.

        Yields
        ------
        array
            (time, channels), float32, full scale is 1.

        Raises
        ------
        InputError
            When the file is damaged, holds nothing from there on or (where the format tells) is cut short, or a sample
            is NaN, infinite or absurdly large.
        """
        if not 0 <= start <= self.frames:
            raise InputError(f"{self.path}: cannot start at frame {start}, the file has {self.frames}")
        if self.frames >= _UNKNOWN_LENGTH:
            raise InputError(f"{self.path}: does not say how long it is; write it anew with another program, or as WAV")
        # The header of a cut file can promise more than there is (MP3): count what comes.
        end = self.frames if frames is None else min(self.frames, start + frames)
        done = start
        try:
            if start:
                self._file.seek(start)
            while done < end:
                wanted = min(size, end - done)
                block = self._file.read(wanted, dtype="float32", always_2d=True)
                if len(block):
                    self._check_samples(block, done)
                    done += len(block)
                if len(block) < wanted:
                    break  # not given: who has all that he needs may not ask for more, where it would be told
                yield block
        except soundfile.LibsndfileError as error:
            raise self._damaged(error) from error
        if done < end:
            raise InputError(
                f"{self.path}: is cut short or damaged, only {done} of {self.frames} frames can be read; fetch it "
                "again or convert what is left to WAV"
            )
        if done == start:
            raise InputError(f"{self.path}: holds no samples from frame {start} on; give a file with audio in it")

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _damaged(self, error: soundfile.LibsndfileError) -> InputError:
        return InputError(
            f"{self.path}: not audio that can be read, or damaged ({error.error_string.rstrip('.')}); "
            "convert it to WAV or FLAC"
        )

    def _check_samples(self, block: Array, done: int) -> None:
        if np.abs(block).max() <= LARGEST_SAMPLE:  # false for NaN
            return
        bad = ~(np.abs(block) <= LARGEST_SAMPLE)
        frame, channel = np.argwhere(bad)[0]
        what = "absurdly large (full scale is 1)" if np.isfinite(block[frame, channel]) else "NaN or infinite"
        raise InputError(
            f"{self.path}: holds samples that are {what}, the first at {(done + frame) / self.rate:.3f} s (frame "
            f"{done + frame}, channel {channel}); repair or convert the file"
        )


def _check_readable(path: Path) -> None:
    # libsndfile calls all of these "System error" or "Format not recognised".
    if path.is_dir():
        closed = not os.access(path, os.R_OK | os.X_OK)
        raise InputError(f"{path}: is a folder{' that you may not read' if closed else ''}; give an audio file")
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise InputError(f"{path}: not a regular file; save the audio to a file first")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: may not be read; check its permissions")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); give a file with audio in it")
    if path.suffix.lower() == ".raw":
        raise InputError(f"{path}: raw samples carry no rate or format; convert them to WAV first")
