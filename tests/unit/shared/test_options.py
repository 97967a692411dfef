from __future__ import annotations

import pytest

from shared.errors import InvalidOptions
from shared.jobs.object_keys import output_files
from shared.options import Edges, Normalize, Options, Output


def test_the_default_is_one_png_heatmap_a_photo():
    options = Options()

    assert options.outputs == (Output.HEATMAP,)
    assert output_files(options) == {"heatmap": "heatmap.png", "depth": "depth.json"}


def test_options_survive_the_way_through_json():
    options = Options.parse(
        {"outputs": ["pfm", "depth16"], "clip": [2, 98], "normalize": "job", "heatmap_format": "jpeg"}
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


def test_a_command_line_gives_the_same_options_as_json():
    given = Options.from_pairs(["outputs=heatmap, depth16", "clip=2,98", "invert=true", "normalize=job"])

    assert given == Options.parse(
        {"outputs": ["heatmap", "depth16"], "clip": [2, 98], "invert": True, "normalize": "job"}
    )
    assert given.normalize is Normalize.JOB


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({"outputs": []}, "outputs"),
        ({"outputs": ["heatmap", "heatmap"]}, "outputs"),
        ({"outputs": ["mesh"]}, "outputs"),
        ({"clip": [98, 2]}, "clip"),
        ({"clip": [-1, 50]}, "clip"),
        ({"clip": [0, 101]}, "clip"),
        ({"clip": [5, 5]}, "clip"),
        ({"clip": [1]}, "clip"),
        ({"clip": ["nan", "100"]}, "clip"),
        ({"colormap": "jet"}, "colormap"),
        ({"colour": "inferno"}, "colour"),
        ({"size": 512}, "size"),
        ({"edges": "sharp"}, "edges"),
        ({"invert": "perhaps"}, "invert"),
    ],
)
def test_a_bad_option_is_refused_by_its_name(data: dict[str, object], names: str):
    with pytest.raises(InvalidOptions, match=names):
        Options.parse(data)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(InvalidOptions) as caught:
        Options.parse({"size": "huge", "colormap": "jet"})

    assert "size" in caught.value.message
    assert "colormap" in caught.value.message


def test_a_pair_without_a_value_is_refused():
    with pytest.raises(InvalidOptions, match="name=value"):
        Options.from_pairs(["invert"])
