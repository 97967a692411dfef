from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from pydantic import TypeAdapter

from fathom.options import (
    OUTPUT_TEXTS,
    DepthSource,
    Edges,
    Normalize,
    Options,
    OptionsRefused,
    Output,
    Quality,
    StereoLayout,
    StereoOptions,
)
from fathom.options.fields import as_json
from fathom.result_names import output_files


def test_the_default_is_one_png_heatmap_a_photo():
    options = Options()

    assert options.outputs == (Output.HEATMAP,)
    assert output_files(options) == {"heatmap": "heatmap.png", "depth": "depth.json"}


def test_options_round_trip_through_json():
    options = Options.parse(
        {"outputs": ["pfm", "depth16"], "percentiles": [2, 98], "normalize": "job", "heatmap_format": "jpeg"}
    )

    assert Options.parse(options.to_json()) == options


@pytest.mark.parametrize("edges", list(Edges))
def test_recorded_options_are_read_as_they_were_given(edges: Edges):
    options = Options(edges=edges)

    assert Options.from_record(options.to_json()) == options


def test_options_recorded_before_edges_could_be_chosen_have_smooth_ones():
    older = {name: value for name, value in Options().to_json().items() if name != "edges"}

    assert Options.from_record(older) == Options(edges=Edges.SMOOTH)
    assert Options.parse(older).edges is Edges.SNAP


def test_options_recorded_before_quality_could_be_chosen_are_of_one_prediction():
    older = {name: value for name, value in Options().to_json().items() if name != "quality"}

    assert Options.from_record(older).quality is Quality.STANDARD is Options().quality
    assert Options.from_pairs(["quality=detailed"]).quality is Quality.DETAILED


def test_options_recorded_before_depth_could_come_from_the_photo_are_of_the_network():
    older = {name: value for name, value in Options().to_json().items() if name != "depth_source"}

    assert Options.from_record(older) == Options(depth_source=DepthSource.MODEL)


def test_a_comparison_recorded_under_its_old_name_is_one():
    older = Options().to_json() | {"outputs": ["heatmap", "side_by_side"]}

    assert Options.from_record(older).outputs == (Output.HEATMAP, Output.COMPARISON)


@pytest.mark.parametrize("given", [[2, 98], "2,98"])
def test_percentiles_may_have_their_older_name(given: Any):
    assert Options.parse({"clip": given}).percentiles == (2.0, 98.0)
    assert Options.from_record({"clip": given}).percentiles == (2.0, 98.0)


def test_a_clip_beside_its_options_is_not_taken_for_percentiles():
    assert Options.parse({"outputs": "clip", "clip": {"seconds": 2}}).clip.seconds == 2


def test_options_of_an_output_are_a_group_of_its_name():
    given = Options.from_pairs(
        ["outputs=stereo,refocus", "stereo.layout=sbs_half", "refocus.focus=0.25,0.75"]
    )

    assert given.stereo == StereoOptions(layout=StereoLayout.SBS_HALF)
    assert given.refocus.focus == (0.25, 0.75)
    assert Options.from_record(given.to_json()) == given


def test_options_tell_nothing_of_outputs_that_were_not_asked_for():
    assert "stereo" not in Options().to_json()


