"""`EnhanceDynamic`: what comes out has the input's shape, rate and time, at the exit asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.inference import EnhanceDynamic
from speechbrain_dynsnet.model.network import make_network

CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def known(known_bundle: Path) -> EnhanceDynamic:
    return EnhanceDynamic.from_hparams(known_bundle, run_opts=CPU)


@pytest.fixture(scope="module")
def random() -> EnhanceDynamic:
    """A network whose mask depends on all that came before."""
    torch.manual_seed(0)
    network = make_network("concat", (0, 1, 3, 5))
    return EnhanceDynamic(modules={"model": network}, hparams={}, run_opts=CPU)


def voice(channels: int, rate: int, seconds: float = 0.5) -> Audio:
    """Tones within any band, another in each channel, faded so that no edge rings."""
    time_s = np.arange(round(seconds * rate)) / rate
    pitch_hz = 300 * np.arange(1, channels + 1)[:, None]
    fade = np.sin(np.pi * time_s / seconds) ** 2
    return Audio((0.3 * fade * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.float32), rate)


def test_a_model_lists_its_exits_and_is_frozen(known: EnhanceDynamic) -> None:
    assert known.exits == (0, 1, 3, 5)
    assert not known.mods["model"].training
    assert not any(parameter.requires_grad for parameter in known.parameters())


@pytest.mark.parametrize(("exit", "gain"), [(0, 1.0), (1, 0.5), (3, 1.0), (5, 1.0), (None, 1.0)])
@pytest.mark.parametrize("time", [1, 255, 256, 511, 512, 16001])
def test_a_batch_leaves_at_the_exit(known: EnhanceDynamic, exit: int | None, gain: float, time: int) -> None:
    noisy = torch.randn(3, time, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(known.enhance_batch(noisy, exit=exit), gain * noisy)


def test_no_exit_is_the_deepest_and_forward_is_enhance_batch(random: EnhanceDynamic) -> None:
    noisy = torch.randn(1, 4000)
    torch.testing.assert_close(random.enhance_batch(noisy), random.enhance_batch(noisy, exit=5))
    torch.testing.assert_close(random(noisy, None, 1), random.enhance_batch(noisy, exit=1))
    assert not torch.allclose(random(noisy), random(noisy, exit=1))


@pytest.mark.parametrize("exit", [0, 1, 3, 5])
def test_what_lies_beyond_a_length_does_not_matter(random: EnhanceDynamic, exit: int) -> None:
    generator = torch.Generator().manual_seed(0)
    ends = [5000, 3001, 700]
    signals = [torch.randn(end, generator=generator) for end in ends]
    batch = torch.full((3, 5000), torch.nan)
    for row, signal in zip(batch, signals, strict=True):
        row[: len(signal)] = signal
    enhanced = random.enhance_batch(batch, torch.tensor(ends) / 5000, exit)
    for row, signal in zip(enhanced, signals, strict=True):
        alone = random.enhance_batch(signal[None], exit=exit)[0]
        torch.testing.assert_close(row[: len(signal)], alone, atol=1e-5, rtol=1e-4)
        assert not row[len(signal) :].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_batch_keeps_its_type(known: EnhanceDynamic, dtype: torch.dtype) -> None:
    assert known.enhance_batch(torch.ones(1, 800, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("noisy", "lengths", "message"),
    [
        (torch.zeros(100), None, r"shape \(batch, time\), not torch.float32 \(100,\)"),
        (torch.zeros(2, 0), None, r"\(2, 0\)"),
        (torch.zeros(2, 9, dtype=torch.int16), None, "int16"),
        (torch.tensor([[0.0, torch.nan]]), None, "NaN"),
        (torch.tensor([[0.0, torch.inf]]), None, "infinite"),
        (torch.zeros(2, 9), torch.ones(3), r"lengths must have shape \(2,\)"),
    ],
)
def test_a_bad_batch_is_named(
    known: EnhanceDynamic, noisy: torch.Tensor, lengths: torch.Tensor | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        known.enhance_batch(noisy, lengths)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_keeps_rate_channels_length_and_time(
    known: EnhanceDynamic, tmp_path: Path, rate: int, channels: int
) -> None:
    audio = voice(channels, rate)
    write_audio(tmp_path / "in.wav", Audio(audio.samples, rate, "WAV", "FLOAT"))
    result = known.enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", 1)
    written = read_audio(tmp_path / "out.wav")
    assert result.shape == (audio.samples.shape if channels > 1 else audio.samples.shape[1:])
    assert (written.rate, written.subtype) == (rate, "FLOAT")
    np.testing.assert_array_equal(written.samples, np.atleast_2d(result.numpy()))
    np.testing.assert_allclose(written.samples, 0.5 * audio.samples, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "rate", "subtype"),
    [
        ("in.wav", 44100, "PCM_24"),
        ("in.flac", 44100, "PCM_16"),
        ("in.ogg", 44100, "VORBIS"),
        ("in.opus", 48000, "OPUS"),
        ("in.mp3", 44100, "MPEG_LAYER_III"),
    ],
)
def test_formats_come_back_as_they_came(
    known: EnhanceDynamic, tmp_path: Path, name: str, rate: int, subtype: str
) -> None:
    write_audio(tmp_path / name, Audio(voice(2, rate).samples, rate, subtype=subtype))
    out = tmp_path / f"out{Path(name).suffix}"
    known.enhance_file(str(tmp_path / name), output_filename=str(out))
    before, after = soundfile.info(tmp_path / name), soundfile.info(out)
    for fact in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(before, fact) == getattr(after, fact)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("frames", [1, 10, 511, 9999])
def test_zeros_stay_zeros(random: EnhanceDynamic, tmp_path: Path, rate: int, frames: int) -> None:
    write_audio(tmp_path / "in.wav", Audio(np.zeros((2, frames), dtype=np.float32), rate))
    assert not random.enhance_file(tmp_path / "in.wav", output_filename=tmp_path / "out.wav").any()
    written = read_audio(tmp_path / "out.wav").samples
    assert written.shape == (2, frames)
    assert not written.any()


def test_each_channel_is_enhanced_by_itself(random: EnhanceDynamic) -> None:
    audio = voice(2, 44100)
    both = random.enhance_audio(audio, channels="each").samples
    for channel in (0, 1):
        alone = random.enhance_audio(Audio(audio.samples[channel : channel + 1], 44100)).samples
        np.testing.assert_allclose(both[channel], alone[0], atol=1e-6)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_file_in_blocks_equals_its_samples(random: EnhanceDynamic, tmp_path: Path, rate: int) -> None:
    write_audio(tmp_path / "in.wav", Audio(voice(3, rate, 5.0).samples, rate, "WAV", "FLOAT"))
    for exit in (0, 5):
        samples = random.enhance_file(tmp_path / "in.wav", exit=exit, mix=0.8, channels="linked")
        nothing = random.enhance_file(
            tmp_path / "in.wav", tmp_path / "out.wav", exit, return_samples=False, mix=0.8, channels="linked"
        )
        assert nothing is None
        np.testing.assert_allclose(read_audio(tmp_path / "out.wav").samples, samples.numpy(), atol=1e-5)


def test_choices_reach_the_result(known: EnhanceDynamic, tmp_path: Path) -> None:
    """Exit 1 halves: 6.02 dB."""
    audio = voice(2, 16000)
    write_audio(tmp_path / "in.wav", Audio(audio.samples, 16000, "WAV", "FLOAT"))
    for choices, gain in [({"attenuation_limit_db": 3.0}, 10 ** (-3 / 20)), ({"mix": 0.5}, 0.75)]:
        result = known.enhance_file(tmp_path / "in.wav", exit=1, **choices)
        np.testing.assert_allclose(result.numpy(), gain * audio.samples, atol=1e-4)
    with pytest.raises(InputError, match="nothing would remain"):
        known.enhance_file(tmp_path / "in.wav", return_samples=False)
    with pytest.raises(InputError, match="output_filename is 1: give a file's name, and an exit as exit=K"):
        known.enhance_file(tmp_path / "in.wav", 1)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="is the input itself"):
        known.enhance_file(tmp_path / "in.wav", tmp_path / "in.wav", 1)
    known.enhance_file(tmp_path / "in.wav", tmp_path / "in.wav", 1, in_place=True)
    np.testing.assert_allclose(read_audio(tmp_path / "in.wav").samples, 0.5 * audio.samples, atol=1e-4)


@pytest.mark.parametrize("exit", [2, 4, 6, -1])
def test_an_exit_that_is_not_there_is_named_before_anything_is_read(
    known: EnhanceDynamic, tmp_path: Path, exit: int
) -> None:
    message = rf"no exit {exit}: choose one of \[0, 1, 3, 5\]"
    with pytest.raises(InputError, match=message):
        known.enhance_file(tmp_path / "none.wav", tmp_path / "out.wav", exit)
    with pytest.raises(InputError, match=message):
        known.enhance_batch(torch.zeros(1, 9), exit=exit)


def test_a_file_that_cannot_be_used_or_written_leaves_nothing(known: EnhanceDynamic, tmp_path: Path) -> None:
    write_audio(tmp_path / "in.wav", voice(1, 16000))
    soundfile.write(tmp_path / "nan.wav", np.full(9, np.nan), 16000, subtype="FLOAT")
    before = sorted(tmp_path.iterdir())
    for source, target in [
        ("none.wav", "out.wav"),
        ("nan.wav", "out.wav"),
        ("in.wav", "in.wav"),
        ("in.wav", "none/out.wav"),
        ("in.wav", "out.txt"),
    ]:
        with pytest.raises(InputError):
            known.enhance_file(tmp_path / source, output_filename=tmp_path / target)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("device", ["nonsense", "cuda:4096"])
def test_a_device_that_is_not_there_is_named(known_bundle: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"device {device} cannot be used"):
        EnhanceDynamic.from_hparams(known_bundle, run_opts={"device": device})


def test_a_torch_device_is_accepted(known_bundle: Path) -> None:
    enhancer = EnhanceDynamic.from_hparams(known_bundle, run_opts={"device": torch.device("cpu")})
    assert enhancer.device == "cpu"


@pytest.mark.parametrize("lengths", [[4000, 2000], [1.0, 1.5], [1.0, 0.0], [1.0, -0.5], [1.0, float("nan")]])
def test_lengths_that_are_no_shares_are_refused(known: EnhanceDynamic, lengths: list[float]) -> None:
    with pytest.raises(InputError, match="not a number of samples"):
        known.enhance_batch(torch.zeros(2, 4000), torch.tensor(lengths))


@pytest.mark.parametrize("value", [1e20, float("inf"), float("nan")])
def test_samples_that_no_spectrum_can_hold_are_refused(known: EnhanceDynamic, value: float) -> None:
    with pytest.raises(InputError, match="absurdly large"):
        known.enhance_batch(torch.tensor([[0.0, value]]))


@pytest.mark.parametrize("return_samples", [True, False])
def test_a_written_file_keeps_its_tags_and_a_false_extension_is_refused_in_place(
    return_samples: bool, known_bundle: Path, tmp_path: Path
) -> None:
    enhancer = EnhanceDynamic.from_hparams(known_bundle, run_opts={"device": "cpu"})
    source, target = tmp_path / "a.flac", tmp_path / "b.flac"
    with soundfile.SoundFile(source, "w", 16000, 1, "PCM_16") as file:
        file.title = "a title"
        file.write(np.full(5000, 0.1, np.float32))
    enhancer.enhance_file(source, target, 1, return_samples=return_samples)
    with soundfile.SoundFile(target) as file:
        assert file.title == "a title"
    source.rename(tmp_path / "a.wav")
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(InputError, match="holds FLAC, which its name does not say"):
        enhancer.enhance_file(tmp_path / "a.wav", tmp_path / "a.wav", 1, in_place=True, return_samples=return_samples)
    assert (tmp_path / "a.wav").read_bytes() == before
    enhancer.enhance_file(tmp_path / "a.wav", tmp_path / "c.wav", 1, in_place=True, return_samples=return_samples)
