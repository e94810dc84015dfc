"""One self-contained page about enhanced files: what they look and sound like before and after, and their figures."""

from __future__ import annotations

import math
import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from tqdm import tqdm

from speechbrain_dynsnet import __version__
from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.enhancement import FileFacts, MaskModel, Settings
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.audio.suppressor import suppressor_for
from speechbrain_dynsnet.errors import InputError, one_line, printable
from speechbrain_dynsnet.evaluation import plain_pictures
from speechbrain_dynsnet.evaluation.excerpts import EXCERPT_S, PLAYED_CHANNELS, Excerpts, read_excerpts
from speechbrain_dynsnet.evaluation.pictures import RANGE_DB
from speechbrain_dynsnet.writing import appearing, check_writable

if TYPE_CHECKING:
    from speechbrain_dynsnet.evaluation.excerpt_scores import Scored

Array = NDArray[np.float32]
Masks = Callable[[Array, int], Array]
"""A clip, (channels, time) at 16 kHz, and its recording's rate to masks, (frames, channels or 1, 257) in [0, 1]."""

PAGE_BYTES = 64_000_000
"""Players and pictures of a page: files that come after are in the table alone, for browsers hold a page in memory."""

_DIRECTION = {"follow": "lowered as the band below it", "drop": "removed", "keep": "as it was"}


@dataclass(frozen=True)
class ReportedFile:
    """A recording and its result.

    Arguments
    ---------
    noisy, enhanced : Path
        The files, which are read again for the page.
    facts : FileFacts
        What `enhance_file` returned.
    took_s : float or None
        Seconds that it took; None when nobody measured.
    """

    noisy: Path
    enhanced: Path
    facts: FileFacts
    took_s: float | None = None


