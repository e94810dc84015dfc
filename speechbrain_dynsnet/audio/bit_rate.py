"""The bit rate of lossy files: what an encoder must be told so that a result is as large as its source."""

from __future__ import annotations

from typing import Any

import numpy as np

# libsndfile's compression levels run from the most bits (0) to the fewest (1), linear in the bit rate, in kbit/s.
_MP3 = ((32000, 320, 32), (16000, 160, 8), (0, 64, 8))  # rates from this one on (Hz), most, fewest
# Below these bit rates the encoder resamples when they are to be constant, and files come out longer than they went in.
_MP3_LAST_CONSTANT_LEVEL = 0.7
_MP3_LAST_LEVEL = 0.999  # it refuses 1
_OPUS = (256, 6)  # of each channel
# Vorbis has qualities, level 1 to 0, with no more than typical bit rates: of two channels at 44.1 kHz.
_VORBIS_QUALITY = np.linspace(0.0, 1.0, 11)
_VORBIS = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)


def compression(subtype: str, rate: int, channels: int, bits_per_second: float) -> dict[str, Any]:
    """Keyword arguments of `soundfile.SoundFile` for a file of about this bit rate; none for what is not lossy.

    Arguments
    ---------
    subtype : str
        The encoding, in libsndfile's words.
    rate : int
        Hz.
    channels : int
        How many.
    bits_per_second : float
        Of the source.

    Returns
    -------
    dict
        `compression_level`, for MP3 `bitrate_mode` too; empty for what is not lossy.
    """
    kilobits = bits_per_second / 1000
    if subtype == "MPEG_LAYER_III":
        most, fewest = next((most, fewest) for least, most, fewest in _MP3 if rate >= least)
        level = max(0.0, (most - kilobits) / (most - fewest))
        mode = "CONSTANT" if level <= _MP3_LAST_CONSTANT_LEVEL else "AVERAGE"
        return {"compression_level": min(level, _MP3_LAST_LEVEL), "bitrate_mode": mode}
    if subtype == "OPUS":
        most, fewest = _OPUS
        return {"compression_level": float(np.clip((most - kilobits / channels) / (most - fewest), 0.0, 1.0))}
    if subtype == "VORBIS":
        like = kilobits * (2 / channels) * (44100 / rate)
        return {"compression_level": float(1.0 - np.interp(like, _VORBIS, _VORBIS_QUALITY))}
    return {}
