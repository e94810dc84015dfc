"""A test set of the shape of DNS-2020's, from any speech and noise that was held out.

python recipes/DNS2020/make_test_set.py MANIFEST.csv OUT
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from tqdm import tqdm

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import Audio, write_audio
from speechbrain_dynsnet.data.joining import Joiner
from speechbrain_dynsnet.data.manifest import read_corpus
from speechbrain_dynsnet.data.mixing import Segment
from speechbrain_dynsnet.data.recordings import Recordings, open_recordings
from speechbrain_dynsnet.data.synthesis import Clip, ClipParameters, SynthesisSettings, make_clip, noisy_name
from speechbrain_dynsnet.data.tracks import Track, TrackList, Tracks
from speechbrain_dynsnet.errors import InputError, one_line_errors
from speechbrain_dynsnet.writing import write_table

COLUMNS = (
    *("file_id", "clean", "noisy", "snr_db", "level_dbfs", "level_reached_dbfs", "noise_category", "speaker"),
    *("speech", "noise", "impulse_response"),
)
T = TypeVar("T")
_CLIP, _SPEECH_ORDER, _NOISE_ORDER = range(3)  # first number of a random stream's seed


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("data", metavar="DIR", type=Path)
@click.argument("output", metavar="OUT", type=Path)
@click.option("--split", default="test", help="Which recordings.")
@click.option("--clips", type=click.IntRange(1), default=150, help="How many.")
@click.option("--audio_length", default=10.0, help="Length of a clip, in seconds.")
@click.option("--snr_lower", default=0.0, help="Lowest SNR, in dB.")
@click.option("--snr_upper", default=20.0, help="Highest SNR, in dB.")
@click.option("--target_level_lower", default=-35.0, help="Lowest level of a noisy clip, in dB full scale.")
@click.option("--target_level_upper", default=-15.0, help="Highest level, in dB full scale.")
@click.option("--clean_activity_threshold", default=0.45, help="More than this share of the speech is active.")
@click.option("--reverb_probability", default=0.0, help="Share of clips with reverberant speech.")
@click.option("--seed", default=0, help="Another seed gives another set.")
@click.option("--decoded", type=Path, default=Path("results/decoded"), help="Where decoded copies are kept.")
def main(data: Path, output: Path, split: str, clips: int, decoded: Path, **options: Any) -> None:
    """Mix a test set from DIR, a data folder or a manifest, into OUT, which appears whole or not at all.

    Noise categories are taken in turn, and within each its recordings; so are speakers. The same command makes the
    same files.
    """
    with one_line_errors():
        settings = SynthesisSettings(**options)
        if output.exists():
            raise InputError(f"{output}: exists; delete it, or give another folder for the test set")
        corpus = read_corpus(data, (split,))[split]
        recordings = open_recordings(corpus, data if data.is_dir() else data.parent, decoded)
        made = tqdm(make_set(recordings, settings, clips), total=clips, unit="clip", disable=None)
        identity = {"clips": clips, "split": split, "recordings": recordings.fingerprint()}
        write_set(made, recordings, asdict(settings) | identity, output)
        click.echo(f"{output}: {clips} clips of {settings.audio_length:g} s")


def make_set(
    recordings: Recordings, settings: SynthesisSettings, clips: int
) -> Iterator[tuple[ClipParameters, Clip, str]]:
    """The clips in their order, and the category of each one's noise; the same for the same arguments."""
    if settings.reverb_probability and not recordings.tracks.impulse_responses:
        raise InputError(f"{recordings.root}: no impulse responses for --reverb_probability; add some, or leave it out")
    first_speech = in_turn(recordings.tracks.clean, np.random.default_rng([_SPEECH_ORDER, settings.seed]))
    first_noise = in_turn(recordings.tracks.noise, np.random.default_rng([_NOISE_ORDER, settings.seed]))
    for file_id in range(clips):
        rng = np.random.default_rng([_CLIP, settings.seed, file_id])
        noise = next(first_noise)
        parameters = draw_clip(recordings, settings, file_id, next(first_speech), noise, rng)
        yield parameters, make_clip(parameters), noise.group


