"""Recordings that were never enhanced, as files for a report, and a reader of its page."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from speechbrain_dynsnet.audio.enhancement import FileFacts
from speechbrain_dynsnet.evaluation.html_report import ReportedFile

Array = NDArray[np.float32]
_UNCLOSED = {"meta", "link", "img", "br"}


def noise(seconds: float, rate: int = 16000, channels: int = 1, seed: int = 0) -> Array:
    """(time, channels), RMS of 0.05."""
    return 0.05 * np.random.default_rng(seed).standard_normal((int(seconds * rate), channels), np.float32)


def make_file(
    folder: Path, name: str, samples: Array, rate: int = 16000, gain: float = 0.5, subtype: str = "FLOAT"
) -> ReportedFile:
    """A recording, (time, channels), and as its result the same times a gain; it took a tenth of its length."""
    noisy, enhanced = folder / "noisy" / name, folder / "enhanced" / name
    for path, signal in ((noisy, samples), (enhanced, gain * samples)):
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:  # soundfile takes no name that is not UTF-8
            soundfile.write(file, signal, rate, format="WAV", subtype=subtype)
    peak, rms = float(np.abs(samples).max()), float(np.sqrt(np.square(samples).mean()))
    frames, channels = samples.shape
    facts = FileFacts(frames, rate, channels, "WAV", subtype, 5, peak, gain * peak, rms, gain * rms, 0)
    return ReportedFile(noisy, enhanced, facts, facts.seconds / 10)


class Page(HTMLParser):
    """A page with all of its elements: (tag, attributes); it fails where a tag is not closed in turn."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self._open

    @property
    def text(self) -> str:
        """All that is to be read, on one line."""
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str, attribute: str) -> list[str]:
        """The attribute's value in each such element."""
        return [attributes[attribute] for name, attributes in self.elements if name == tag and attribute in attributes]

    def players(self) -> list[tuple[Array, int]]:
        """Samples, (time, channels), and rate of each."""
        return [soundfile.read(io.BytesIO(_content(source)), always_2d=True) for source in self.all("audio", "src")]

    def pictures(self) -> list[NDArray[np.uint8]]:
        """(rows, columns) of shades, each."""
        return [np.asarray(Image.open(io.BytesIO(_content(source)))) for source in self.all("img", "src")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Part of HTMLParser."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _UNCLOSED:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Part of HTMLParser."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Part of HTMLParser."""
        if self._open and self._open[-1] not in ("style", "script"):
            self.texts.append(data)


def _content(source: str) -> bytes:
    kind, _, content = source.partition(";base64,")
    assert kind in ("data:audio/flac", "data:image/png")
    return b64decode(content, validate=True)
