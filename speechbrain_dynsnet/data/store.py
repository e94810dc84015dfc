"""Audio that segments can be cut from at any place, cheaply.

Training reads a few seconds at a random place of a random file, thousands of times a minute. A 16 kHz mono WAV or
FLAC serves that as it is; anything else (lossy formats seek slowly, other rates need resampling) is decoded once
into a WAV in a folder that runs share.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.data.manifest import Source
from speechbrain_dynsnet.data.tracks import Track
from speechbrain_dynsnet.errors import InputError

logger = logging.getLogger(__name__)
_SEEKABLE = ("WAV", "WAVEX", "FLAC", "RF64", "W64")
_FINE = ("FLOAT", "DOUBLE", "PCM_24", "PCM_32")  # finer than 16 bits: decoded to float
_NAMED = 20  # so many unreadable files are named; the rest are counted


def open_tracks(sources: Iterable[Source], decoded_folder: str | Path) -> list[Track]:
    """A track for each readable source, in the same order.

    Arguments
    ---------
    sources : iterable of Source
        Files of any format that libsndfile reads.
    decoded_folder : str or Path
        Where decoded copies are kept, under names that change with the file.

    Returns
    -------
    list of Track
        Files that cannot be read, or hold no samples or bad ones, are left out and named in one warning.

    Raises
    ------
    InputError
        When not one of them can be read, or a decoded copy cannot be written.
    """
    sources = list(sources)
    folder = Path(decoded_folder)
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda source: _open(source, folder), sources)
        tracks = list(tqdm(results, total=len(sources), desc="audio files", unit="file", leave=False, disable=None))
    failures = [result for result in tracks if isinstance(result, InputError)]
    if failures:
        named = "; ".join(map(str, failures[:_NAMED])) + ("; ..." if len(failures) > _NAMED else "")
        logger.warning("%d of %d audio files left out: %s", len(failures), len(sources), named)
    if sources and len(failures) == len(sources):
        raise InputError(f"none of {len(sources)} audio files can be read; the first: {failures[0]}")
    return [track for track in tracks if isinstance(track, Track)]


def read_segment(path: str, start: int, samples: int) -> np.ndarray:
    """`samples` float32 values of a track from sample `start` on; InputError when they cannot be read."""
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(start)
            segment = np.asarray(file.read(samples, dtype="float32"))
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{path}: was readable when it was opened, and is not any more ({error})") from error
    if len(segment) != samples:
        raise InputError(f"{path}: ends before the length that it had when it was opened")
    return segment


def _open(source: Source, decoded_folder: Path) -> Track | InputError:
    try:
        if samples := _seekable_samples(source.path):
            return Track(str(source.path), samples, source.group)
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: a .raw file
        return InputError(f"{source.path}: not readable as audio ({error})")
    status = source.path.stat()
    identity = f"{source.path.resolve()} {status.st_size} {status.st_mtime_ns}"
    decoded = decoded_folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.wav"
    if not _is_whole(decoded):
        try:
            audio = read_audio(source.path)
        except InputError as error:
            return error
        _write_decoded(audio, source.kind, decoded)  # what goes wrong here, as a full disk, is not its fault
    return Track(str(decoded), soundfile.info(str(decoded)).frames, source.group)


def _seekable_samples(path: Path) -> int:
    """How many samples can be read from the file as it is; 0 when it has to be decoded, or is empty."""
    with soundfile.SoundFile(path) as file:
        # Floating point may hold NaN: decoding finds out.
        is_plain = file.format in _SEEKABLE and file.subtype not in ("FLOAT", "DOUBLE")
        if not is_plain or (file.samplerate, file.channels) != (SAMPLE_RATE, 1) or not file.frames:
            return 0
        file.seek(file.frames - 1)  # the header of a cut file promises more than there is
        return int(file.frames) if len(file.read(1)) else 0


def _is_whole(decoded: Path) -> bool:
    try:
        return bool(soundfile.info(str(decoded)).frames)
    except soundfile.LibsndfileError:  # not there, or a power cut left it empty
        return False


def _write_decoded(audio: Audio, kind: str, decoded: Path) -> None:
    subtype = "FLOAT" if audio.subtype in _FINE else "PCM_16"
    # The mean of the microphones in a room would have echoes that no place in it has.
    channel = audio.samples[:1] if kind == "impulse_responses" else audio.samples.mean(axis=0, keepdims=True)
    write_audio(decoded, Audio(resample(channel, audio.rate, SAMPLE_RATE), SAMPLE_RATE, "WAV", subtype))
