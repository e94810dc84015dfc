"""Read and write audio files: checked on the way in, never half-written on the way out."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechbrain_dynsnet.audio.formats import container_for, subtype_for
from speechbrain_dynsnet.errors import InputError

# Frames a call: libsndfile's Vorbis encoder puts a call on the stack, and a long one overflows it.
_BLOCK = 65536
_INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "ALAC_16": 16, "ALAC_24": 24}
_SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM; when writing, most often a full disk
# Full scale: 1, or 2^31 in unscaled integers. Far above, the spectral power overflows float32.
LARGEST_SAMPLE = 2.0**31


@dataclass(frozen=True, eq=False)
class Audio:
    """Samples, and what it takes to write them back as they came.

    Arguments
    ---------
    samples : array
        (channels, time), float32, full scale is 1.
    rate : int
        Samples a second, in Hz.
    format, subtype : str
        Container and encoding in libsndfile's words, such as `WAV` and `PCM_16`.
    """

    samples: NDArray[np.float32]
    rate: int
    format: str = "WAV"
    subtype: str = "PCM_16"


def read_audio(path: str | Path, start: int = 0, frames: int | None = None) -> Audio:
    """Read a file, or a part of it, in any format that libsndfile knows.

    Arguments
    ---------
    path : str or Path
        The file.
    start : int
        First frame (a sample of every channel) to read.
    frames : int or None
        How many frames to read at most. None reads to the end.

    Returns
    -------
    Audio
        At the file's own rate, with all of its channels.

    Raises
    ------
    InputError
        For a file that is missing, unreadable, empty, no audio or (where the format tells) cut short,
        or that holds no samples, or samples that are NaN, infinite or absurdly large.
    """
    path = Path(path)
    _check_readable(path)
    try:
        with soundfile.SoundFile(path) as file:
            if not 0 <= start <= file.frames:
                raise InputError(f"{path}: cannot start at frame {start}, the file has {file.frames}")
            if start:
                file.seek(start)
            blocks = list(_blocks(file, start, frames))
            rate, container, subtype = file.samplerate, file.format, file.subtype
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{path}: not audio that can be read, or damaged ({error.error_string.rstrip('.')}); "
            "convert it to WAV or FLAC"
        ) from error
    if not blocks:
        raise InputError(f"{path}: holds no samples from frame {start} on; give a file with audio in it")
    samples = np.ascontiguousarray(np.concatenate(blocks).T)
    _check_samples(samples, path, start, rate)
    return Audio(samples, rate, container, subtype)


def write_audio(path: str | Path, audio: Audio) -> None:
    """Write a file in the format that its name asks for; it appears whole or not at all.

    The encoding stays that of `audio` where the format has it. Integer formats clip what is
    beyond full scale. An existing file is replaced.

    Arguments
    ---------
    path : str or Path
        The file; its extension chooses the format.
    audio : Audio
        What to write.

    Raises
    ------
    InputError
        See `check_output`; and when the format cannot hold this rate or these channels, the
        samples are not finite, or the disk is full.
    """
    path = Path(path)
    check_output(path)
    if not np.isfinite(audio.samples).all():
        raise InputError(f"{path}: not written, because the samples to write hold NaN or infinity")
    container = container_for(path, audio.format)
    subtype = subtype_for(path, container, audio.subtype)
    samples = audio.samples
    if subtype not in ("FLOAT", "DOUBLE"):
        samples = samples.clip(-1.0, 1.0)  # encoders differ in what they do beyond full scale
    if bits := _INTEGER_BITS.get(subtype):
        # libsndfile rounds down: half a step of offset, unless the values are whole steps already.
        steps = np.float32(2.0 ** (bits - 1))
        samples = np.round(samples * steps) / steps
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    channels, length = samples.shape
    try:
        with soundfile.SoundFile(temporary, "w", audio.rate, channels, subtype, format=container) as file:
            for begin in range(0, length, _BLOCK):
                file.write(samples[:, begin : begin + _BLOCK].T)
        os.replace(temporary, path)
    except soundfile.LibsndfileError as error:
        if error.code == _SYSTEM_ERROR:
            free = shutil.disk_usage(path.parent).free
            raise InputError(
                f"{path}: cannot be written, {free / 1e6:,.1f} MB are free on the disk; make room or choose another "
                "output"
            ) from error
        raise InputError(
            f"{path}: cannot be written as {container}/{subtype} with {channels} channel(s) at "
            f"{audio.rate} Hz ({error.error_string.rstrip('.')}); try .wav, .flac or another folder"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another output") from error
    finally:
        temporary.unlink(missing_ok=True)


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


def _check_readable(path: Path) -> None:
    # libsndfile calls all of these "System error" or "Format not recognised".
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give an audio file")
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


def _blocks(file: soundfile.SoundFile, start: int, frames: int | None) -> Iterator[NDArray[np.float32]]:
    # The header of a cut file can promise more than there is (MP3): count what comes.
    promised = file.frames - start
    wanted = promised if frames is None else min(frames, promised)
    done = 0
    while done < wanted:
        block = file.read(min(_BLOCK, wanted - done), dtype="float32", always_2d=True)
        if not len(block):
            break
        done += len(block)
        yield block
    if done < wanted:
        raise InputError(
            f"{file.name}: is cut short or damaged, only {start + done} of {file.frames} frames can "
            "be read; fetch it again or convert what is left to WAV"
        )


def _check_samples(samples: NDArray[np.float32], path: Path, start: int, rate: int) -> None:
    bad = ~np.isfinite(samples)
    what = "NaN or infinite"
    if not bad.any():
        bad = np.abs(samples) > LARGEST_SAMPLE
        what = "absurdly large (full scale is 1)"
    if bad.any():
        frame, channel = np.argwhere(bad.T)[0]
        raise InputError(
            f"{path}: {bad.sum()} of {bad.size} samples are {what}, the first at "
            f"{(start + frame) / rate:.3f} s (frame {start + frame}, channel {channel}); "
            "repair or convert the file"
        )
