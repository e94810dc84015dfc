"""`dynsnet evaluate`: anybody's output on one footing; what was scored is kept; bad input is one line."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.cli import main
from speechbrain_dynsnet.data.folder_lock import hold
from speechbrain_dynsnet.evaluation import evaluate as module
from speechbrain_dynsnet.evaluation.evaluate import COLUMNS
from speechbrain_dynsnet.evaluation.metrics import METRICS, Scores
from speechbrain_dynsnet.evaluation.summary import COLUMNS as SUMMARY_COLUMNS
from speechbrain_dynsnet.model.architecture import Architecture
from speechbrain_dynsnet.model.bundle import load_bundle, save_bundle
from speechbrain_dynsnet.model.network import DynamicNsNet2
from speechbrain_dynsnet.runtime.export import export_onnx

RATE = 16000
SPEECH = Path(__file__).parents[2] / "examples" / "noisy.flac"
CLIPS = 4
PUBLIC_WEIGHTS = Path(__file__).parents[3] / "shared" / "reference" / "nsnet2_257.npz"


def make_test_set(folder: Path, seconds: float = 0.5) -> Path:
    """Four clips as the challenge names them, and a log that knows more than the names."""
    speech = read_audio(SPEECH).samples[0]
    rng = np.random.default_rng(0)
    rows = ["file_id,noisy,snr_db,level_dbfs,noise_category,speaker,speech"]
    for index in range(CLIPS):
        clean = speech[RATE + index * 8000 :][: round(seconds * RATE)]
        noisy = clean + 0.3 * clean.std() * rng.standard_normal(len(clean))
        for kind, name, signal in (
            ("clean", f"clean_fileid_{index}", clean),
            ("noisy", f"a_white_snr10_tl-20_fileid_{index}", noisy),
        ):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            write_audio(folder / kind / f"{name}.wav", Audio(signal[None].astype(np.float32), RATE))
        rows.append(f"{index},x,10.4{index},-20.5,white,anna,somewhere.wav")
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a test set, and enhanced files of it under other names."""
    monkeypatch.chdir(tmp_path)
    make_test_set(Path("set"))
    Path("theirs").mkdir()
    for index in range(CLIPS):
        shutil.copy(f"set/noisy/a_white_snr10_tl-20_fileid_{index}.wav", f"theirs/enhanced_fileid_{index}_v2.wav")
    return tmp_path


class Counter:
    """Quick scores, which depend on the estimate, and how many were asked for."""

    def __init__(self) -> None:
        self.calls = 0
        self.stop_at: int | None = None

    def __call__(self, clean: np.ndarray, estimate: np.ndarray) -> Scores:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        value = 1.0 + float(np.abs(estimate).mean())
        return Scores(dict.fromkeys(METRICS, value), {})


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    monkeypatch.setattr(module, "score", counter)
    return counter


def run(*words: str) -> Result:
    jobs = () if "--jobs" in words else ("--jobs", "1")
    return CliRunner().invoke(main, ["evaluate", *words, *jobs])


def table(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name != ".lock"}


def test_every_exit_and_the_input_of_every_clip(folder: Path, scored: Counter, known_bundle: Path) -> None:
    result = run(str(known_bundle), "--test_set", "set", "-o", "out")
    assert result.exit_code == 0, result.output
    assert sorted(contents("out")) == ["clips.csv", "settings.json", "summary.csv"]
    rows = table("out/clips.csv")
    facts = ("snr_db", "level_dbfs", "noise_category", "speaker")
    assert all(tuple(row) == (*COLUMNS, *facts) for row in rows)
    systems = ("noisy", "exit_0", "exit_1", "exit_3", "exit_5")
    assert [(row["clip"], row["system"]) for row in rows] == [
        (f"fileid_{index}", system) for index in range(CLIPS) for system in systems
    ]
    assert [row["snr_db"] for row in rows[::5]] == [f"10.4{index}" for index in range(CLIPS)]
    assert {row["noise_category"] for row in rows} == {"white"}
    summary = table("out/summary.csv")
    assert len(summary) == len(systems) * len(METRICS) and tuple(summary[0]) == SUMMARY_COLUMNS
    assert {row["macs_share"] for row in summary if row["system"] == "exit_0"} == {"0.023784"}
    for heading in METRICS.values():
        assert heading in result.stdout
    assert "| exit_3 | 57.0% | " in result.stdout


