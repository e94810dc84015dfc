"""Names and layout of the challenge's data, as they really are."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechbrain_dynsnet.data.dns2020 import (
    NoisyName,
    find_test_pairs,
    find_tree,
    noise_category,
    noise_recording,
    parse_noisy,
    reader_of,
)
from speechbrain_dynsnet.data.manifest import Source, split_off_valid
from speechbrain_dynsnet.errors import InputError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("name", "category", "recording"),
    [
        ("traffic_248091_3.wav", "traffic", "traffic_248091"),
        ("air_conditioner_151977_10.wav", "air_conditioner", "air_conditioner_151977"),
        ("clatter_noise_431472__debsound__retro-bicycle-20-ride_0.wav", "clatter_noise", "clatter_noise_431472"),
        ("--9VR_F7CtY.wav", "audioset", "--9VR_F7CtY.wav"),
        ("-0JNMxLVqpk.wav", "audioset", "-0JNMxLVqpk.wav"),
        ("rain.wav", None, "rain.wav"),
        ("noise_3.wav", None, "noise_3.wav"),
        ("my kitchen at night.flac", None, "my kitchen at night.flac"),
    ],
)
def test_noise_names(name: str, category: str | None, recording: str) -> None:
    assert (noise_category(name), noise_recording(name)) == (category, recording)


def test_reader_names() -> None:
    assert reader_of("book_00000_chp_0009_reader_06709_11.wav") == "06709"
    assert reader_of("p232_001.wav") is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clnsp102_traffic_248091_3_snr0_tl-21_fileid_268.wav", NoisyName(268, 0.0, -21.0)),
        ("clnsp126_3Wjw0nadnM4_snr15_tl-22_fileid_0.wav", NoisyName(0, 15.0, -22.0)),
        ("clnsp263_uOZZEV1IcDI-copy_machine_426874_7_snr3_tl-31_fileid_290.wav", NoisyName(290, 3.0, -31.0)),
        ("clnsp1_train_69005_1_snr15_fileid_158.wav", NoisyName(158, 15.0, None)),
        ("a_b_snr-5_fileid_7.wav", NoisyName(7, -5.0, None)),
        ("a_b_snr12.25_tl-17.5_fileid_7.wav", NoisyName(7, 12.25, -17.5)),
        ("a\nb_snr5_fileid_7.wav", NoisyName(7, 5.0, None)),  # a name may hold anything but a slash
        ("clean_fileid_7.wav", None),
        ("a_b_snr5.wav", None),
        ("a_b_snr5_tl_fileid_7.wav", None),
    ],
)
def test_noisy_names_in_both_styles(name: str, expected: NoisyName | None) -> None:
    assert parse_noisy(name) == expected


def test_pieces_of_one_recording_stay_on_one_side() -> None:
    noises = [
        Source(Path(f"birds_{recording}_{piece}.wav"), "noise", "birds")
        for recording in range(1000, 1020)
        for piece in range(5)
    ]
    by_split = split_off_valid(noises)
    recordings = {
        split: {noise_recording(source.path.name) for source in sources} for split, sources in by_split.items()
    }
    assert len(recordings["valid"]) == 2
    assert not recordings["train"] & recordings["valid"]


def test_a_tree_is_found_from_above_and_from_within(tmp_path: Path) -> None:
    touch(tmp_path, "datasets/clean/a.wav", "datasets/noise/b.wav")
    tree = find_tree(tmp_path)
    assert tree == find_tree(tmp_path / "datasets")
    assert (tree.clean, tree.impulse_responses, tree.synthetic) == (tmp_path / "datasets" / "clean", None, None)
    touch(tmp_path, "datasets/impulse_responses/c.wav", "datasets/test_set/synthetic/no_reverb/clean/d.wav")
    tree = find_tree(tmp_path)
    assert tree.impulse_responses == tmp_path / "datasets" / "impulse_responses"
    assert tree.synthetic == tmp_path / "datasets" / "test_set" / "synthetic"


@pytest.mark.parametrize(
    ("names", "message"),
    [([], "no clean/ and no noise/"), (["datasets/clean/a.wav"], "there is no noise/"), (["x/a.wav"], "--clean")],
)
def test_a_folder_that_is_no_download_is_named(tmp_path: Path, names: list[str], message: str) -> None:
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=message) as caught:
        find_tree(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone: no such folder"):
        find_tree(tmp_path / "gone")


def test_pairs_match_by_file_id_in_both_sets_and_styles(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"no_reverb/clean/clean_fileid_{file_id}.wav" for file_id in (0, 2, 10)),
        "no_reverb/noisy/clnsp126_3Wjw0nadnM4_snr15_tl-22_fileid_0.wav",
        "no_reverb/noisy/clnsp1_train_69005_1_snr3_tl-21_fileid_10.wav",
        "no_reverb/noisy/clnsp1_train_69005_1_snr9_tl-21_fileid_2.wav",
        "with_reverb/clean/clean_fileid_0.wav",
        "with_reverb/noisy/clnsp126_3Wjw0nadnM4_snr7_fileid_0.wav",
    )
    pairs, left_out = find_test_pairs(tmp_path)
    assert [(pair.test_set, pair.file_id, pair.snr_db) for pair in pairs] == [
        ("no_reverb", 0, 15.0),
        ("no_reverb", 2, 9.0),
        ("no_reverb", 10, 3.0),
        ("with_reverb", 0, 7.0),
    ]
    assert all(pair.clean.name == f"clean_fileid_{pair.file_id}.wav" for pair in pairs)
    assert all(pair.noisy.parent.parent.name == pair.test_set == pair.clean.parent.parent.name for pair in pairs)
    assert left_out == {}


def test_files_without_a_partner_or_a_number_are_left_out(tmp_path: Path) -> None:
    clean, noisy = tmp_path / "no_reverb" / "clean", tmp_path / "no_reverb" / "noisy"
    touch(clean, "clean_fileid_1.wav", "clean_fileid_2.wav", "other.wav")
    touch(noisy, "a_b_snr1_tl-20_fileid_1.wav", "a_b_snr1_tl-20_fileid_3.wav", "mixed.wav")
    pairs, left_out = find_test_pairs(tmp_path)
    assert [pair.file_id for pair in pairs] == [1]
    assert left_out == {
        clean / "other.wav": "its name has no file id",
        noisy / "mixed.wav": "its name has no SNR and file id",
        clean / "clean_fileid_2.wav": "no noisy file of its id",
        noisy / "a_b_snr1_tl-20_fileid_3.wav": "no clean file of its id",
    }


def test_two_files_of_one_id_are_both_named(tmp_path: Path) -> None:
    touch(tmp_path / "no_reverb" / "noisy", "a_b_snr1_tl-20_fileid_1.wav", "c_d_snr5_fileid_1.wav")
    with pytest.raises(InputError, match="a_b_snr1_tl-20_fileid_1.wav and .*c_d_snr5_fileid_1.wav have the same"):
        find_test_pairs(tmp_path)
