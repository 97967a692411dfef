"""What a person may ask of a job. The command, the API and the pipeline read it by this one rule.

It needs nothing but Python, because the client is installed without the server's libraries.
"""

from fathom.options.fields import OptionsRefused
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
from fathom.options.job_options import (
    MAPS,
    Colormap,
    DepthSource,
    Edges,
    HeatmapFormat,
    Normalize,
    Options,
    Output,
    Size,
)

__all__ = [
    "MAPS",
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
    "RefocusOptions",
    "Size",
    "StereoLayout",
    "StereoOptions",
]