def test_only_the_exits_asked_for(folder: Path, scored: Counter, known_bundle: Path) -> None:
    assert run(str(known_bundle), "--test_set", "set", "--exits", "3,0", "-o", "out").exit_code == 0
    assert [row["system"] for row in table("out/clips.csv")[:3]] == ["noisy", "exit_0", "exit_3"]


def test_without_a_model_the_shipped_one(folder: Path, scored: Counter) -> None:
    assert run("--test_set", "set", "-o", "out").exit_code == 0
    assert {row["model"] for row in table("out/clips.csv")} == {"", "concat_joint_4"}


def test_anybodys_output_needs_no_model_and_no_noisy_files(folder: Path, scored: Counter) -> None:
    result = run("--enhanced", "theirs", "--clean", "set/clean", "-o", "out")
    assert result.exit_code == 0, result.output
    rows = table("out/clips.csv")
    assert [(row["clip"], row["system"]) for row in rows] == [(f"fileid_{index}", "theirs") for index in range(CLIPS)]
    assert scored.calls == CLIPS


def test_anybodys_output_on_a_test_set_is_on_the_footing_of_the_rest(folder: Path, scored: Counter) -> None:
    assert run("--enhanced", "theirs", "--test_set", "set", "-o", "out").exit_code == 0
    rows = table("out/clips.csv")
    assert [row["system"] for row in rows] == ["noisy", "theirs"] * CLIPS
    for noisy, theirs in zip(rows[::2], rows[1::2], strict=True):  # which are copies of the noisy files
        assert [noisy[metric] for metric in METRICS] == [theirs[metric] for metric in METRICS]


def test_files_may_be_matched_by_their_names(folder: Path, scored: Counter) -> None:
    for kind in ("clean", "noisy"):
        for index, path in enumerate(sorted(Path("set", kind).iterdir())):
            path.rename(path.with_name(f"p{index}.wav"))
    for index, path in enumerate(sorted(Path("theirs").iterdir())):
        soundfile.write(f"theirs/p{index}.flac", *soundfile.read(path))
        path.unlink()
    assert run("--enhanced", "theirs", "--test_set", "set", "-o", "out").exit_code == 0
    assert [row["clip"] for row in table("out/clips.csv")] == [f"p{i}" for i in range(CLIPS) for _ in range(2)]


def test_a_list_of_pairs_is_a_test_set(folder: Path, scored: Counter) -> None:
    lines = [
        f"{name},{index},clean/clean_fileid_{index}.wav,noisy/a_white_snr10_tl-20_fileid_{index}.wav"
        for name in ("no_reverb", "with_reverb")
        for index in range(2)
    ]
    Path("set/pairs.csv").write_text("\n".join(["set,file_id,clean,noisy", *lines]) + "\n")
    assert run("--test_set", "set/pairs.csv", "-o", "out").exit_code == 0
    rows = table("out/clips.csv")[::5]
    assert [row["clip"] for row in rows] == [
        f"{name}/fileid_{index}" for name in ("no_reverb", "with_reverb") for index in range(2)
    ]
    assert [row["set"] for row in rows] == ["no_reverb"] * 2 + ["with_reverb"] * 2


def test_a_folder_of_both_test_sets(folder: Path, scored: Counter) -> None:
    make_test_set(Path("both/no_reverb"))
    make_test_set(Path("both/with_reverb"))
    assert run("--test_set", "both", "-o", "out").exit_code == 0
    assert [row["clip"] for row in table("out/clips.csv")[::5]] == [
        f"{name}/fileid_{index}" for name in ("no_reverb", "with_reverb") for index in range(CLIPS)
    ]


