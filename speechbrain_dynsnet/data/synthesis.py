"""The DNS-2020 challenge's synthesizer: long clips of speech in noise, drawn into a dataclass, then made from it.

Clip n is a pure function of (settings, recordings, n), so any process may make it, at any time, again.
The original (github.com/microsoft/DNS-Challenge, branch interspeech2020/master: noisyspeech_synthesizer_*.py,
audiolib.py) is followed in its file names, options, joining, checks and levels, but for these faults of it:

- SNR and level are drawn as integers below the upper bound, which is never reached. Here: any value in the range.
- `segmental_snr_mixer` brings speech and noise to one active level, then scales the noise by the ratio of the levels
  from before that: the SNR is off by that ratio, several dB either way. Here: the levels at hand.
- `active_rms` takes 20 log10 of a power, so that its threshold of -50 dB acts at -25 dB; and only the noise decides
  which parts of the speech count. Here: both levels by `levels.active_rms`, each over the signal's own active frames.
- `snr_mixer` hands back the noise from before it was scaled, so that noisy is not clean + noise. Here: as mixed.
- The level of a clip that was scaled down is cut towards zero in its file's name. Here: rounded.
- A clip is joined from whatever utterances follow each other in a shuffled list. Here: from one speaker's.
- Files depend on the number of processes, which all draw the same numbers, and on their timing. Here: on seed and
  file id.
- `total_snrlevels` is never read. Here: so many levels from the lower to the upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.data.joining import Joiner
from speechbrain_dynsnet.data.levels import active_rms, rms
from speechbrain_dynsnet.data.mixing import PEAK, Segment, join_segments, reverberate
from speechbrain_dynsnet.data.recordings import Recordings
from speechbrain_dynsnet.data.tracks import Track
from speechbrain_dynsnet.errors import InputError

TARGETS = ("reverberant", "early")
_EARLY = round(0.05 * SAMPLE_RATE)  # samples after the direct path that still belong to the early part
_NAME_BYTES = 100  # of the recordings' names in a noisy file's name; file systems end at 255
_CLIP, _SPEECH_ORDER, _NOISE_ORDER = range(3)  # first number of a random stream's seed


@dataclass(frozen=True)
class SynthesisSettings:
    """What clips are drawn from. The names, and the defaults but for reverberation, are the challenge's.

    Arguments
    ---------
    audio_length : float
        Length of a clip, in seconds.
    silence_length : float
        Silence between joined recordings, in seconds.
    snr_lower, snr_upper : float
        Range of the ratio of active speech to active noise, in dB.
    total_snrlevels : int or None
        Draw from so many SNRs, evenly spaced from lower to upper; None draws any value between.
    randomize_snr : bool
        False gives every clip the same SNR.
    snr : float or None
        That SNR, in dB; None is the middle of the range.
    target_level_lower, target_level_upper : float
        Range of the RMS level of the noisy clip, in dB full scale.
    clean_activity_threshold, noise_activity_threshold : float
        A joined signal is used when more than this share of it is active (see `activity`); 0 uses any.
    reverb_probability : float
        Share of clips whose speech is convolved with an impulse response.
    target : str
        What of reverberant speech goes into the clean file: `reverberant`, all of it, or `early`, the direct path and
        the 50 ms after it. The noisy file has all of it either way.
    seed : int
        Another seed is another set.
    """

    audio_length: float = 30.0
    silence_length: float = 0.2
    snr_lower: float = 0.0
    snr_upper: float = 40.0
    total_snrlevels: int | None = None
    randomize_snr: bool = True
    snr: float | None = None
    target_level_lower: float = -35.0
    target_level_upper: float = -15.0
    clean_activity_threshold: float = 0.6
    noise_activity_threshold: float = 0.0
    reverb_probability: float = 0.0
    target: str = "reverberant"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1.0 / SAMPLE_RATE <= self.audio_length < np.inf:
            raise InputError(f"audio_length is {self.audio_length}: give a length in seconds, such as 30")
        if not 0.0 <= self.silence_length < np.inf:
            raise InputError(f"silence_length is {self.silence_length}: give a length in seconds, such as 0.2")
        for name in ("snr", "target_level"):
            lower, upper = getattr(self, f"{name}_lower"), getattr(self, f"{name}_upper")
            if not lower <= upper:
                raise InputError(f"{name}_lower is {lower} and {name}_upper {upper}: the lower one must not be above")
        if self.total_snrlevels is not None and self.total_snrlevels < 1:
            raise InputError(f"total_snrlevels is {self.total_snrlevels}: give at least 1")
        if self.snr is not None and self.randomize_snr:
            raise InputError(f"snr is {self.snr}, but SNRs are drawn: set randomize_snr to false too")
        for name in ("clean_activity_threshold", "noise_activity_threshold"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name} is {getattr(self, name)}: give a share from 0 to below 1")
        if not 0.0 <= self.reverb_probability <= 1.0:
            raise InputError(f"reverb_probability is {self.reverb_probability}: give a share from 0 to 1")
        if self.target not in TARGETS:
            raise InputError(f"target is {self.target!r}: it is one of {', '.join(TARGETS)}")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}: give 0 or more")

    @property
    def samples(self) -> int:
        """Length of a clip at 16 kHz."""
        return round(self.audio_length * SAMPLE_RATE)


@dataclass(frozen=True)
class ClipParameters:
    """One clip, before it is made.

    `skipped` says which recordings were drawn for it but are `clipped`, `silent` or `unreadable` there, and `inactive`
    how many joined signals were given up for too little activity.
    """

    file_id: int
    speaker: str
    speech: tuple[Segment, ...]
    noise: tuple[Segment, ...]
    impulse_response: Segment | None
    target: str
    snr_db: float
    level_dbfs: float
    skipped: Mapping[str, str]
    inactive: int


@dataclass(frozen=True, eq=False)
class Clip:
    """What is written, float32 (time,).

    `level_dbfs` is that of `noisy`; peaks may keep it below the one drawn.
    """

    noisy: np.ndarray
    clean: np.ndarray
    noise: np.ndarray
    level_dbfs: float


def draw_clip(recordings: Recordings, settings: SynthesisSettings, file_id: int) -> ClipParameters:
    """Draw clip number `file_id`.

    The clips of one set begin with one recording after the other, of speech and of noise, in a random order: none
    comes a second time before all have come. What else a clip holds is drawn for it alone.

    Raises
    ------
    InputError
        When nothing usable is found: all clipped, silent or unreadable, or too little activity.
    """
    rng = np.random.default_rng([_CLIP, settings.seed, file_id])
    snr_db = _draw_snr(settings, rng)
    level_dbfs = float(rng.uniform(settings.target_level_lower, settings.target_level_upper))
    reverberant = rng.random() < settings.reverb_probability
    tracks = recordings.tracks
    if settings.reverb_probability > 0.0 and not tracks.impulse_responses:
        raise InputError(
            f"{recordings.root}: no impulse_responses/ for reverb_probability {settings.reverb_probability:g}; "
            "add some, or set it to 0"
        )
    joiner = Joiner(recordings, settings.samples, round(settings.silence_length * SAMPLE_RATE), rng)
    response = joiner.find_response() if reverberant else None
    first = _nth(tracks.clean, [_SPEECH_ORDER, settings.seed], file_id)
    speaker, speech = joiner.join_speech(first, settings.clean_activity_threshold)
    first = _nth(tracks.noise, [_NOISE_ORDER, settings.seed], file_id)
    noise = joiner.join_noise(first, settings.noise_activity_threshold)
    return ClipParameters(
        file_id=file_id,
        speaker=speaker,
        speech=speech,
        noise=noise,
        impulse_response=response,
        target=settings.target,
        snr_db=snr_db,
        level_dbfs=level_dbfs,
        skipped=joiner.skipped,
        inactive=joiner.inactive,
    )


def make_clip(parameters: ClipParameters) -> Clip:
    """Make the clip: a pure function of its parameters and the files they name.

    The SNR is that of the speech as it is heard, with its reverberation, whatever the target. No signal exceeds 0.99:
    where one would, all three are scaled down.
    """
    dry = join_segments(parameters.speech)
    target = speech = dry
    if parameters.impulse_response is not None:
        response = join_segments((parameters.impulse_response,))
        target = speech = reverberate(dry, response)
        if parameters.target == "early":
            target = reverberate(dry, early_part(response))
    noise = join_segments(parameters.noise)
    noise *= active_rms(speech) / active_rms(noise) * 10.0 ** (-parameters.snr_db / 20.0)
    noisy = speech + noise
    gain = 10.0 ** (parameters.level_dbfs / 20.0) / rms(noisy)
    gain = min(gain, PEAK / max(float(np.abs(signal).max()) for signal in (noisy, target, noise)))
    return Clip(
        noisy=(gain * noisy).astype(np.float32),
        clean=(gain * target).astype(np.float32),
        noise=(gain * noise).astype(np.float32),
        level_dbfs=float(20.0 * np.log10(gain * rms(noisy))),
    )


def early_part(response: np.ndarray) -> np.ndarray:
    """An impulse response up to 50 ms after its direct path, which is its largest value."""
    return response[: int(np.abs(response).argmax()) + 1 + _EARLY]


def noisy_name(parameters: ClipParameters, clip: Clip, name: Callable[[str], str]) -> str:
    """The challenge's name for the noisy file, with SNR and level rounded to whole dB, as its readers expect.

    Arguments
    ---------
    parameters, clip : ClipParameters, Clip
        The clip.
    name : callable
        Gives the recording's name for the path of a track.

    Returns
    -------
    str
        With its extension, `.wav`.
    """
    speech, noise = (
        "-".join(Path(name(segment.path)).stem for segment in segments if segment.path is not None)
        # By bytes, since that is how file systems count.
        .encode()[:_NAME_BYTES]
        .decode(errors="ignore")
        for segments in (parameters.speech, parameters.noise)
    )
    levels = f"snr{round(parameters.snr_db)}_tl{round(clip.level_dbfs)}"
    return f"{speech}_{noise}_{levels}_fileid_{parameters.file_id}.wav"


def _draw_snr(settings: SynthesisSettings, rng: np.random.Generator) -> float:
    lower, upper = settings.snr_lower, settings.snr_upper
    if not settings.randomize_snr:
        return float(settings.snr if settings.snr is not None else (lower + upper) / 2.0)
    if settings.total_snrlevels is not None:
        return float(rng.choice(np.linspace(lower, upper, settings.total_snrlevels)))
    return float(rng.uniform(lower, upper))


def _nth(tracks: Sequence[Track], stream: Sequence[int], n: int) -> Track:
    """The n-th of an endless series that goes through all tracks in a random order, then in another one."""
    lap, place = divmod(n, len(tracks))
    order = np.random.default_rng([*stream, lap]).permutation(len(tracks))
    return tracks[int(order[place])]