def test_a_command_line_gives_the_same_options_as_json():
    given = Options.from_pairs(
        ["outputs=heatmap, depth16", "percentiles=2,98", "invert=true", "normalize=job"]
    )

    assert given == Options.parse(
        {"outputs": ["heatmap", "depth16"], "percentiles": [2, 98], "invert": True, "normalize": "job"}
    )
    assert given.normalize is Normalize.JOB


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({"outputs": []}, "outputs"),
        ({"outputs": ["heatmap", "heatmap"]}, "outputs"),
        ({"outputs": ["hologram"]}, "outputs"),
        ({"percentiles": [98, 2]}, "percentiles"),
        ({"percentiles": [-1, 50]}, "percentiles"),
        ({"percentiles": [0, 101]}, "percentiles"),
        ({"percentiles": [5, 5]}, "percentiles"),
        ({"percentiles": [1]}, "percentiles"),
        ({"percentiles": ["nan", "100"]}, "percentiles"),
        ({"colormap": "jet"}, "colormap"),
        ({"colour": "inferno"}, "colour"),
        ({"size": 512}, "size"),
        ({"outputs": ["stereo"], "stereo": {"layout": "cube"}}, "stereo.layout must be one of"),
        ({"outputs": ["stereo"], "stereo": {"depth": 1}}, "stereo.depth is not an option; .* divergence"),
        (
            {"outputs": ["stereo"], "stereo": {"divergence": 5.1}},
            "stereo.divergence must be a number from 0 to 5",
        ),
        ({"outputs": ["stereo"], "stereo": "sbs_half"}, "stereo must be a JSON object"),
        (
            {"outputs": ["layers"], "layers": {"count": 2.5}},
            "layers.count must be a whole number from 2 to 8",
        ),
        ({"outputs": ["layers"], "layers": {"count": True}}, "layers.count"),
        ({"outputs": ["normals"], "normals": {"bits": 12}}, "normals.bits must be 8 or 16"),
        ({"outputs": ["refocus"], "refocus": {"focus": [0.5, 1.5]}}, "refocus.focus must be a point"),
        ({"outputs": ["refocus"], "refocus": {"focus": []}}, "refocus.focus"),
        ({"outputs": ["depth16"], "depth16": {"folder": "../up"}}, "depth16.folder"),
        ({"stereo": {"layout": "sbs_half"}}, "stereo has options, but is not among the outputs"),
        ({"outputs": ["mesh"], "size": "network"}, "mesh is made at the photo's own size"),
        ({"edges": "sharp"}, "edges"),
        ({"quality": "best"}, "quality"),
        ({"invert": "perhaps"}, "invert"),
        ({"invert": None}, "invert"),
        ({"invert": []}, "invert"),
        ({"size": {"original": 1}}, "size"),
        ({"outputs": "heatmap,hologram"}, "outputs"),
        ({"outputs": {"heatmap": 1}}, "outputs"),
        ({"outputs": [["heatmap"]]}, "outputs"),
        ({"percentiles": 50}, "percentiles"),
        ({"percentiles": [None, 50]}, "percentiles"),
        ({"percentiles": [0, 10**400]}, "percentiles"),
        ([], "object"),
        (None, "object"),
    ],
)
def test_a_bad_option_is_refused_by_its_name(data: Any, names: str):
    with pytest.raises(OptionsRefused, match=names):
        Options.parse(data)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("true", True), ("YES", True), (1, True), (True, True), ("off", False), ("0", False), (0, False)],
)
def test_a_flag_is_read_in_all_usual_spellings(written: object, meant: bool):
    assert Options.parse({"invert": written}).invert is meant


def test_the_api_describes_exactly_the_options_that_are_read():
    described = TypeAdapter(Options).json_schema()

    assert described["additionalProperties"] is False
    assert [*described["properties"]] == [each.name for each in fields(Options)]
    assert all(each.get("description") for each in described["properties"].values())
    assert described["properties"]["outputs"]["minItems"] == 1


def test_the_api_describes_the_options_of_each_output():
    described = TypeAdapter(Options).json_schema()
    groups = {
        name: described["$defs"][each["$ref"].rpartition("/")[2]]
        for name, each in described["properties"].items()
        if is_dataclass(getattr(Options(), name))
    }

    assert {*groups} <= {*Output}
    assert all(group["additionalProperties"] is False for group in groups.values())
    for name, group in groups.items():
        defaults = {field: value["default"] for field, value in group["properties"].items()}
        assert defaults == as_json(getattr(Options(), name))
        assert all(value["description"] for value in group["properties"].values())


@pytest.mark.parametrize(
    ("group", "field", "says"),
    [
        ("StereoOptions", "divergence", {"type": "number", "minimum": 0, "maximum": 5}),
        ("LayersOptions", "count", {"type": "integer", "minimum": 2, "maximum": 8}),
        ("MeshOptions", "backfill", {"type": "boolean", "default": True}),
        ("NormalsOptions", "bits", {"type": "integer", "enum": [8, 16]}),
        ("RefocusOptions", "focus", {"items": {"type": "number", "minimum": 0, "maximum": 1}}),
        ("Depth16Options", "folder", {"pattern": "^([A-Za-z0-9][A-Za-z0-9_-]{0,39})?$"}),
    ],
)
def test_the_api_describes_the_limits_of_an_option(group: str, field: str, says: dict[str, Any]):
    described = TypeAdapter(Options).json_schema()["$defs"][group]["properties"][field]

    assert described == described | says


def test_every_output_is_explained_in_one_sentence():
    assert [*OUTPUT_TEXTS] == [*Output]
    assert all(re.fullmatch(r"[A-Z][^.]+\.", text) for text in OUTPUT_TEXTS.values())


def test_all_errors_are_reported_at_once():
    with pytest.raises(OptionsRefused) as caught:
        Options.parse({"size": "huge", "colormap": "jet"})

    assert "size" in str(caught.value)
    assert "colormap" in str(caught.value)


def test_a_pair_without_a_value_is_refused():
    with pytest.raises(OptionsRefused, match="name=value"):
        Options.from_pairs(["invert"])


@pytest.mark.parametrize("pairs", [["clip=2,98", "clip.seconds=2"], ["clip.seconds=2", "clip=2,98"]])
def test_a_name_is_not_given_both_by_itself_and_as_a_group(pairs: list[str]):
    with pytest.raises(OptionsRefused, match="clip is given both by itself and as a group"):
        Options.from_pairs(["outputs=clip", *pairs])