def test_a_stopped_run_goes_on_with_the_clips_that_are_left(folder: Path, scored: Counter, known_bundle: Path) -> None:
    command = (str(known_bundle), "--test_set", "set", "--exits", "1")
    assert run(*command, "-o", "whole").exit_code == 0
    scored.calls, scored.stop_at = 0, 6  # in the third clip
    assert run(*command, "-o", "out").exit_code != 0
    assert not Path("out/clips.csv").exists()
    unfinished = Path("out/.clips.unfinished.csv")
    whole = unfinished.read_text()
    assert whole.count("fileid_0") == whole.count("fileid_1") == 2
    unfinished.write_text(whole + whole.splitlines()[0][:30])  # as a kill leaves it
    scored.calls, scored.stop_at = 0, None
    assert run(*command, "-o", "out").exit_code == 0
    assert scored.calls == 2 * (CLIPS - 2)
    assert contents("out") == contents("whole")
    assert run(*command, "-o", "out").exit_code == 0  # finished: nothing is left to do
    assert scored.calls == 2 * (CLIPS - 2)
    assert contents("out") == contents("whole")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model", "models.exit_1.sha256"),
        ("exits", "systems ['noisy', 'exit_1'], not ['noisy', 'exit_3']"),
        ("test set", "test_set.sha256"),
        ("enhanced", "systems ['noisy', 'exit_1'], not ['noisy', 'exit_1', 'theirs']"),
        ("version", "versions.pesq 0.0.1, not"),
    ],
)
def test_another_question_is_not_answered_with_rows_of_the_first(
    folder: Path, scored: Counter, known_bundle: Path, change: str, message: str
) -> None:
    model, exits, sets = str(known_bundle), "1", ("--test_set", "set")
    scored.stop_at = 3
    run(model, *sets, "--exits", exits, "-o", "out")
    scored.stop_at = None
    if change == "model":
        model = str(save_bundle(DynamicNsNet2(Architecture("concat", (1, 3))), folder / "known"))
    elif change == "exits":
        exits = "3"
    elif change == "test set":
        write_audio("set/noisy/a_white_snr10_tl-20_fileid_2.wav", Audio(np.full((1, 8000), 0.1, np.float32), RATE))
    elif change == "enhanced":
        sets = (*sets, "--enhanced", "theirs")
    else:
        settings = json.loads(Path("out/settings.json").read_text())
        settings["versions"]["pesq"] = "0.0.1"
        Path("out/settings.json").write_text(json.dumps(settings))
    before = contents("out")
    result = run(model, *sets, "--exits", exits, "-o", "out")
    assert result.exit_code == 2
    assert message in result.stderr and "choose another output" in result.stderr and result.stderr.count("\n") == 1
    assert contents("out") == before


def test_the_settings_name_no_place_of_this_machine(folder: Path, scored: Counter, known_bundle: Path) -> None:
    assert run(str(known_bundle), "--test_set", str(folder / "set"), "-o", "out").exit_code == 0
    text = Path("out/settings.json").read_text()
    assert str(folder) not in text and str(known_bundle.parent) not in text
    settings = json.loads(text)
    assert settings["test_set"]["name"] == "set" and settings["test_set"]["clips"] == CLIPS
    assert settings["models"]["exit_3"]["model"] == known_bundle.name


def test_a_baseline_is_a_model_in_the_same_run_or_the_clips_of_another(
    folder: Path, scored: Counter, known_bundle: Path
) -> None:
    """Of the known model exit 1 halves, and the deepest leaves the signal."""
    together = run(str(known_bundle), "--test_set", "set", "--exits", "1", "--baseline", str(known_bundle), "-o", "a")
    assert together.exit_code == 0, together.output
    assert {row["exit"] for row in table("a/clips.csv") if row["system"] == "baseline"} == {"5"}
    assert run(str(known_bundle), "--test_set", "set", "--exits", "5", "-o", "b").exit_code == 0
    for source in ("b", "b/clips.csv"):
        apart = run(str(known_bundle), "--test_set", "set", "--exits", "1", "--baseline", source, "-o", "c")
        assert apart.exit_code == 0, apart.output
        shares = {
            name: [row["share_of_baseline"] for row in table(f"{name}/summary.csv") if row["system"] == "exit_1"]
            for name in ("a", "c")
        }
        assert shares["a"] == shares["c"] and 0.5 < float(shares["a"][0]) < 1.0


@pytest.mark.skipif(not PUBLIC_WEIGHTS.is_file(), reason="no public weights here")
def test_public_weights_and_exported_files_are_models(folder: Path, scored: Counter, known_bundle: Path) -> None:
    export_onnx(load_bundle(known_bundle), "half.onnx", 1)
    result = run("half.onnx", "--test_set", "set", "--baseline", str(PUBLIC_WEIGHTS), "-o", "out")
    assert result.exit_code == 0, result.output
    rows = table("out/clips.csv")
    assert [(row["system"], row["model"]) for row in rows[:3]] == [
        ("noisy", ""),
        ("exit_1", "half.onnx"),
        ("baseline", "nsnet2_257.npz"),
    ]


