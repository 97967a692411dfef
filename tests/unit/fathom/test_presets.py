from __future__ import annotations

import json
import re
from typing import Any

import pytest

from fathom.options import PRESETS, Colormap, ExrChannel, Options, OptionsRefused, Output, StereoLayout
from fathom.options.presets import expand_preset
from fathom.result_names import result_names


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_for_valid_options_that_can_be_recorded(name: str):
    options = Options.parse({"preset": name})
    record = json.loads(json.dumps(options.to_json()))

    assert options == Options.parse(PRESETS[name].options)
    assert "preset" not in record
    assert Options.from_record(record) == options


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_a_title_and_one_sentence(name: str):
    preset = PRESETS[name]

    assert re.fullmatch(r"[A-Z0-9][^.]+", preset.title)
    assert re.fullmatch(r"[A-Z0-9].+\.", preset.description)
    assert ". " not in preset.description


def test_there_is_a_preset_for_each_purpose():
    assert [*PRESETS] == ["vr", "web3d", "blender", "controlnet", "3dgs", "game", "print", "share"]


@pytest.mark.parametrize(
    ("preset", "files"),
    [
        ("vr", {"stereo": "trip/a_LRF_Full_SBS.jpg"}),
        ("web3d", {"mesh": "trip/a.glb", "thumbnail": "trip/a.thumbnail.jpg"}),
        ("blender", {"exr": "trip/a.exr", "normals": "trip/a.normals.png"}),
        ("controlnet", {"controlnet": "trip/a.controlnet.png"}),
        ("3dgs", {"depth16": "depths/trip/a.png"}),
        ("game", {"layers": "trip/a.layers.zip", "normals": "trip/a.normals.png"}),
        ("print", {"heatmap": "trip/a.png", "depth16": "trip/a.depth16.png"}),
        ("share", {"clip": "trip/a.clip.mp4"}),
    ],
)
def test_a_preset_gives_the_files_of_its_purpose(preset: str, files: dict[str, str]):
    (paths,) = result_names(["trip/a.JPG"], Options.parse({"preset": preset}))

    assert paths == files | {"depth": "trip/a.depth.json"}


def test_depth_for_splatting_is_of_each_photo_and_unclipped():
    options = Options.parse({"preset": "3dgs"})

    assert (options.normalize, options.percentiles, options.size) == ("image", (0.0, 100.0), "original")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (
            {"preset": "vr", "stereo": {"divergence": 3}},
            {"outputs": ["stereo"], "stereo": {"layout": "sbs_full", "divergence": 3}},
        ),
        (
            {"preset": "vr", "stereo": {"layout": "tb_half"}},
            {"outputs": ["stereo"], "stereo": {"layout": "tb_half"}},
        ),
        ({"preset": "vr", "outputs": ["mesh"]}, {"outputs": ["mesh"]}),
        (
            {"preset": "game", "outputs": "layers,mesh", "mesh": {"backfill": False}},
            {"outputs": ["layers", "mesh"], "layers": {"format": "zip"}, "mesh": {"backfill": False}},
        ),
        (
            {"preset": "print", "colormap": "turbo", "outputs": ["heatmap"]},
            {"outputs": ["heatmap"], "colormap": "turbo", "clip": [1, 99]},
        ),
        (
            {"preset": "controlnet", "depth_source": "model"},
            {"outputs": ["controlnet"], "depth_source": "model"},
        ),
    ],
)
def test_given_options_go_over_those_of_the_preset(given: dict[str, Any], meant: dict[str, Any]):
    assert Options.parse(given) == Options.parse(meant)


def test_a_command_line_overrides_a_preset_wherever_it_is_named():
    pairs = ["stereo.layout=cross", "preset=vr", "stereo.swap=yes"]
    options = Options.from_pairs(pairs)

    assert options.outputs == (Output.STEREO,)
    assert (options.stereo.layout, options.stereo.swap) == (StereoLayout.CROSS, True)


def test_what_a_preset_chooses_beyond_the_defaults_is_kept():
    assert Options.parse({"preset": "blender"}).exr.channel is ExrChannel.Y
    assert Options.parse({"preset": "print"}).colormap is Colormap.GRAY


@pytest.mark.parametrize("name", ["", "VR", "cinema", None, 3, ["vr"], {"vr": 1}])
def test_an_unknown_preset_is_refused_with_the_list(name: Any):
    with pytest.raises(OptionsRefused, match=r"^preset must be one of vr, web3d, blender, .*, share$"):
        Options.parse({"preset": name})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"preset": "vr", "mesh": {}}, "mesh has options, but is not among the outputs"),
        ({"preset": "vr", "outputs": ["mesh"], "stereo": {}}, "stereo has options, but is not among"),
        ({"preset": "vr", "stereo": {"layout": "cube"}}, "stereo.layout must be one of"),
        ({"preset": "vr", "stereo": "sbs_half"}, "stereo must be a JSON object"),
        ({"preset": "vr", "outputs": 5}, "outputs must be a list"),
        ({"preset": "vr", "outputs": ["hologram"]}, "outputs must be one of"),
        ({"preset": "vr", "outputs": [["mesh"]]}, "outputs must be one of"),
        ({"preset": "web3d", "size": "network"}, "mesh is made at the photo's own size"),
    ],
)
def test_a_bad_option_beside_a_preset_is_refused_as_it_is_without_one(given: dict[str, Any], names: str):
    with pytest.raises(OptionsRefused, match=names):
        Options.parse(given)


def test_a_record_holds_no_preset():
    with pytest.raises(OptionsRefused, match="preset is not an option"):
        Options.from_record({"preset": "vr"})


def test_expanding_changes_neither_the_given_options_nor_the_preset():
    given = {"preset": "vr", "stereo": {"swap": True}}
    expand_preset(given)["stereo"]["layout"] = "cross"

    assert given == {"preset": "vr", "stereo": {"swap": True}}
    assert PRESETS["vr"].options["stereo"] == {"layout": "sbs_full"}
