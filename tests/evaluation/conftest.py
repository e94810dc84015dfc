"""A small test set: speech in white noise, of the shortest length that DNSMOS hears in one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.evaluation.systems import Pair

SPEECH = Path(__file__).parents[2] / "examples" / "noisy.flac"
RATE = 16000
SAMPLES = 73000


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Three clips, at 20, 10 and 0 dB."""
    folder = tmp_path_factory.mktemp("test_set")
    speech = read_audio(SPEECH).samples[0]
    rng = np.random.default_rng(0)
    pairs = []
    for index, snr_db in enumerate((20.0, 10.0, 0.0)):
        clean = speech[index * 40000 :][:SAMPLES]
        noise = rng.standard_normal(SAMPLES) * clean.std() * 10.0 ** (-snr_db / 20.0)
        pair = Pair(
            f"fileid_{index}",
            folder / "clean" / f"clean_fileid_{index}.wav",
            folder / "noisy" / f"speech_white_snr{snr_db:.0f}_tl-20_fileid_{index}.wav",
            facts={"snr_db": f"{snr_db:g}"},
        )
        for path, signal in ((pair.clean, clean), (pair.noisy, clean + noise)):
            assert path is not None
            path.parent.mkdir(exist_ok=True)
            write_audio(path, Audio(signal[None].astype(np.float32), RATE))
        pairs.append(pair)
    return pairs