def in_turn(tracks: TrackList, rng: np.random.Generator) -> Iterator[Track]:
    """Tracks without end: one of each group, then another of each; in a group one after the other, and again."""
    within = {name: laps(tracks.of_group(name), rng) for name in tracks.group_names}
    for name in laps(tracks.group_names, rng):
        yield next(within[name])


def laps(items: Sequence[T], rng: np.random.Generator) -> Iterator[T]:
    """All items in a random order, then in another one, without end."""
    while True:
        for index in rng.permutation(len(items)):
            yield items[int(index)]


def draw_clip(
    recordings: Recordings,
    settings: SynthesisSettings,
    file_id: int,
    speech: Track,
    noise: Track,
    rng: np.random.Generator,
) -> ClipParameters:
    """A clip that begins with these recordings, or others of that speaker and category where they are of no use."""
    tracks = recordings.tracks
    own = Tracks(
        TrackList(tracks.clean.of_group(speech.group)),
        TrackList(tracks.noise.of_group(noise.group)),
        tracks.impulse_responses,
    )
    snr_db = float(rng.uniform(settings.snr_lower, settings.snr_upper))
    level_dbfs = float(rng.uniform(settings.target_level_lower, settings.target_level_upper))
    reverberant = rng.random() < settings.reverb_probability
    gap = round(settings.silence_length * SAMPLE_RATE)
    joiner = Joiner(replace(recordings, tracks=own), settings.samples, gap, rng)
    try:
        return ClipParameters(
            file_id=file_id,
            speaker=speech.group,
            speech=joiner.join_speech(speech, settings.clean_activity_threshold)[1],
            noise=joiner.join_noise(noise, settings.noise_activity_threshold),
            impulse_response=joiner.find_response() if reverberant else None,
            target=settings.target,
            snr_db=snr_db,
            level_dbfs=level_dbfs,
            skipped=joiner.skipped,
            inactive=joiner.inactive,
        )
    except InputError as error:
        raise InputError(f"clip {file_id} ({speech.group} in {noise.group}): {error}") from error


def write_set(
    clips: Iterable[tuple[ClipParameters, Clip, str]],
    recordings: Recordings,
    settings: Mapping[str, object],
    output: Path,
) -> None:
    """Write `clean/`, `noisy/`, `log.csv` and `settings.json`, and rename them into place when all are there."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as unfinished:
        folder = Path(unfinished) / output.name
        for kind in ("clean", "noisy"):
            (folder / kind).mkdir(parents=True)
        rows = []
        for parameters, clip, category in clips:
            names = {
                "clean": f"clean_fileid_{parameters.file_id}.wav",
                "noisy": noisy_name(parameters, clip, recordings.name),
            }
            for kind, signal in (("clean", clip.clean), ("noisy", clip.noisy)):
                write_audio(folder / kind / names[kind], Audio(signal[np.newaxis], SAMPLE_RATE))
            rows.append(_row(parameters, clip, category, recordings) | {k: f"{k}/{name}" for k, name in names.items()})
        write_table(folder / "log.csv", COLUMNS, rows)
        (folder / "settings.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        os.replace(folder, output)


def _row(parameters: ClipParameters, clip: Clip, category: str, recordings: Recordings) -> dict[str, str]:
    response = parameters.impulse_response
    return {
        "file_id": str(parameters.file_id),
        "snr_db": f"{parameters.snr_db:.3f}",
        "level_dbfs": f"{parameters.level_dbfs:.3f}",
        "level_reached_dbfs": f"{clip.level_dbfs:.3f}",
        "noise_category": category,
        "speaker": parameters.speaker,
        "speech": _names(parameters.speech, recordings),
        "noise": _names(parameters.noise, recordings),
        "impulse_response": _names((response,) if response else (), recordings),
    }


def _names(segments: Sequence[Segment], recordings: Recordings) -> str:
    """Each recording with the samples taken from it."""
    return ";".join(
        f"{recordings.name(segment.path)}[{segment.start}:{segment.start + segment.samples}]"
        for segment in segments
        if segment.path is not None
    )


if __name__ == "__main__":
    main()