def test_an_exported_file_is_a_model_at_all_its_exits(folder: Path, scored: Counter, known_bundle: Path) -> None:
    export_onnx(load_bundle(known_bundle), "some_int8.onnx", (0, 1, 5), precision="int8", frames="any")
    command = ("some_int8.onnx", "--test_set", "set", "-o", "out")
    result = run(*command)
    assert result.exit_code == 0, result.output
    systems = ["noisy", "exit_0", "exit_1", "exit_5"]
    rows = table("out/clips.csv")
    assert [row["system"] for row in rows] == systems * CLIPS
    assert {row["model"] for row in rows if row["exit"]} == {"some_int8.onnx"}
    assert "| exit_5 | 67.6% | " in result.stdout
    assert run(*command).exit_code == 0  # finished: nothing is left to do
    assert scored.calls == len(systems) * CLIPS
    export_onnx(load_bundle(known_bundle), "some_int8.onnx", (0, 1, 5), frames="any")
    other = run(*command)
    assert other.exit_code == 2 and "models.exit_0.sha256" in other.stderr


def test_an_exported_file_lacks_what_was_not_exported(folder: Path, scored: Counter, known_bundle: Path) -> None:
    export_onnx(load_bundle(known_bundle), "some.onnx", (0, 1))
    result = run("some.onnx", "--test_set", "set", "--exits", "3", "-o", "out")
    assert result.exit_code == 2 and "some.onnx has no exit 3: choose from [0, 1]" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "out"], "give either --test_set, or --clean and --enhanced"),
        (["--test_set", "set", "--clean", "set/clean", "-o", "out"], "give either"),
        (["--clean", "set/clean", "-o", "out"], "--clean is for --enhanced"),
        (["--clean", "set/clean", "--enhanced", "theirs", "--peers", "rnnoise", "-o", "out"], "need noisy speech"),
        (["--test_set", "none", "-o", "out"], "none: no such folder or file"),
        (["--test_set", "theirs", "-o", "out"], "theirs: no clean/ and noisy/ in it"),
        (["--test_set", "set/log.csv", "-o", "out"], "needs the columns clean and noisy"),
        (["--test_set", "set/clean/clean_fileid_0.wav", "-o", "out"], "not a CSV file"),
        (["--test_set", "set", "--exits", "2", "-o", "out"], "has no exit 2: choose from [0, 1, 3, 5]"),
        (["--test_set", "set", "--exits", "one", "-o", "out"], "--exits is 'one'"),
        (["--test_set", "set", "--peers", "nsnet3", "-o", "out"], "no peer 'nsnet3'"),
        (["--test_set", "set", "--enhanced", "set/noisy", "-o", "out"], "two systems are called noisy"),
        (["--test_set", "set", "--enhanced", "empty", "-o", "out"], "empty: no audio files"),
        (["--test_set", "set", "--baseline", "set/log.csv", "-o", "out"], "log.csv: not a table of clips"),
        (["nowhere", "--test_set", "set", "-o", "out"], "nowhere: no such folder"),
        (["gone.npz", "--test_set", "set", "-o", "out"], "gone.npz: not an .npz archive"),
        (["gone.onnx", "--test_set", "set", "-o", "out"], "gone.onnx: no such file"),
        (["--test_set", "set", "-o", "theirs"], "theirs: holds something else"),
        (["--test_set", "set", "-o", "set/log.csv"], "cannot be written to"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(
    folder: Path, scored: Counter, words: list[str], message: str
) -> None:
    Path("empty").mkdir()
    before = sorted(folder.rglob("*"))
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ") and message in result.stderr and result.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no partner", "set: 1 files without a partner, such as clean_fileid_3.wav"),
        ("missing", "theirs: no file for 1 (fileid_3) of 4 clips"),
        ("stranger", "theirs: 1 (other.wav) match no clip"),
        ("twice", "are both of clip fileid_3"),
        ("longer", "has 9000 samples at 16000 Hz, but its clean file clean_fileid_3.wav has 8000"),
    ],
)
def test_files_that_do_not_belong_together_are_one_line(
    folder: Path, scored: Counter, change: str, message: str
) -> None:
    last = Path("theirs/enhanced_fileid_3_v2.wav")
    if change == "no partner":
        Path("set/noisy/a_white_snr10_tl-20_fileid_3.wav").unlink()
    elif change == "missing":
        last.unlink()
    elif change == "longer":
        write_audio(last, Audio(np.full((1, 9000), 0.1, np.float32), RATE))
    else:
        shutil.copy(last, "theirs/other.wav" if change == "stranger" else "theirs/fileid_3.wav")
    result = run("--test_set", "set", "--enhanced", "theirs", "-o", "out")
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not Path("out").exists() and scored.calls == 0


