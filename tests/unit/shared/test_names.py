from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.names import result_names, safe_path
from shared.options import Options

HEATMAP = Options()
SEVERAL = Options.parse({"outputs": ["heatmap", "depth16", "pfm", "npy", "side_by_side", "thumbnail"]})


def heatmaps(*names: str) -> list[str]:
    return [paths["heatmap"] for paths in result_names(names, HEATMAP)]


def test_a_heatmap_keeps_the_photos_folder_and_stem():
    assert heatmaps("holiday/2019/IMG_1.JPG", "猫.jpeg", "🌊 sea.png") == [
        "holiday/2019/IMG_1.png",
        "猫.png",
        "🌊 sea.png",
    ]


def test_every_output_has_a_name_of_its_own():
    (paths,) = result_names(["a/b.jpg"], SEVERAL)

    assert paths == {
        "heatmap": "a/b.png",
        "depth16": "a/b.depth16.png",
        "pfm": "a/b.pfm",
        "npy": "a/b.npy",
        "side_by_side": "a/b.side_by_side.jpg",
        "thumbnail": "a/b.thumbnail.jpg",
        "depth": "a/b.depth.json",
    }


def test_photos_of_the_same_stem_do_not_overwrite_each_other():
    assert heatmaps("b.jpg", "b.png", "b.JPG", "b.png") == [
        "b.png",
        "b.png.png",
        "b.JPG.png",
        "b.png (2).png",
    ]


def test_names_that_differ_in_case_or_composition_alone_count_as_the_same():
    composed, split = "é.jpg", unicodedata.normalize("NFD", "é.jpg")

    first, second, *_ = heatmaps(composed, split)
    third, fourth = heatmaps("Sea.jpg", "sEA.jpg")

    assert first != unicodedata.normalize("NFC", second)
    assert third.casefold() != fourth.casefold()


def test_a_result_never_takes_the_name_of_another_photos_result():
    names = list(result_names(["a.jpg", "a.depth16.jpg"], SEVERAL))
    everything = [path for paths in names for path in paths.values()]

    assert len(everything) == len(set(everything))


@pytest.mark.parametrize(
    ("given_name", "safe"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\Windows\\x.jpg", "C_/Windows/x.jpg"),
        ("a//b/./c.jpg", "a/b/c.jpg"),
        ("..", "unnamed"),
        ("", "unnamed"),
        (". . /x.jpg", "_/x.jpg"),
        ("CON.jpg", "_CON.jpg"),
        ("lpt1", "_lpt1"),
        ("a\x00b\n.jpg", "a_b_.jpg"),
        ("what?.jpg", "what_.jpg"),
        ("trailing. ", "trailing"),
        ("\ud800.jpg", "_.jpg"),
    ],
)
def test_a_hostile_name_becomes_a_harmless_path(given_name: str, safe: str):
    assert safe_path(given_name) == safe


def test_a_very_long_name_is_cut_between_characters_and_keeps_its_suffix():
    path = safe_path("深" * 300 + ".jpeg")

    assert len(path.encode()) <= 200
    assert path.endswith("深.jpeg")


@given(st.lists(st.text(max_size=30), max_size=20))
def test_whatever_the_names_results_stay_inside_and_apart(names: list[str]):
    results = list(result_names(names, SEVERAL))
    paths = [path for result in results for path in result.values()]

    assert len(results) == len(names)
    assert len({unicodedata.normalize("NFC", path).casefold() for path in paths}) == len(paths)
    for path in paths:
        assert not PurePosixPath(path).is_absolute()
        assert not PureWindowsPath(path).is_absolute()
        assert ".." not in PurePosixPath(path).parts
        assert path.encode()
