"""The trial set: a small generated data set in the folder layout of DNS-2020.

It shows that the whole pipeline works where no data has been downloaded yet. Its speech, noises and
rooms are synthetic, so a model trained on it is of no use on recordings.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.trial_noise import NOISES
from speechbrain_dynsnet.data.trial_speech import draw_voice, synthesise_speech
from speechbrain_dynsnet.errors import InputError

Signal = NDArray[np.float64]
Plan = dict[str, Callable[[], Signal]]

PEAK = 0.9  # no sample is louder: headroom below full scale

_README = """\
A generated trial set
=====================
This folder was written by speechbrain_dynsnet to check the training pipeline: synthetic speech-like
signals, noises and room responses in the folder layout of the DNS-2020 challenge, {rate} Hz, mono.
It is no substitute for recordings: a model trained on it is not usable. Train one on real data.

seed {seed}; {speakers} speakers with {clips_per_speaker} clips of {clip_s:g} s; \
{noises} noises of {noise_s:g} s; {impulse_responses} impulse responses.
The same numbers give the same files. The folder can be deleted at any time.
"""


def make_trial_set(
    folder: Path,
    seed: int = 0,
    *,
    speakers: int = 8,
    clips_per_speaker: int = 5,
    clip_s: float = 6.0,
    noises: int = 16,
    noise_s: float = 10.0,
    impulse_responses: int = 6,
) -> Path:
    """Write the trial set, unless it is there already.

    The set is written beside `folder` and renamed when it is whole, so that `folder` is never half
    a set, whenever the program is stopped and however many processes call this at once.

    Arguments
    ---------
    folder : Path
        Where `clean/`, `noise/`, `impulse_responses/` and `README.txt` will be.
    seed : int
        The same seed and sizes give the same files, bit for bit (on one machine: another's numpy
        may round differently). Every file has a random stream of its own, so that a change of one
        size leaves the other files as they are.
    speakers, clips_per_speaker : int
        How many there are.
    clip_s : float
        How long each clip of speech is, in seconds.
    noises : int
        How many there are.
    noise_s : float
        How long each of them is, in seconds.
    impulse_responses : int
        How many there are.

    Returns
    -------
    Path
        `folder`

    Raises
    ------
    InputError
        If `folder` holds something else, or a set of another seed or size.
    """
    folder = Path(folder)
    readme = _README.format(
        rate=SAMPLE_RATE,
        seed=seed,
        speakers=speakers,
        clips_per_speaker=clips_per_speaker,
        clip_s=clip_s,
        noises=noises,
        noise_s=noise_s,
        impulse_responses=impulse_responses,
    )
    plan = {
        **_plan_clean(seed, speakers, clips_per_speaker, clip_s),
        **_plan_noise(seed, noises, noise_s),
        **_plan_impulse_responses(seed, impulse_responses),
    }
    if _is_complete(folder, readme, plan):
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} is not this trial set, or part of it is missing: delete it, or choose another folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        unfinished = Path(temporary) / folder.name
        _write(unfinished, readme, plan)
        try:
            unfinished.rename(folder)
        except OSError:
            if not _is_complete(folder, readme, plan):  # else another process was faster
                raise
    return folder


def _is_complete(folder: Path, readme: str, plan: Plan) -> bool:
    note = folder / "README.txt"
    return (
        note.is_file()
        and note.read_text(encoding="utf-8") == readme
        and all((folder / name).is_file() for name in plan)
    )


def _write(folder: Path, readme: str, plan: Plan) -> None:
    for name, synthesise in plan.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(path, SAMPLE_RATE, np.round(synthesise() * 32767).astype(np.int16))
    (folder / "README.txt").write_text(readme, encoding="utf-8")


def _plan_clean(seed: int, speakers: int, clips: int, seconds: float) -> Plan:
    """Names as DNS-2020 has them: the speaker is the number after `reader`."""
    return {
        f"clean/book_{speaker:05d}_chp_0001_reader_{speaker:05d}_{clip}.wav": partial(
            _clean, seed, speaker, clip, seconds
        )
        for speaker in range(1, speakers + 1)
        for clip in range(clips)
    }


def _plan_noise(seed: int, count: int, seconds: float) -> Plan:
    """The kinds in turn, so that the first few files already hold different ones."""
    kinds = list(NOISES)
    return {
        f"noise/{kinds[i % len(kinds)]}_{i:03d}.wav": partial(_noise, seed, i, kinds[i % len(kinds)], seconds)
        for i in range(count)
    }


def _plan_impulse_responses(seed: int, count: int) -> Plan:
    """Reverberation times spread evenly from 0.2 to 0.8 s; each is in its file's name."""
    return {
        f"impulse_responses/room_{i:03d}_t60_{t60_s:.2f}s.wav": partial(_impulse_response, seed, i, t60_s)
        for i, t60_s in enumerate(np.linspace(0.2, 0.8, count))
    }


def _clean(seed: int, speaker: int, clip: int, seconds: float) -> Signal:
    voice = draw_voice(np.random.default_rng([seed, 0, speaker]))
    rng = np.random.default_rng([seed, 1, speaker, clip])
    return _at_level(synthesise_speech(voice, seconds, rng), rng.uniform(-32.0, -22.0))


def _noise(seed: int, index: int, kind: str, seconds: float) -> Signal:
    rng = np.random.default_rng([seed, 2, index])
    return _at_level(NOISES[kind](seconds, rng), rng.uniform(-34.0, -22.0))


def _impulse_response(seed: int, index: int, t60_s: float) -> Signal:
    """A direct path, a few early reflections, and noise that falls by 60 dB in `t60_s`.

    The reverberation is J. D. Polack's model of a diffuse field: Gaussian noise under an
    exponential. It starts where the early reflections do, and `reverberation_db` is its energy
    relative to the direct path.
    """
    rng = np.random.default_rng([seed, 3, index])
    onset = int(rng.integers(16, 64))  # up to 4 ms of air before the direct path arrives
    time_s = np.arange(round(1.1 * t60_s * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(time_s.size) * 10.0 ** (-3.0 * time_s / t60_s)
    tail[: round(0.003 * SAMPLE_RATE)] = 0.0
    early = rng.integers(round(0.003 * SAMPLE_RATE), round(0.03 * SAMPLE_RATE), size=6)
    tail[early] += rng.choice([-1.0, 1.0], size=6) * rng.uniform(2.0, 5.0, size=6)
    reverberation_db = rng.uniform(-8.0, 0.0)
    tail *= 10.0 ** (reverberation_db / 20.0) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    response = np.concatenate([np.zeros(onset), tail])
    return response * (PEAK / float(np.max(np.abs(response))))


def _at_level(signal: Signal, level_db: float) -> Signal:
    """Scale to an RMS of `level_db` relative to full scale, or less where peaks forbid it."""
    rms = float(np.sqrt(np.mean(signal**2)))
    gain: float = 10.0 ** (level_db / 20.0) / max(rms, 1e-12)
    return signal * min(gain, PEAK / max(float(np.max(np.abs(signal))), 1e-12))
