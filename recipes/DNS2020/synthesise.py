"""Noisy clips made beforehand, as the DNS-2020 challenge's synthesizer makes them.

python recipes/DNS2020/synthesise.py DIR OUT --total_hours 100

Options are named as in the challenge's noisyspeech_synthesizer.cfg. What is done otherwise than there, and why, is in
speechbrain_dynsnet/data/synthesis.py.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from speechbrain_dynsnet.data.clip_folder import ClipFolder, Row
from speechbrain_dynsnet.data.joining import speakers_heard_twice
from speechbrain_dynsnet.data.manifest import SPLITS, read_corpus, read_whole_corpus
from speechbrain_dynsnet.data.recordings import Recordings, open_recordings
from speechbrain_dynsnet.data.synthesis import TARGETS, SynthesisSettings, draw_clip, make_clip
from speechbrain_dynsnet.data.tracks import TrackList
from speechbrain_dynsnet.errors import InputError, one_line_errors
from speechbrain_dynsnet.processes import map_unordered

MOST_CLIPS = 1e9
NAMED = 5  # so many recordings that were skipped are named; the log has all


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("data", metavar="DIR", type=Path)
@click.argument("output", metavar="OUT", type=Path)
@click.option("--total_hours", type=float, required=True, help="Hours of clips. More can be added later.")
@click.option("--split", type=click.Choice([*SPLITS, "all"]), default="train", help="Which recordings.")
@click.option("--audio_length", default=30.0, help="Length of a clip, in seconds.")
@click.option("--silence_length", default=0.2, help="Silence between joined recordings, in seconds.")
@click.option("--snr_lower", default=0.0, help="Lowest SNR, in dB.")
@click.option("--snr_upper", default=40.0, help="Highest SNR, in dB.")
@click.option("--total_snrlevels", type=int, help="So many evenly spaced SNRs. [default: any between]")
@click.option("--randomize_snr", type=bool, default=True, help="False: every clip has the SNR --snr.")
@click.option("--snr", type=float, help="In dB, when not randomized. [default: the middle]")
@click.option("--target_level_lower", default=-35.0, help="Lowest level of a noisy clip, in dB full scale.")
@click.option("--target_level_upper", default=-15.0, help="Highest level, in dB full scale.")
@click.option("--clean_activity_threshold", default=0.6, help="More than this share of the speech is active.")
@click.option("--noise_activity_threshold", default=0.0, help="The same for noise. 0: any.")
@click.option("--reverb_probability", default=0.0, help="Share of clips with reverberant speech.")
@click.option("--target", type=click.Choice(TARGETS), default=TARGETS[0], help="Reverberant speech in clean/.")
@click.option("--seed", default=0, help="Another seed gives another set.")
@click.option(
    "--fileindex_start", type=click.IntRange(0), default=0,
    help="First file id: to share work out, each share into an OUT of its own.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), help="Processes.")
@click.option("--decoded", type=Path, default=Path("results/decoded"), help="Where decoded copies are kept.")
def main(
    data: Path,
    output: Path,
    total_hours: float,
    split: str,
    fileindex_start: int,
    jobs: int,
    decoded: Path,
    **options: Any,
) -> None:
    """Mix clips of speech and noise from DIR, a data folder or a manifest, into OUT.

    The same command goes on where it was stopped.
    """
    try:
        with one_line_errors():
            settings = SynthesisSettings(**options)
            ids = clip_ids(total_hours, settings.audio_length, fileindex_start)
            synthesise(read_recordings(data, split, decoded), settings, ClipFolder(output), ids, jobs)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def clip_ids(total_hours: float, audio_length: float, start: int) -> range:
    """The file ids that make so many hours."""
    clips = total_hours * 3600.0 / audio_length
    if not 0.5 <= clips < MOST_CLIPS:
        raise InputError(
            f"total_hours is {total_hours:g}: that is {clips:.0f} clips of {audio_length:g} s; ask for some"
        )
    return range(start, start + round(clips))


def read_recordings(data: Path, split: str, decoded: Path) -> Recordings:
    """The recordings to mix; names are relative to the data folder, or to the manifest's."""
    corpus = read_whole_corpus(data) if split == "all" else read_corpus(data, (split,))[split]
    return open_recordings(corpus, data if data.is_dir() else data.parent, decoded)


def synthesise(recordings: Recordings, settings: SynthesisSettings, folder: ClipFolder, ids: range, jobs: int) -> None:
    """Make the clips that are not there yet, and say what was done."""
    there = folder.finished(settings.samples)
    folder.check_space(sum(file_id not in there for file_id in ids), settings.samples)
    with folder.claim(asdict(settings) | {"recordings": recordings.fingerprint()}):
        # Once more: until now another run may have added some.
        finished = folder.finished(settings.samples)
        missing = [file_id for file_id in ids if file_id not in finished]
        kept = len(ids) - len(missing)
        warn_of_repetition(recordings.tracks.clean, settings)
        started = time.perf_counter()
        rows: list[Row] = []
        folder.write_log(finished.values())
        with tqdm(total=len(ids), initial=kept, unit="clip", disable=None) as bar:
            for row in map_unordered(Worker(recordings, settings, folder).make, missing, jobs):
                rows.append(row)
                folder.add_to_log(row)
                bar.update()
        folder.write_log([*finished.values(), *rows])
    report(rows, kept, settings.audio_length, time.perf_counter() - started, folder.path)


def warn_of_repetition(speech: TrackList, settings: SynthesisSettings) -> None:
    """A clip is one speaker's: say so when that is too little speech, as where names do not tell speakers apart."""
    if short := speakers_heard_twice(speech, settings.samples):
        click.echo(
            f"{len(short)} of {len(speech.group_names)} speakers, the first is {short[0]}, have less speech than the "
            f"{settings.audio_length:g} s of a clip, which repeats it; put each speaker's files into a folder of their "
            "own, or give a shorter --audio_length",
            err=True,
        )


@dataclass(frozen=True)
class Worker:
    """What a process needs to make any clip."""

    recordings: Recordings
    settings: SynthesisSettings
    folder: ClipFolder

    def make(self, file_id: int) -> Row:
        """Make and write one clip."""
        try:
            parameters = draw_clip(self.recordings, self.settings, file_id)
        except InputError as error:
            raise InputError(f"clip {file_id}: {error}") from error
        return self.folder.write(parameters, make_clip(parameters), self.recordings)


def report(rows: Sequence[Row], kept: int, audio_length: float, seconds: float, folder: Path) -> None:
    """Say what was made, how fast, and what was skipped."""
    made = len(rows) * audio_length
    speed = f", {made / seconds:.0f} times real time" if rows else ""
    click.echo(f"{folder}: {len(rows)} clips made ({made / 3600:.2f} h{speed}), {kept} were there")
    skipped = sorted({name for row in rows for name in row["skipped"].split(";") if name})
    if skipped:
        counts = Counter(name.partition(":")[0] for name in skipped)
        named = "; ".join(skipped[:NAMED]) + ("; ..." if len(skipped) > NAMED else "")
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
        click.echo(f"skipped recordings: {told} ({named})")
    if inactive := sum(int(row["inactive"]) for row in rows):
        click.echo(f"joined signals given up for too little activity: {inactive}")


if __name__ == "__main__":
    main()
