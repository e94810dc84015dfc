"""How `noisy.flac` was made: speech synthesised with Flite (free voices `slt` and `rms`) in this package's own noises.

Needs the `flite` program. Run it as `python examples/make_noisy.py`.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import click
import numpy as np

from speechbrain_dynsnet.audio.constants import SAMPLE_RATE
from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.data.levels import active_rms
from speechbrain_dynsnet.data.trial_noise import NOISES

SAYS = (
    ("slt", "Good morning. The meeting begins at nine, in the small room on the second floor."),
    ("rms", "I can hardly hear you, there is a fan running right beside my desk."),
)
SNR_DB = 10.0
LEVEL = 0.05  # RMS


@click.command()
def main() -> None:
    """Synthesise the speech with flite, mix in the noises, and write noisy.flac anew beside this file."""
    pause = np.zeros(SAMPLE_RATE // 2)
    speech = np.concatenate([pause] + [part for voice, text in SAYS for part in (say(voice, text), pause)])
    seconds = len(speech) / SAMPLE_RATE
    rng = np.random.default_rng(5)
    fan, keys = (NOISES[kind](seconds, rng)[: len(speech)] for kind in ("fan", "clicks"))
    noise = fan / fan.std() + 0.25 * keys / keys.std()
    noisy = speech / active_rms(speech) + noise / noise.std() * 10 ** (-SNR_DB / 20)
    samples = (LEVEL * noisy / noisy.std()).astype(np.float32)[None]
    write_audio(Path(__file__).with_name("noisy.flac"), Audio(samples, SAMPLE_RATE, "FLAC", "PCM_16"))


def say(voice: str, text: str) -> np.ndarray:
    """The text as speech, of unit active level."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        samples = read_audio(path).samples[0].astype(np.float64)
    return np.asarray(samples / active_rms(samples))


if __name__ == "__main__":
    main()
