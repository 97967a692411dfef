"""What a person may ask of a job. The command, the API and the pipeline read it by this one rule.

It needs nothing but Python, because the client is installed without the server's libraries.
"""

from fathom.options.fields import OptionsRefused, nested
from fathom.options.groups import (
    Anaglyph,
    Axes,
    ClipFormat,
    ClipOptions,
    CloudOptions,
    Depth16Options,
    ExrChannel,
    ExrOptions,
    Eyes,
    LayersFormat,
    LayersOptions,
    MeshOptions,
    Motion,
    NormalsFormat,
    NormalsOptions,
    RefocusOptions,
    StereoLayout,
    StereoOptions,
)
from fathom.options.guide import OUTPUT_TEXTS
from fathom.options.job_options import (
    MAPS,
    Colormap,
    DepthSource,
    Edges,
    HeatmapFormat,
    Normalize,
    Options,
    Output,
    Quality,
    Size,
)
from fathom.options.presets import PRESETS, Preset

__all__ = [
    "MAPS",
    "OUTPUT_TEXTS",
    "PRESETS",
    "Anaglyph",
    "Axes",
    "ClipFormat",
    "ClipOptions",
    "CloudOptions",
    "Colormap",
    "Depth16Options",
    "DepthSource",
    "Edges",
    "ExrChannel",
    "ExrOptions",
    "Eyes",
    "HeatmapFormat",
    "LayersFormat",
    "LayersOptions",
    "MeshOptions",
    "Motion",
    "Normalize",
    "NormalsFormat",
    "NormalsOptions",
    "Options",
    "OptionsRefused",
    "Output",
    "Preset",
    "Quality",
    "RefocusOptions",
    "Size",
    "StereoLayout",
    "StereoOptions",
    "nested",
]
