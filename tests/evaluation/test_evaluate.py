"""A row for each clip and system, the same however many processes, and nothing that is no number among the numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_dynsnet.audio.files import Audio, read_audio, write_audio
from speechbrain_dynsnet.audio.resample import resample
from speechbrain_dynsnet.errors import InputError
from speechbrain_dynsnet.evaluation import evaluate as module
from speechbrain_dynsnet.evaluation.evaluate import COLUMNS, Row, evaluate
from speechbrain_dynsnet.evaluation.metrics import METRICS, Scores, score
from speechbrain_dynsnet.evaluation.systems import Folder, Network, Noisy, Output, Pair, System, find_exits
from speechbrain_dynsnet.model.bundle import load_bundle
from speechbrain_dynsnet.runtime.export import export_onnx

RATE = 16000


def samples(path: Path | None) -> np.ndarray:
    assert path is not None
    return read_audio(path).samples[0]


def all_rows(pairs: list[Pair], systems: list[System], jobs: int = 1) -> list[Row]:
    by_clip = {rows[0]["clip"]: rows for rows in evaluate(pairs, systems, jobs)}
    return [row for pair in pairs for row in by_clip[pair.clip]]


def network(folder: Path, *exits: int) -> Network:
    return Network(folder, "known", exits)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that cost nothing: the mean square of the estimate."""

    def energy(clean: np.ndarray, estimate: np.ndarray) -> Scores:
        return Scores(dict.fromkeys(METRICS, float(np.square(estimate).mean())), {})

    monkeypatch.setattr(module, "score", energy)


@pytest.fixture(scope="module")
def rows(pairs: list[Pair], known_bundle: Path) -> list[Row]:
    return all_rows(pairs, [Noisy(), network(known_bundle, 1, 3)])


def test_rows_are_the_scores_of_what_each_system_makes(rows: list[Row], pairs: list[Pair]) -> None:
    assert [row["system"] for row in rows] == ["noisy", "exit_1", "exit_3"] * len(pairs)
    assert [row["exit"] for row in rows] == ["", "1", "3"] * len(pairs)
    assert [row["model"] for row in rows] == ["", "known", "known"] * len(pairs)
    assert all(tuple(row) == (*COLUMNS, "snr_db") and row["failures"] == "" for row in rows)
    for pair, of_clip in zip(pairs, zip(*[iter(rows)] * 3, strict=True), strict=True):
        assert {row["clip"] for row in of_clip} == {pair.clip}
        assert {row["snr_db"] for row in of_clip} == {pair.facts["snr_db"]}
        expected = score(samples(pair.clean), samples(pair.noisy)).values
        for metric in METRICS:
            assert float(of_clip[0][metric]) == pytest.approx(expected[metric], abs=1e-6)
            # Exit 3 of this model changes nothing, and exit 1 halves: the scale is nothing to SI-SDR.
            assert float(of_clip[2][metric]) == pytest.approx(expected[metric], abs=1e-2)
        assert float(of_clip[1]["si_sdr_db"]) == pytest.approx(expected["si_sdr_db"], abs=1e-2)


def test_two_processes_give_the_same_rows_to_the_last_digit(
    rows: list[Row], pairs: list[Pair], known_bundle: Path
) -> None:
    assert all_rows(pairs, [Noisy(), network(known_bundle, 1, 3)], jobs=2) == rows