def check_report(path: Path) -> None:
    """InputError when a page cannot be written there, before any work and without touching the disk."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path}: give a file name that ends in .html")
    check_writable(path, "page")


def masks_of_model(model: MaskModel, settings: Settings) -> Masks:
    """The masks that a model gives with these settings, limited and linked as in a file; before `mix`.

    Raises
    ------
    InputError
        When the model has no such exit.
    """
    model.check_exit(settings.exit)

    def masks(clip: Array, rate: int) -> Array:
        samples = clip.T if settings.way_of(len(clip)) != "mono" else clip.mean(axis=0)[:, np.newaxis]
        suppressor = suppressor_for(model, rate, len(clip), settings)
        return np.concatenate([suppressor.process(samples).masks, suppressor.finish().masks])

    return masks


def write_report(
    files: Sequence[ReportedFile],
    path: Path,
    *,
    model_name: str,
    settings: Settings,
    dnsmos: bool = False,
    masks: Masks | None = None,
    jobs: int = 1,
) -> None:
    """Write a page with a table of all files and, for each, spectrograms, mask and players.

    Pictures, players and scores are of the first 30 s. A file that cannot be read any more is in the page with the
    reason.

    Arguments
    ---------
    files : sequence of ReportedFile
        In the order of the page.
    path : Path
        The page, HTML. It appears whole or not at all.
    model_name : str
        What did it.
    settings : Settings
        With what.
    dnsmos : bool
        Score each file before and after by DNSMOS P.808 and P.835, which takes some 5 s for 30 s of audio.
    masks : callable or None
        Gives the mask of a clip; see `masks_of_model`. None shows the ratio of the spectra instead.
    jobs : int
        Processes to score in.

    Raises
    ------
    InputError
        When there are no files, or the page cannot be written.
    """
    if not files:
        raise InputError(f"{path}: no files were enhanced, so there is nothing to report")
    check_report(path)
    scores, scales = _score(files, jobs) if dnsmos else ([None] * len(files), ())
    entries = list(_entries(files, scores, masks))
    environment = Environment(
        loader=PackageLoader("speechbrain_dynsnet.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").generate(
        entries=entries,
        total=_total(files, scores, scales),
        scales=scales,
        settings={"Folder": printable(_common_folder(files))} | _settings(settings, model_name, files[0].facts.exit),
        excerpt_s=EXCERPT_S,
        channels=PLAYED_CHANNELS,
        page_mb=PAGE_BYTES // 1_000_000,
        has_masks=masks is not None,
        level_colours=plain_pictures.gradient(plain_pictures.LEVEL_COLOURS),
        gain_colours=plain_pictures.gradient(plain_pictures.GAIN_COLOURS),
        range_db=round(RANGE_DB),
        version=__version__,
    )
    with appearing(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        file.writelines(page)


@dataclass(frozen=True)
class _Picture:
    title: str
    alt: str
    source: str  # a data: address
    seconds: list[tuple[float, str]]  # ticks: place from 0 to 1, and text
    khz: list[tuple[float, str]]
    player: str = ""  # a data: address


@dataclass(frozen=True)
class _Shown:
    """What a page has of a file besides its row of the table."""

    pictures: list[_Picture]
    remarks: list[str]

    @property
    def size(self) -> int:
        """In bytes, about."""
        return sum(len(picture.source) + len(picture.player) for picture in self.pictures)


@dataclass(frozen=True)
class _Entry:
    number: int
    name: str
    noisy: str
    enhanced: str
    cells: dict[str, str]
    scores: list[tuple[str, str]]  # before and after on each scale
    score_failure: str
    shown: _Shown | None
    problem: str


def _entries(files: Sequence[ReportedFile], scores: Sequence[Scored | None], masks: Masks | None) -> Iterator[_Entry]:
    room = PAGE_BYTES
    folder = _common_folder(files)
    bar = tqdm(files, desc="report", unit="file", disable=None)
    for number, (file, scored) in enumerate(zip(bar, scores, strict=True), 1):
        name = printable(os.path.relpath(file.noisy, folder))
        shown, problem = None, ""
        if room > 0:
            try:
                excerpts = read_excerpts(file.noisy, file.enhanced, file.facts)
                shown = _show(file, name, excerpts, masks)
            except InputError as error:
                problem = one_line(error)
        if shown is not None:
            room -= shown.size
        if room < 0:
            shown = None  # and nothing of those that follow
        yield _Entry(
            number,
            name,
            printable(str(file.noisy)),
            printable(str(file.enhanced)),
            _cells(file),
            _score_cells(scored),
            scored.failure if scored else "",
            shown,
            problem,
        )


def _show(file: ReportedFile, name: str, excerpts: Excerpts, masks: Masks | None) -> _Shown:
    before, after = (plain_pictures.magnitudes(channel, excerpts.rate) for channel in excerpts.loudest)
    loudest = float(before.max())
    highest_khz = excerpts.rate / 2000
    if masks is None:
        gains: Array = np.clip(after / np.maximum(before, np.float32(1e-12)), 0.0, 1.0)
        gains_khz, title = highest_khz, "Gain"
    else:
        of_channels = masks(resample(excerpts.before, excerpts.rate, SAMPLE_RATE), file.facts.rate)
        gains = of_channels[:, min(excerpts.channel, of_channels.shape[1] - 1)]
        gains_khz, title = SAMPLE_RATE / 2000, "Mask"
    seconds = plain_pictures.ticks(excerpts.seconds)
    players = [_data("audio/flac", flac) for flac in excerpts.played()]
    pictures = []
    for place, png, khz, player in (
        ("Before", plain_pictures.draw_levels(before, loudest), highest_khz, players[0]),
        (title, plain_pictures.draw_gains(gains), gains_khz, ""),
        ("After", plain_pictures.draw_levels(after, loudest), highest_khz, players[1]),
    ):
        what = f"{place}: spectrogram" if player else title
        alt = f"{what} of {name}, 0 to {excerpts.seconds:.4g} s, 0 to {khz:.4g} kHz"
        pictures.append(_Picture(place, alt, _data("image/png", png), seconds, plain_pictures.ticks(khz), player))
    return _Shown(pictures, _remarks(file.facts, excerpts))


def _remarks(facts: FileFacts, excerpts: Excerpts) -> list[str]:
    remarks = []
    if facts.frames > EXCERPT_S * facts.rate:
        remarks.append(f"Shown and played: the first {EXCERPT_S} s of {_duration(facts.seconds)}.")
    if facts.channels > 1:
        remarks.append(f"Pictures: channel {excerpts.channel + 1} of {facts.channels}, the loudest.")
    if facts.channels > PLAYED_CHANNELS:
        remarks.append(f"Players: the first {PLAYED_CHANNELS} channels.")
    if excerpts.rate != facts.rate:
        remarks.append(f"Pictures and players: resampled to {excerpts.rate:,} Hz.")
    if excerpts.playing_gain < 1.0:
        remarks.append(f"Players: both {_db(excerpts.playing_gain)} dB, for there are samples beyond full scale.")
    return remarks


def _score(files: Sequence[ReportedFile], jobs: int) -> tuple[Sequence[Scored | None], tuple[str, ...]]:
    from speechbrain_dynsnet.evaluation.excerpt_scores import SCALES, score_excerpts

    return score_excerpts([(file.noisy, file.enhanced, file.facts) for file in files], jobs), SCALES


def _score_cells(scored: Scored | None) -> list[tuple[str, str]]:
    """Before and after on each scale; empty when nothing was scored."""
    if scored is None:
        return []
    missing = (None,) * 4
    return [(_number(a), _number(b)) for a, b in zip(scored.before or missing, scored.after or missing, strict=True)]


def _common_folder(files: Sequence[ReportedFile]) -> str:
    return os.path.commonpath([os.path.dirname(os.path.abspath(file.noisy)) for file in files])


def _cells(file: ReportedFile) -> dict[str, str]:
    facts = file.facts
    return {
        "duration": _duration(facts.seconds),
        "rate": f"{facts.rate:,}",
        "channels": str(facts.channels),
        "encoding": f"{facts.format} {facts.subtype}",
        "level_before": _db(facts.rms_in),
        "level_after": _db(facts.rms_out),
        "change": _db(facts.rms_out / facts.rms_in) if facts.rms_in else "–",
        "peak_before": _db(facts.peak_in),
        "peak_after": _db(facts.peak_out),
        "clipped": f"{facts.clipped:,}",
        "speed": f"{facts.seconds / file.took_s:,.3g}" if file.took_s else "–",
    }


def _total(
    files: Sequence[ReportedFile], scores: Sequence[Scored | None], scales: tuple[str, ...]
) -> dict[str, object]:
    timed = [(file.facts.seconds, file.took_s) for file in files if file.took_s]
    # Means over files that have both, so that what they differ by is an effect.
    both = [(scored.before, scored.after) for scored in scores if scored and scored.before and scored.after]
    return {
        "duration": _duration(sum(file.facts.seconds for file in files)),
        "clipped": f"{sum(file.facts.clipped for file in files):,}",
        "speed": f"{sum(s for s, _ in timed) / sum(t for _, t in timed):,.3g}" if timed else "–",
        "scores": [
            (_number(_mean([a[scale] for a, _ in both])), _number(_mean([b[scale] for _, b in both])))
            for scale in range(len(scales))
        ],
    }


def _settings(settings: Settings, model_name: str, exit: int) -> dict[str, str]:
    given = asdict(settings)
    limit = given["attenuation_limit_db"]
    return {
        "Model": printable(model_name),
        "Exit": str(exit) if settings.exit is not None else f"{exit}, the deepest",
        "Attenuation limit": "none" if limit is None else f"{limit:g} dB",
        "Mix": f"{100 * given['mix']:g} % enhanced",
        "Above 8 kHz": f"{given['high_band']}: {_DIRECTION[given['high_band']]}",
        "Channels": given["channels"] or "linked for stereo, each otherwise",
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _db(gain: float) -> str:
    """Of full scale, or of a gain."""
    # The sum has no -0.0.
    return f"{round(20.0 * math.log10(gain), 1) + 0.0:.1f}".replace("-", "−") if gain > 0 else "−∞"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.4g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"
