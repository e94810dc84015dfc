"""`dynsnet stream`: what comes out of the pipe is what went in, denoised, in step and whole."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.runtime.export import export_onnx
from speechbrain_dynsnet.runtime.stream import Stream

COMMAND = [sys.executable, "-m", "speechbrain_dynsnet.cli", "stream"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(load_bundle(), tmp_path_factory.mktemp("models") / "int8.onnx", precision="int8")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return soundfile.read(Path(__file__).parents[2] / "examples" / "noisy.flac", dtype="int16")[0]


def run(model: Path, data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, "--model", str(model), *arguments], input=data, capture_output=True)


@pytest.fixture
def waiting(model: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that runs, with its pipes open."""
    process = subprocess.Popen(
        [*COMMAND, "--model", str(model), "--stats"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    yield process
    process.kill()
    process.communicate()


def read_within(process: subprocess.Popen[bytes], size: int | None = None) -> bytes:
    """So many bytes, or all until the end, while the input stays open; a failure when half a minute brings nothing."""
    assert process.stdout is not None
    data = b""
    while size is None or len(data) < size:
        assert select.select([process.stdout], [], [], 30)[0], f"only {len(data)} bytes came"
        more = os.read(process.stdout.fileno(), 65536 if size is None else size - len(data))
        if not more:
            break
        data += more
    return data


@pytest.mark.parametrize("options", [{}, {"exit": 1}, {"attenuation_limit_db": 12}])
def test_s16_is_what_a_stream_gives(model: Path, speech: np.ndarray, options: dict[str, int]) -> None:
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    done = run(model, speech.tobytes(), *arguments)
    stream = Stream(model, **options)
    wanted = np.concatenate([stream.process(speech), stream.flush()])
    assert (done.returncode, done.stderr) == (0, b"")
    np.testing.assert_array_equal(np.frombuffer(done.stdout, "<i2"), wanted)


def test_f32_is_what_a_stream_gives(model: Path, speech: np.ndarray) -> None:
    floats = (speech / 32768).astype("<f4")
    done = run(model, floats.tobytes(), "--format", "f32")
    stream = Stream(model)
    wanted = np.concatenate([stream.process(floats), stream.flush()])
    np.testing.assert_allclose(np.frombuffer(done.stdout, "<f4"), wanted, atol=1e-6)


def test_an_empty_pipe_gives_an_empty_pipe(model: Path) -> None:
    done = run(model, b"", "--stats")
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"0 frames" in done.stderr


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_another_rate_keeps_length_and_alignment(model: Path, rate: int) -> None:
    """With the limit at 0 nothing is removed, so that the output must be the input, at the same places."""
    random = np.random.default_rng(0)
    smooth = np.convolve(random.normal(0, 0.2, 30_001), np.hanning(60 * rate // 16000), "same")  # below 2 kHz
    signal_in = (3000 * smooth / np.abs(smooth).max()).astype("<i2")
    done = run(model, signal_in.tobytes(), "--rate", str(rate), "--attenuation_limit_db", "0")
    signal_out = np.frombuffer(done.stdout, "<i2")
    assert len(signal_out) == len(signal_in)
    correlation = np.correlate(signal_out.astype(float), signal_in[500:-500].astype(float), "valid")
    assert np.argmax(correlation) == 500
    assert np.abs(signal_out.astype(int) - signal_in)[500:-500].max() <= 3


@pytest.mark.parametrize(("sample_format", "size"), [("s16", 2), ("f32", 4)])
def test_a_left_over_is_told_after_all_that_is_whole(
    model: Path, speech: np.ndarray, sample_format: str, size: int
) -> None:
    data = speech.tobytes()[: 4 * 5000]
    done = run(model, data + b"x" * (size - 1), "--format", sample_format)
    assert (done.returncode, len(done.stdout)) == (2, len(data))
    assert done.stderr.startswith(b"Error: stdin ended within a sample") and done.stderr.count(b"\n") == 1


def test_samples_come_out_while_the_input_is_open(
    waiting: subprocess.Popen[bytes], model: Path, speech: np.ndarray
) -> None:
    """Cut anywhere, within samples too, and never held back longer than 512 samples."""
    assert waiting.stdin is not None
    data, position, received = speech[:8192].tobytes(), 0, b""
    for size in (1, 2, 3, 1021, 511, 4097, 8192 * 2):
        os.write(waiting.stdin.fileno(), data[position : position + size])
        position = min(position + size, len(data))
        hops = position // 512
        received += read_within(waiting, 512 * max(hops - 1, 0) - len(received))
    rest, _ = waiting.communicate()
    stream = Stream(model)
    wanted = np.concatenate([stream.process(speech[:8192]), stream.flush()])
    np.testing.assert_array_equal(np.frombuffer(received + rest, "<i2"), wanted)


def test_an_interrupt_gives_what_is_on_its_way(
    waiting: subprocess.Popen[bytes], model: Path, speech: np.ndarray
) -> None:
    assert waiting.stdin is not None and waiting.stdout is not None and waiting.stderr is not None
    os.write(waiting.stdin.fileno(), speech[:1000].tobytes())
    received = read_within(waiting, 2 * 512)  # it has begun
    waiting.send_signal(signal.SIGINT)
    rest = read_within(waiting)  # the input is still open
    assert waiting.wait(30) == 0
    stream = Stream(model)
    wanted = np.concatenate([stream.process(speech[:1000]), stream.flush()])
    np.testing.assert_array_equal(np.frombuffer(received + rest, "<i2"), wanted)
    assert waiting.stderr.read().startswith(b"5 frames: mean ")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at the process as Linux shows it")
def test_an_interrupt_before_the_model_is_loaded_loses_nothing(
    waiting: subprocess.Popen[bytes], model: Path, speech: np.ndarray
) -> None:
    assert waiting.stdin is not None and waiting.stderr is not None
    os.write(waiting.stdin.fileno(), speech[:20_000].tobytes())  # less than a pipe holds
    wait_for_its_handler(waiting)
    waiting.send_signal(signal.SIGINT)
    received = read_within(waiting)  # the input is still open
    assert waiting.wait(30) == 0
    stream = Stream(model)
    wanted = np.concatenate([stream.process(speech[:20_000]), stream.flush()])
    np.testing.assert_array_equal(np.frombuffer(received, "<i2"), wanted)
    assert b"Traceback" not in waiting.stderr.read()


def wait_for_its_handler(process: subprocess.Popen[bytes]) -> None:
    """Until it has opened the pipe that SIGINT writes to, which is before it reads the model."""
    pipes = 0
    while pipes < 3 + 2:
        assert process.poll() is None
        pipes = 0
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                pipes += os.readlink(link).startswith("pipe:")
    time.sleep(0.01)


def test_an_interrupt_ends_a_source_without_end(model: Path) -> None:
    with open("/dev/zero", "rb") as source:
        command = [*COMMAND, "--model", str(model), "--exit", "0"]
        process = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    read_within(process, 100_000)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 0


def test_pipes_may_be_non_blocking(model: Path, speech: np.ndarray) -> None:
    """Both are full or empty at times, and nothing is lost."""
    data = np.tile(speech, 3).tobytes()
    (to_read, to_feed), (to_drain, to_write) = os.pipe(), os.pipe()
    for end in (to_read, to_write):
        os.set_blocking(end, False)
    process = subprocess.Popen(
        [*COMMAND, "--model", str(model), "--exit", "0"], stdin=to_read, stdout=to_write, stderr=subprocess.PIPE
    )
    os.close(to_read)
    os.close(to_write)
    feeder = threading.Thread(target=feed, args=(to_feed, data))
    feeder.start()
    time.sleep(3)  # until its output is full
    received = b""
    while more := os.read(to_drain, 65536):
        received += more
    feeder.join()
    os.close(to_drain)
    assert (process.wait(30), process.stderr.read() if process.stderr else None) == (0, b"")
    assert len(received) == len(data)


def feed(descriptor: int, data: bytes) -> None:
    time.sleep(0.5)  # the pipe is empty for a while
    while data:
        data = data[os.write(descriptor, data) :]
    os.close(descriptor)


@pytest.mark.parametrize(("name", "closing"), [("stdin", "<&-"), ("stdout", ">&-")])
def test_a_closed_end_is_one_line(model: Path, name: str, closing: str) -> None:
    command = ["sh", "-c", f'exec "$@" {closing}', "sh", *COMMAND, "--model", str(model)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {name} is closed: ".encode()) and done.stderr.count(b"\n") == 1


def test_who_reads_may_stop(waiting: subprocess.Popen[bytes], speech: np.ndarray) -> None:
    assert waiting.stdin is not None and waiting.stdout is not None and waiting.stderr is not None
    os.write(waiting.stdin.fileno(), speech[:1000].tobytes())
    read_within(waiting, 2 * 512)
    waiting.stdout.close()
    os.write(waiting.stdin.fileno(), speech[:1000].tobytes())
    assert waiting.wait(30) == 128 + signal.SIGPIPE
    told = waiting.stderr.read().decode()
    assert "Error" not in told and "Traceback" not in told and told.count("\n") == 2


def test_statistics_go_to_stderr(model: Path, speech: np.ndarray) -> None:
    done = run(model, speech.tobytes(), "--stats", "--exit", "3", "--budget_ms", "15")
    told = done.stderr.decode()
    assert len(done.stdout) == 2 * len(speech)
    for word in (
        "679 frames",
        "mean",
        "p99",
        "real-time factor",
        "3: ",
        "switches",
        "late",
        "overruns",
        "bad samples 0",
    ):
        assert word in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "missing.onnx"], b"missing.onnx: no such file; write one with `dynsnet export`"),
        (["--exit", "2"], b"no exit 2; choose one of [0, 1, 3, 5]"),
        (["--budget_ms", "0"], b"budget_ms is 0.0"),
        (["--attenuation_limit_db", "-3"], b"attenuation_limit_db is -3.0"),
    ],
)
def test_bad_options_are_one_line(model: Path, arguments: list[str], message: bytes) -> None:
    done = run(model, b"\0\0", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"Error: ") and message in done.stderr and done.stderr.count(b"\n") == 1


def test_a_file_is_not_taken_for_raw_audio(model: Path, speech: np.ndarray) -> None:
    file = io.BytesIO()
    soundfile.write(file, speech, 16000, format="WAV", subtype="PCM_16")
    done = run(model, file.getvalue())
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"Error: stdin is a WAV file, not raw audio: `dynsnet enhance` takes files\n"


def test_a_file_that_comes_in_bits_is_none_either(waiting: subprocess.Popen[bytes]) -> None:
    assert waiting.stdin is not None and waiting.stderr is not None
    for bit in (b"R", b"IF", b"F" + bytes(40)):
        waiting.stdin.write(bit)
        time.sleep(0.1)
    assert waiting.wait(30) == 2 and b"stdin is a WAV file" in waiting.stderr.read()


@pytest.mark.parametrize(("high_band", "share"), [("follow", 1.0), ("drop", 0.0)])
def test_the_band_that_the_model_does_not_hear(model: Path, high_band: str, share: float) -> None:
    tone = (8000 * np.sin(2 * np.pi * 0.25 * np.arange(48000))).astype("<i2")  # 12 kHz
    words = ["--rate", "48000", "--attenuation_limit_db", "0", "--high_band", high_band]
    out = np.frombuffer(run(model, tone.tobytes(), *words).stdout, "<i2")
    assert len(out) == len(tone)
    assert np.abs(out[1000:-1000] - share * tone[1000:-1000]).max() <= 2


def test_samples_of_the_wrong_type_are_told(model: Path, speech: np.ndarray) -> None:
    done = run(model, speech[:40000].tobytes(), "--format", "f32")
    assert done.returncode == 0 and re.fullmatch(
        rb"warning: \d+ samples were NaN, infinite or absurd, and taken as 0; is it raw f32\?\n", done.stderr
    )


@pytest.mark.parametrize("name", ["stdin", "stdout"])
def test_a_terminal_is_no_pipe(model: Path, name: str) -> None:
    ours, theirs = pty.openpty()
    ends = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} | {name: theirs}
    done = subprocess.run([*COMMAND, "--model", str(model)], **ends, stderr=subprocess.PIPE, timeout=60)  # type: ignore[call-overload]
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {name} is a terminal: ".encode()) and done.stderr.count(b"\n") == 1


def without(model: Path, module: str, data: bytes = b"", *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A run where a module is not installed."""
    code = f"import sys; sys.modules[{module!r}] = None; from speechbrain_dynsnet.cli import main; main()"
    words = [sys.executable, "-c", code, "stream", "--model", str(model), *arguments]
    return subprocess.run(words, input=data, capture_output=True)


def test_what_is_not_installed_is_named(model: Path) -> None:
    done = without(model, "onnxruntime")
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    assert done.stderr == b"Error: onnxruntime is not installed: install the package with its dependencies\n"


@pytest.mark.parametrize("module", ["soxr", "soundfile", "torch", "scipy"])
def test_another_rate_needs_nothing_more(model: Path, module: str) -> None:
    done = without(model, module, bytes(9600), "--rate", "48000")
    assert (done.returncode, done.stdout, done.stderr) == (0, bytes(9600), b"")