def test_a_baseline_that_is_none_is_found_out_before_any_work(folder: Path, scored: Counter) -> None:
    assert run("--test_set", "set", "-o", "all").exit_code == 0
    scored.calls = 0
    result = run("--test_set", "set", "--baseline", "all", "-o", "out")
    assert result.exit_code == 2 and "hold exit_0, exit_1, exit_3, exit_5" in result.stderr
    assert scored.calls == 0 and not Path("out").exists()


def test_a_full_disk_is_one_line_and_keeps_what_was_scored(
    folder: Path, scored: Counter, known_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (str(known_bundle), "--test_set", "set", "--exits", "1", "-o", "out")
    original = Path.open

    def full(path: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        if mode == "a" and path.is_file():
            raise OSError(28, "No space left on device", str(path))
        return original(path, mode, *args, **kwargs)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        result = run(*command)
    assert result.exit_code == 2 and "make room" in result.stderr and result.stderr.count("\n") == 1
    scored.calls = 0
    assert run(*command).exit_code == 0 and scored.calls == 2 * (CLIPS - 1)


def test_what_is_not_installed_is_named(folder: Path) -> None:
    for module_name in ("speechmos", "pystoi"):
        code = f"import sys; sys.modules[{module_name!r}] = None; from speechbrain_dynsnet.cli import main; main()"
        words = [sys.executable, "-c", code, "evaluate", "--test_set", "set", "-o", "out"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert f"{module_name} is not installed" in done.stderr and "[evaluation] extra" in done.stderr
        assert not Path("out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
def test_a_killed_run_leaves_no_process_and_goes_on(folder: Path, known_bundle: Path) -> None:
    make_test_set(folder / "longer", seconds=4.6)
    command = [sys.executable, "-m", "speechbrain_dynsnet.cli", "evaluate", str(known_bundle)]
    command += ["--test_set", "longer", "--jobs", "2", "-o"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([*command, "out"], env=environment, stderr=subprocess.DEVNULL)
    unfinished = Path("out/.clips.unfinished.csv")
    deadline = time.monotonic() + 120
    while not unfinished.is_file() or "\n\n" not in unfinished.read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kept = unfinished.read_text().count("\n\n")
    assert workers and 1 <= kept
    for output in ("out", "whole"):
        assert (
            subprocess.run([*command, output], env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0
        )
    assert contents("out") == contents("whole")


@pytest.mark.parametrize("change", ["renumbered", "known otherwise"])
def test_scores_stay_with_their_clips(folder: Path, scored: Counter, known_bundle: Path, change: str) -> None:
    """The same files under other numbers, or with other facts, are another test set."""
    assert run(str(known_bundle), "--test_set", "set", "-o", "out").exit_code == 0
    if change == "renumbered":
        for path in sorted(Path("set").glob("*/*fileid_*"), reverse=True):
            stem, _, number = path.stem.rpartition("_")
            path.rename(path.with_name(f"{stem}_{int(number) + 1}{path.suffix}"))
    Path("set/log.csv").unlink(missing_ok=True)
    before = contents("out")
    again = run(str(known_bundle), "--test_set", "set", "-o", "out")
    assert again.exit_code == 2 and "test_set." in again.stderr and again.stderr.count("\n") == 1
    assert contents("out") == before


def test_a_baseline_of_other_speech_gives_no_shares(folder: Path, scored: Counter, known_bundle: Path) -> None:
    """Where no noisy input was scored, names alone do not show that clips are the same."""
    theirs = ("--enhanced", "theirs", "--clean", "set/clean")
    assert run(str(known_bundle), "--test_set", "set", "--exits", "5", "-o", "base").exit_code == 0
    same = run(*theirs, "--baseline", "base", "-o", "same")
    assert same.exit_code == 0, same.output
    settings = json.loads(Path("base/settings.json").read_text())
    settings["test_set"]["clean_sha256"] = "0" * 64
    Path("base/settings.json").write_text(json.dumps(settings))
    result = run(*theirs, "--baseline", "base", "-o", "other")
    assert result.exit_code == 2 and "nothing shows that it was measured on the same clean speech" in result.stderr
    assert not Path("other").exists()


def test_one_run_at_a_time(folder: Path, scored: Counter, known_bundle: Path) -> None:
    assert run(str(known_bundle), "--test_set", "set", "-o", "out").exit_code == 0
    before = contents("out")
    with hold(Path("out")):
        result = run(str(known_bundle), "--test_set", "set", "-o", "out")
    assert result.exit_code == 2 and "another run is writing to it" in result.stderr
    assert contents("out") == before
