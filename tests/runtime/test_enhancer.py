"""Whole signals through a file of any number of frames a call; nothing heavy is imported for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.inference import EnhanceDynamic
from speechbrain_dynsnet.model.enhance import enhance
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.runtime import Enhancer, RuntimeModel
from speechbrain_dynsnet.runtime.at_rate import StreamAtRate
from speechbrain_dynsnet.runtime.export import export_onnx
from speechbrain_dynsnet.runtime.stream import Stream
from tests.runtime.streams import cut

FRAMES = (1, 7, 50, "any")


@pytest.fixture(scope="module")
def enhancers(network: DynamicNsNet2, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, object], Enhancer]:
    folder = tmp_path_factory.mktemp("files")
    return {
        (precision, frames): Enhancer(
            export_onnx(network, folder / f"{precision}_{frames}.onnx", precision=precision, frames=frames)
        )
        for precision in ("fp32", "int8")
        for frames in FRAMES
    }


@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize("exit", [0, 1, 3, 5])
@torch.no_grad()
def test_any_number_of_frames_a_call_equals_torch(
    enhancers: dict[tuple[str, object], Enhancer],
    network: DynamicNsNet2,
    speech: np.ndarray,
    frames: object,
    exit: int,
) -> None:
    samples = np.stack([speech[:20_001], speech[60_000:80_001]])
    wanted = np.asarray(enhance(network, torch.from_numpy(samples), (exit,))[0])
    np.testing.assert_allclose(enhancers["fp32", frames].enhance(samples, exit), wanted, atol=1e-5)


@pytest.mark.parametrize("frames", FRAMES[1:])
def test_int8_does_not_depend_on_the_frames_a_call(
    enhancers: dict[tuple[str, object], Enhancer], speech: np.ndarray, frames: object
) -> None:
    samples = np.stack([speech[:20_001], speech[60_000:80_001]])
    for exit in (0, 1, 3, 5):
        one_by_one = enhancers["int8", 1].enhance(samples, exit)
        np.testing.assert_allclose(enhancers["int8", frames].enhance(samples, exit), one_by_one, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("frames", FRAMES)
def test_rate_channels_and_length_stay(
    enhancers: dict[tuple[str, object], Enhancer], rate: int, frames: object
) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, (3, 1234)).astype(np.float32)
    enhanced = enhancers["fp32", frames].enhance_audio(Audio(samples, rate, "FLAC", "PCM_24"), 3)
    assert (enhanced.samples.shape, enhanced.rate, enhanced.subtype) == ((3, 1234), rate, "PCM_24")


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("length", [0, 1, 20_001])
@pytest.mark.parametrize("high_band", ["follow", "drop"])
def test_a_stream_at_another_rate_is_near_the_recording(
    speech: np.ndarray, rate: int, length: int, high_band: str
) -> None:
    """It has filters of less delay, and so of a less sharp edge."""
    samples = resample(speech[np.newaxis, 30_000 : 30_000 + length], 16000, rate)
    stream = StreamAtRate(Stream(exit=3), rate, high_band=high_band)
    whole = Enhancer().enhance_audio(Audio(samples, rate), 3, high_band=high_band).samples[0]
    results = []
    for seed in range(2):  # a flush begins anew
        chunks = [stream.process(chunk) for chunk in cut(samples[0], seed, 3000)]
        results.append(np.concatenate([*chunks, stream.flush()]))
        assert results[-1].shape == whole.shape
        assert np.linalg.norm(results[-1] - whole) <= 0.02 * np.linalg.norm(whole) + 1e-3
    np.testing.assert_allclose(*results, atol=1e-6)


def test_bad_samples_at_another_rate_are_counted_once_and_do_not_spread(model: RuntimeModel) -> None:
    stream = StreamAtRate(Stream(model), 48000)
    samples = np.zeros(9000, np.float32)
    samples[4000:4010] = np.nan
    assert not np.concatenate([stream.process(samples), stream.flush()]).any()
    assert stream.stats.bad_samples == 10


@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("exit", [1, 5])
def test_the_frames_may_come_in_any_blocks(
    enhancers: dict[tuple[str, object], Enhancer], frames: object, channels: int, exit: int
) -> None:
    random = np.random.default_rng(0)
    features = random.normal(-6, 2, (160, channels, 257)).astype(np.float32)
    wanted = enhancers["fp32", "any"].start(channels, exit)(features)
    masks = enhancers["fp32", frames].start(channels, exit)
    ends = np.sort(random.choice(np.arange(1, 160), 20, replace=False))
    results = [masks(block) for block in np.split(features, ends)]
    np.testing.assert_allclose(np.concatenate(results), wanted, atol=1e-5)


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@torch.no_grad()
def test_a_file_in_blocks_equals_its_samples(
    enhancers: dict[tuple[str, object], Enhancer], speech: np.ndarray, tmp_path: Path, rate: int, precision: str
) -> None:
    samples = np.stack([speech[:90_000], 0.5 * speech[60_000:150_000]])
    write_audio(tmp_path / "in.wav", Audio(samples, rate, "WAV", "FLOAT"))
    for frames in FRAMES:
        enhancer = enhancers[precision, frames]
        enhancer.enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", 3, attenuation_limit_db=20)
        wanted = enhancers[precision, "any"].enhance_audio(Audio(samples, rate), 3, attenuation_limit_db=20).samples
        np.testing.assert_allclose(read_audio(tmp_path / "out.wav").samples, wanted, atol=1e-5)


def test_torch_and_the_runtime_give_the_same(
    enhancers: dict[tuple[str, object], Enhancer], network: DynamicNsNet2, speech: np.ndarray
) -> None:
    torch_enhancer = EnhanceDynamic(modules={"model": network}, hparams={}, run_opts={"device": "cpu"})
    audio = Audio(np.stack([speech, speech[::-1]]), 44100)
    for exit in (0, 5):
        wanted = torch_enhancer.enhance_audio(audio, exit).samples
        np.testing.assert_allclose(enhancers["fp32", "any"].enhance_audio(audio, exit).samples, wanted, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the memory from Linux")
def test_three_hours_in_under_200_megabytes(streaming_files: dict[str, Path], tmp_path: Path) -> None:
    """80 MB for int8."""
    second = (0.1 * np.random.default_rng(0).standard_normal((16000, 2))).astype(np.float32)
    with soundfile.SoundFile(tmp_path / "in.wav", "w", 16000, 2, "PCM_16") as file:
        for _ in range(3 * 3600):
            file.write(second)
    code = (
        "from speechbrain_dynsnet.runtime import Enhancer\n"
        f"facts = Enhancer({str(streaming_files['int8'])!r}).enhance_file('in.wav', 'out.wav', 1)\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(facts.frames, int(status['VmHWM'].split()[0]) // 1000)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    frames, megabytes = map(int, ran.stdout.split())
    assert frames == 3 * 3600 * 16000
    assert megabytes < 200


def test_an_exit_is_checked(enhancers: dict[tuple[str, object], Enhancer], network: DynamicNsNet2) -> None:
    enhancer = enhancers["fp32", "any"]
    assert (enhancer.exits, enhancer.check_exit(None)) == (network.exits, 5)
    with pytest.raises(InputError, match="no exit 2"):
        enhancer.enhance(np.zeros((1, 999), np.float32), 2)


def test_a_file_with_the_stft_inside_is_refused(network: DynamicNsNet2, tmp_path: Path) -> None:
    path = export_onnx(network, tmp_path / "model.onnx", signal="waveform")
    with pytest.raises(InputError, match="has the STFT inside"):
        Enhancer(path)


def run_apart(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("use", ["Stream({!r}).process(samples[0])", "Enhancer({!r}).enhance(samples)"])
def test_nothing_but_numpy_and_onnxruntime_is_imported(streaming_files: dict[str, Path], use: str) -> None:
    code = (
        "import sys, numpy; samples = numpy.zeros((1, 999), 'float32')\n"
        "from speechbrain_dynsnet.runtime import Enhancer, RuntimeModel, Stream\n"
        f"{use.format(str(streaming_files['int8']))}\n"
        "print(sorted({'torch', 'speechbrain', 'onnx', 'scipy', 'soundfile', 'soxr', 'click'} & sys.modules.keys()))"
    )
    assert run_apart(code) == "[]\n"


@pytest.mark.parametrize(("precision", "megabytes"), [("int8", 120), ("fp32", 120)])
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the memory from Linux")
def test_a_stream_starts_soon_and_stays_small(streaming_files: dict[str, Path], precision: str, megabytes: int) -> None:
    """0.17 s of one core and 74 MB in int8, 0.2 s and 100 MB in fp32; the best time of three."""
    code = (
        "import time; start = time.process_time()\n"
        "from speechbrain_dynsnet.runtime import Stream\n"
        f"import numpy; Stream({str(streaming_files[precision])!r}).process(numpy.zeros(512, 'float32'))\n"
        "seconds = time.process_time() - start; import json\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(json.dumps([seconds, int(status['VmRSS'].split()[0]) / 1000]))"
    )
    runs = [json.loads(run_apart(code)) for _ in range(3)]
    assert min(seconds for seconds, _ in runs) < 0.5
    assert max(size for _, size in runs) < megabytes