def test_all_exits_come_from_one_pass(
    pairs: list[Pair], known_bundle: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    kind = type(load_bundle(known_bundle))
    forward = kind.forward

    def counted(self: torch.nn.Module, features: torch.Tensor, exit: object) -> object:
        passes.append(exit)
        return forward(self, features, exit=exit)

    monkeypatch.setattr(kind, "forward", counted)
    rows = all_rows(pairs, [network(known_bundle, 0, 1, 3, 5)])
    assert len(rows) == 4 * len(pairs) and passes == [(0, 1, 3, 5)] * len(pairs)


@pytest.mark.parametrize("exits", [(1,), (0, 1, 5)])
@pytest.mark.parametrize("frames", [1, "any"])
def test_an_exported_file_is_measured_as_the_model_that_it_is(
    pairs: list[Pair], known_bundle: Path, quick: None, tmp_path: Path, exits: tuple[int, ...], frames: int | str
) -> None:
    file = export_onnx(load_bundle(known_bundle), tmp_path / "some.onnx", exits, frames=frames)
    exported = Network(file, "some.onnx", find_exits(file))
    bundled = network(known_bundle, *exits)
    for ours, theirs in zip(all_rows(pairs, [exported]), all_rows(pairs, [bundled]), strict=True):
        assert (ours["system"], ours["exit"], ours["model"]) == (theirs["system"], theirs["exit"], "some.onnx")
        assert float(ours["stoi"]) == pytest.approx(float(theirs["stoi"]), rel=1e-3)
    assert exported.macs_shares() == bundled.macs_shares()


def test_only_some_exits_of_an_exported_file(
    pairs: list[Pair], known_bundle: Path, quick: None, tmp_path: Path
) -> None:
    file = export_onnx(load_bundle(known_bundle), tmp_path / "all.onnx", frames="any")
    one, other = all_rows(pairs[:1], [Network(file, "all.onnx", (1, 3))])
    # Exit 1 of this model halves, and the score is the mean square.
    assert (one["exit"], other["exit"]) == ("1", "3")
    assert float(one["stoi"]) == pytest.approx(float(other["stoi"]) / 4, rel=1e-3)


def test_files_of_another_rate_are_measured_at_16_khz(pairs: list[Pair], tmp_path: Path) -> None:
    pair = pairs[1]
    fine = replace(pair, clean=tmp_path / "clean.wav", noisy=tmp_path / "noisy.wav")
    for path, source in ((fine.clean, pair.clean), (fine.noisy, pair.noisy)):
        assert path is not None
        write_audio(path, Audio(resample(samples(source)[None], RATE, 48000), 48000, "WAV", "FLOAT"))
    expected = score(samples(pair.clean), samples(pair.noisy)).values
    (row,) = all_rows([fine], [Noisy()])
    # Next to 8 kHz, resampling filters.
    assert float(row["si_sdr_db"]) == pytest.approx(expected["si_sdr_db"], abs=1.0)
    assert float(row["stoi"]) == pytest.approx(expected["stoi"], abs=1e-3)


def test_a_broken_file_of_a_system_is_counted_against_it_and_nothing_else(pairs: list[Pair], tmp_path: Path) -> None:
    length = len(samples(pairs[0].clean))
    (tmp_path / "text.wav").write_text("no audio\n" * 99)
    bad = samples(pairs[1].noisy).copy()
    bad[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", bad, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(length), RATE)
    given = [
        replace(pair, enhanced=tmp_path / f"{name}.wav")
        for pair, name in zip(pairs, ("text", "nan", "silent"), strict=True)
    ]
    rows = all_rows(given, [Folder("theirs")])
    for row, reason in zip(rows, ("not audio", "NaN", "silent"), strict=True):
        assert row["system"] == "theirs"
        assert [row[metric] for metric in METRICS] == [""] * len(METRICS)
        named = dict(entry.split(": ", 1) for entry in row["failures"].split("; "))
        assert named.keys() == METRICS.keys() and all(reason in told for told in named.values())
        assert str(tmp_path) not in row["failures"]


@pytest.mark.parametrize("part", ["noisy", "enhanced"])
def test_files_of_different_lengths_are_an_error_with_both(pairs: list[Pair], tmp_path: Path, part: str) -> None:
    write_audio(tmp_path / "short.wav", Audio(samples(pairs[0].noisy)[None, :-160], RATE))
    pair = replace(pairs[0], **{"enhanced": pairs[0].noisy, part: tmp_path / "short.wav"})
    with pytest.raises(InputError, match=r"short.wav: has 72840 .* clean_fileid_0.wav has 73000"):
        all_rows([pair], [Noisy(), Folder("theirs")])


def test_two_channels_are_an_error(pairs: list[Pair], tmp_path: Path) -> None:
    write_audio(tmp_path / "stereo.wav", Audio(np.stack([samples(pairs[0].noisy)] * 2), RATE))
    with pytest.raises(InputError, match=r"stereo.wav: has 2 channels"):
        all_rows([replace(pairs[0], noisy=tmp_path / "stereo.wav")], [Noisy()])


def test_an_unreadable_clean_file_ends_the_run(pairs: list[Pair], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.wav: no such file"):
        all_rows([replace(pairs[0], clean=tmp_path / "gone.wav")], [Noisy()])


def test_systems_can_be_told_apart_by_what_they_hold(known_bundle: Path, tmp_path: Path) -> None:
    one, other = network(known_bundle, 1).identity(), Network(known_bundle, "known", (1,)).identity()
    assert one == other
    digests = {
        Network(file, "known", (1,)).identity()["sha256"]
        for precision in ("fp32", "int8")
        for file in [export_onnx(load_bundle(known_bundle), tmp_path / f"{precision}.onnx", precision=precision)]
    }
    assert len(digests | {one["sha256"]}) == 3
    assert Network(known_bundle, "known", (3,), system="baseline").outputs == (Output("baseline", "known", 3),)
