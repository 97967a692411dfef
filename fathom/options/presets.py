"""Presets: outputs and options for a purpose, under one name.

A preset is expanded where options are given, so a job is recorded with plain options and shows what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fathom.options.fields import OptionsRefused, read_parts

#: The name by which a preset is asked for, among the options.
PRESET: Final = "preset"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What one purpose needs."""

    title: str
    #: What it gives, in one sentence.
    description: str
    #: Options as a client may give them.
    options: Mapping[str, Any]


PRESETS: Final[Mapping[str, Preset]] = {
    "vr": Preset(
        title="VR headset",
        description="A stereo picture, both views side by side at full width, named so that VR players "
        "recognise it.",
        options={"outputs": ["stereo"], "stereo": {"layout": "sbs_full"}},
    ),
    "web3d": Preset(
        title="3D on the web",
        description="A textured mesh (GLB) light enough for a web page, and a thumbnail to show while it "
        "loads.",
        options={"outputs": ["mesh", "thumbnail"], "mesh": {"vertices": 100_000}},
    ),
    # Blender's image textures show a single channel called Y as gray; one called Z is no colour to them
    # (source/blender/imbuf/intern/openexr/openexr_api.cpp).
    "blender": Preset(
        title="Blender",
        description="Float depth (EXR) for displacement, as a gray image texture, and 16-bit normals with "
        "green up.",
        options={
            "outputs": ["exr", "normals"],
            "exr": {"channel": "Y"},
            "normals": {"format": "opengl", "bits": 16},
        },
    ),
    "controlnet": Preset(
        title="ControlNet",
        description="The 8-bit picture that ControlNet's depth models take: near is white, over the full "
        "range.",
        options={"outputs": ["controlnet"]},
    ),
    # The folder and the files are those of the official implementation's `--depths`
    # (https://github.com/graphdeco-inria/gaussian-splatting#depth-regularization).
    "3dgs": Preset(
        title="3D Gaussian splatting",
        description="16-bit inverse depth of every photo as `depths/<photo>.png`, over its own range and "
        "unclipped, for depth regularisation.",
        options={"outputs": ["depth16"], "depth16": {"folder": "depths"}, "normalize": "image"},
    ),
    "game": Preset(
        title="Game engine",
        description="Layers for parallax (PNGs and `layers.json` in a ZIP), and normals with green up to "
        "light them, as Unity and Godot do.",
        options={
            "outputs": ["layers", "normals"],
            "layers": {"format": "zip"},
            "normals": {"format": "opengl"},
        },
    ),
    # A few outliers would otherwise take most of the height of a relief.
    "print": Preset(
        title="3D print",
        description="A gray height map without outliers, near is white and so high, as slicers and engravers "
        "take it; and 16-bit depth, which has no steps.",
        options={"outputs": ["heatmap", "depth16"], "colormap": "gray", "percentiles": [1, 99]},
    ),
    "share": Preset(
        title="Clip to share",
        description="A film of four seconds that loops, in which a camera circles before the photo.",
        options={"outputs": ["clip"]},
    ),
}


def expand_preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with those of their preset, if they name one, beneath them.

    Given outputs replace the preset's, and its options for outputs that are no longer wanted fall away.
    Groups are merged field by field. Raises OptionsRefused for a preset that does not exist.
    """
    options = dict(given)
    if PRESET not in options:
        return options
    name = options.pop(PRESET)
    if not isinstance(name, str) or name not in PRESETS:
        raise OptionsRefused(f"{PRESET} must be one of {', '.join(PRESETS)}")
    return dict(_merge(PRESETS[name].options, options))


def _merge(preset: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    outputs = _named(given.get("outputs", preset["outputs"]))
    for name, value in preset.items():
        if not isinstance(value, Mapping) or name in outputs:
            yield name, value
    for name, value in given.items():
        below = preset.get(name)
        merges = isinstance(value, Mapping) and isinstance(below, Mapping)
        yield name, dict(below or {}) | dict(value) if merges else value


def _named(outputs: Any) -> list[Any]:
    """Return the names in a list of outputs; none if it is not a list, which is refused later."""
    try:
        return read_parts(outputs)
    except ValueError:
        return []
