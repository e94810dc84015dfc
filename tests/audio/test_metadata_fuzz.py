"""Whatever is wrong with what a file carries: it is copied, or left out, and the samples are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_dynsnet.audio.metadata import metadata_of
from speechbrain_dynsnet.audio.reader import AudioReader
from speechbrain_dynsnet.audio.whole import length_of_samples
from speechbrain_dynsnet.errors import InputError
from tests.audio import rich

CASES = 750  # of each kind


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite a few bytes, most of them near the beginning and the end; sometimes cut the end off."""
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        reach = min(len(damaged), int(rng.choice([64, 256, 2000, len(damaged)], p=[0.3, 0.3, 0.2, 0.2])))
        place = int(rng.integers(reach))
        damaged[-1 - place if rng.random() < 0.3 else place] = int(rng.choice([0, 255, rng.integers(256)]))
    return bytes(damaged[: int(rng.integers(len(damaged) + 1))] if rng.random() < 0.2 else damaged)


def with_right_checksums(damaged: bytes, content: bytes) -> bytes:
    """Pages as they were, with what they hold now: else a decoder leaves out all that is damaged."""
    begins, pages = 0, []
    for number, page in enumerate(rich.pages(content)):
        body = 27 + page[26]
        pages.append(
            rich.sealed(page[:body] + damaged[begins + body : begins + len(page)].ljust(len(page) - body), number)
        )
        begins += len(page)
    return b"".join(pages)


@pytest.mark.slow
@pytest.mark.parametrize("name", rich.KINDS)
def test_the_samples_can_be_read_behind_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    monkeypatch.setattr(rich, "PICTURE", rich.PICTURE[:1000])
    container, subtype, _ = rich.KINDS[name]
    plain = rich.encode(tmp_path / "plain", container, subtype, 1000)
    rich.make(source := tmp_path / name, frames=1000)
    content, target = source.read_bytes(), tmp_path / f"target{source.suffix}"
    copied = 0
    for _ in range(CASES):
        damaged = mutate(content, rng)
        if container == "OGG" and rng.random() < 0.7:
            damaged = with_right_checksums(damaged, content)
        source.write_bytes(damaged)
        metadata = metadata_of(source, container, subtype)
        assert all(0 <= begin <= begin + length <= len(damaged) for begin, length in metadata.parts)
        assert metadata.size <= len(damaged)
        try:
            with AudioReader(source) as reader:
                next(reader.blocks(1000))
        except InputError:
            length_of_samples(source)
            continue
        target.write_bytes(plain)
        with metadata.open() as opened:
            metadata.copy(opened, target)
        assert soundfile.info(target).frames == soundfile.info(tmp_path / "plain").frames
        copied += target.stat().st_size > len(plain) + 100
    assert copied
