from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fathom.options import Options
from fathom.result_names import result_names, safe_path

HEATMAP = Options()
SEVERAL = Options.parse({"outputs": ["heatmap", "depth16", "pfm", "npy", "comparison", "thumbnail"]})


def heatmaps(*names: str) -> list[str]:
    return [paths["heatmap"] for paths in result_names(names, HEATMAP)]


def test_a_heatmap_keeps_the_photos_folder_and_stem():
    assert heatmaps("holiday/2019/IMG_1.JPG", "猫.jpeg", "🌊 sea.png") == [
        "holiday/2019/IMG_1.png",
        "猫.png",
        "🌊 sea.png",
    ]


def test_every_output_has_its_own_name():
    (paths,) = result_names(["a/b.jpg"], SEVERAL)

    assert paths == {
        "heatmap": "a/b.png",
        "depth16": "a/b.depth16.png",
        "pfm": "a/b.pfm",
        "npy": "a/b.npy",
        "comparison": "a/b.comparison.jpg",
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


@pytest.mark.parametrize(
    ("names", "results"),
    [
        (("x.jpg", "x.png/a.jpg"), ["x.jpg.png", "x.png/a.png"]),
        (("x.png/a.jpg", "x.jpg"), ["x.png/a.png", "x.jpg.png"]),
        (("x.jpg", "X.PNG/a.jpg"), ["x.jpg.png", "X.PNG/a.png"]),
        (("é.jpg", "e\u0301.png/a.jpg"), ["é.jpg.png", "e\u0301.png/a.png"]),
        (("x.jpg", "x.png/deep/er/a.jpg"), ["x.jpg.png", "x.png/deep/er/a.png"]),
        (("x.jpg", "x.jpg.png/a.jpg", "x.png/a.jpg"), ["x.jpg (2).png", "x.jpg.png/a.png", "x.png/a.png"]),
        (("x.jpg", "x.png./a.jpg"), ["x.jpg.png", "x.png/a.png"]),
        (("a/x.jpg", "x.png/a.jpg"), ["a/x.png", "x.png/a.png"]),
    ],
)
def test_no_result_has_the_name_of_a_folder_of_results(names: tuple[str, ...], results: list[str]):
    assert heatmaps(*names) == results


def test_thirty_thousand_photos_of_one_name_are_numbered():
    folded = heatmaps(*["a.jpg"] * 30_000)

    assert folded[:4] == ["a.png", "a.jpg.png", "a.jpg (2).png", "a.jpg (3).png"]
    assert folded[-1] == "a.jpg (29999).png"


def test_names_that_differ_only_in_case_or_composition_count_as_the_same():
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


@pytest.mark.parametrize("name", ["深" * 300 + ".jpeg", "a" * 300, "a" * 199 + ". b/" + "c" * 300 + ".jpg"])
def test_no_result_name_is_longer_than_a_file_system_allows(name: str):
    parts = [
        part
        for paths in result_names([name] * 20, SEVERAL)
        for path in paths.values()
        for part in path.split("/")
    ]

    assert max(len(part.encode()) for part in parts) <= 255
    assert not any(part.endswith((".", " ")) for part in parts)


#: Names that collide: a few parts as folders and as files.
CROWDED = st.lists(st.sampled_from(["x", "X.png", "x.jpg", "x.png", "é.png", "e\u0301.jpg", "x.jpg (2).png"]), min_size=1, max_size=3).map("/".join)  # fmt: skip


@given(st.lists(st.text(max_size=30) | CROWDED, max_size=20))
def test_results_stay_inside_the_folder_and_differ_for_any_names(names: list[str]):
    results = list(result_names(names, SEVERAL))
    paths = [path for result in results for path in result.values()]

    assert len(results) == len(names)
    folded = {unicodedata.normalize("NFC", path).casefold() for path in paths}
    assert len(folded) == len(paths)
    assert folded.isdisjoint(parent.as_posix() for path in folded for parent in PurePosixPath(path).parents)
    for path in paths:
        assert not PurePosixPath(path).is_absolute()
        assert not PureWindowsPath(path).is_absolute()
        assert ".." not in PurePosixPath(path).parts
        assert path.encode()


def _only_path(name: str, options: dict[str, Any], result: str) -> str:
    return next(result_names([name], Options.parse(options)))[result]


@pytest.mark.parametrize(
    ("layout", "path"),
    [
        ("sbs_full", "a/b_LRF_Full_SBS.jpg"),
        ("sbs_half", "a/b_LR.jpg"),
        ("tb_full", "a/b_TBF_fulltb.jpg"),
        ("tb_half", "a/b_TB.jpg"),
        ("cross", "a/b_RLF_cross.jpg"),
        ("anaglyph", "a/b_redcyan.jpg"),
        ("rgbd", "a/b_RGBD.jpg"),
    ],
)
def test_a_stereo_picture_ends_as_players_for_headsets_expect(layout: str, path: str):
    assert _only_path("a/b.JPG", {"outputs": "stereo", "stereo": {"layout": layout}}, "stereo") == path


def test_a_stereo_pair_is_two_results():
    options = Options.parse({"outputs": "stereo", "stereo": {"layout": "pair"}})
    paths = next(result_names(["a/b.JPG"], options))

    assert paths == {
        "stereo_left": "a/b_left.jpg",
        "stereo_right": "a/b_right.jpg",
        "depth": "a/b.depth.json",
    }


@pytest.mark.parametrize(("kind", "path"), [("psd", "a/b.psd"), ("zip", "a/b.layers.zip")])
def test_layers_with_masks_have_the_numbers_of_the_labels_as_a_second_result(kind: str, path: str):
    layers = {"format": kind, "masks": True}
    paths = next(result_names(["a/b.JPG"], Options.parse({"outputs": "layers", "layers": layers})))

    assert paths == {"layers": path, "labels": "a/b.labels.json", "depth": "a/b.depth.json"}
    assert _only_path("a/b.JPG", {"outputs": "layers", "layers": {"format": kind}}, "layers") == path


def test_a_folder_of_their_own_holds_maps_with_the_names_of_their_photos():
    options = {"outputs": "depth16", "depth16": {"folder": "depths"}}

    assert _only_path("a/b.JPG", options, "depth16") == "depths/a/b.png"


def test_no_map_in_a_folder_of_its_own_has_the_name_of_a_folder_there():
    options = Options.parse({"outputs": "depth16", "depth16": {"folder": "depths"}})
    paths = [path["depth16"] for path in result_names(["b.jpg", "b.png/c.jpg"], options)]

    assert paths == ["depths/b.jpg.png", "depths/b.png/c.png"]
