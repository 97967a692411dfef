"""The options of single outputs: each group has the name of its output."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from fathom.options.fields import (
    NOTHING_ELSE,
    as_number,
    choice,
    custom,
    described,
    flag,
    folder,
    number,
    read_parts,
    whole_number,
)

#: The range of a field of view, in degrees along the longer side of a photo.
_FOV = 10.0, 150.0
#: How many times as far away as the nearest point the farthest one may be.
_RATIO = 1.5, 100.0

_FOV_TEXT = "Field of view along the longer side in degrees, for photos whose EXIF does not give it."
_RATIO_TEXT = "How many times as far as the nearest point the farthest one is."
_DILATION_TEXT = (
    "By how many pixels of the prediction near things are widened, so that none of their colour stays behind."
)


def _edge_dilation(default: float) -> Any:
    return number(default, 0.0, 4.0, _DILATION_TEXT)


def _focus(default: tuple[float, ...], what: str) -> Any:
    """Declare a point of a photo, or a depth."""
    return custom(
        default,
        f"{what}: a point `x,y`, each from 0 to 1, from the left and the top; or one number, a depth "
        "from 0, far, to 1, near.",
        _read_focus,
        min_length=1,
        max_length=2,
        **described(items={"type": "number", "minimum": 0, "maximum": 1}),
    )


def _read_focus(value: Any) -> tuple[float, ...]:
    parts = read_parts([value] if isinstance(value, int | float) else value)
    try:
        focus = tuple(as_number(part) for part in parts)
    except ValueError:
        focus = ()
    if len(focus) in (1, 2) and all(0 <= each <= 1 for each in focus):
        return focus
    raise ValueError("must be a point `x,y` or one depth, each from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class _Group:
    __pydantic_config__: ClassVar[dict[str, Any]] = NOTHING_ELSE


@dataclass(frozen=True, kw_only=True)
class Depth16Options(_Group):
    """Options of the output `depth16`."""

    folder: str = folder(
        "The folder for all of these results, with the photos' own names: `depths` gives `depths/a/b.png`. "
        "Without one, `a/b.depth16.png`."
    )


class ExrChannel(StrEnum):
    Z = "Z"
    R = "R"
    Y = "Y"


@dataclass(frozen=True, kw_only=True)
class ExrOptions(_Group):
    """Options of the output `exr`."""

    channel: ExrChannel = choice(ExrChannel.Z, "The name of its one channel.")


class NormalsFormat(StrEnum):
    OPENGL = "opengl"
    DIRECTX = "directx"


@dataclass(frozen=True, kw_only=True)
class NormalsOptions(_Group):
    """Options of the output `normals`."""

    format: NormalsFormat = choice(NormalsFormat.OPENGL, "`opengl`: green is up; `directx`: green is down.")
    bits: int = custom(
        8,
        "Bits of each of the three channels: 8 or 16.",
        lambda value: _read_bits(value),
        **described(enum=[8, 16]),
    )
    fov: float = number(60.0, *_FOV, _FOV_TEXT)
    depth_ratio: float = number(6.0, *_RATIO, _RATIO_TEXT)


class StereoLayout(StrEnum):
    SBS_FULL = "sbs_full"
    SBS_HALF = "sbs_half"
    TB_FULL = "tb_full"
    TB_HALF = "tb_half"
    CROSS = "cross"
    ANAGLYPH = "anaglyph"
    PAIR = "pair"
    RGBD = "rgbd"


class Eyes(StrEnum):
    BOTH = "both"
    LEFT = "left"
    RIGHT = "right"


class Anaglyph(StrEnum):
    DUBOIS = "dubois"
    HALF_COLOR = "half_color"
    GRAY = "gray"


@dataclass(frozen=True, kw_only=True)
class StereoOptions(_Group):
    """Options of the output `stereo`."""

    layout: StereoLayout = choice(
        StereoLayout.SBS_FULL,
        "`sbs_*`: left and right beside each other; `tb_*`: left above right; `*_half`: each squeezed to "
        "half its width or height; `cross`: right beside left, for crossed eyes; `anaglyph`: for red and "
        "cyan glasses; `pair`: two files; `rgbd`: the photo beside its depth in gray, near is white.",
    )
    divergence: float = number(
        2.0, 0.0, 5.0, "Disparity between the nearest and the farthest point, in percent of the width."
    )
    convergence: float = number(
        0.5, 0.0, 1.0, "Where the screen is, from 0, at the farthest point, to 1, at the nearest."
    )
    eyes: Eyes = choice(
        Eyes.BOTH,
        "`both`: two new views; `left` or `right`: that one is new, and the other is the photo, cut to the "
        "same frame.",
    )
    swap: bool = flag(False, "Exchange both views.")
    anaglyph: Anaglyph = choice(
        Anaglyph.DUBOIS,
        "The colours of an anaglyph: `dubois` comes closest to the photo's; `half_color` has a gray left "
        "view; `gray` has the least ghosts and no colour.",
    )
    edge_dilation: float = _edge_dilation(1.0)


@dataclass(frozen=True, kw_only=True)
class MeshOptions(_Group):
    """Options of the output `mesh`."""

    vertices: int = whole_number(250_000, 1_000, 1_000_000, "The largest number of vertices.")
    fov: float = number(60.0, *_FOV, _FOV_TEXT)
    depth_ratio: float = number(6.0, *_RATIO, _RATIO_TEXT)
    backfill: bool = flag(True, "Add a second sheet behind the cuts, so that none shows a hole.")
    edge_dilation: float = _edge_dilation(0.5)


class Axes(StrEnum):
    OPENGL = "opengl"
    OPENCV = "opencv"


@dataclass(frozen=True, kw_only=True)
class CloudOptions(_Group):
    """Options of the output `cloud`."""

    axes: Axes = choice(Axes.OPENGL, "`opengl`: y up, -z forward; `opencv`: y down, z forward.")
    points: int = whole_number(1_000_000, 1_000, 5_000_000, "The largest number of points.")
    fov: float = number(60.0, *_FOV, _FOV_TEXT)
    depth_ratio: float = number(6.0, *_RATIO, _RATIO_TEXT)


class LayersFormat(StrEnum):
    PSD = "psd"
    ZIP = "zip"


@dataclass(frozen=True, kw_only=True)
class LayersOptions(_Group):
    """Options of the output `layers`."""

    format: LayersFormat = choice(
        LayersFormat.PSD, "`psd`: layers of a picture; `zip`: PNGs and `layers.json`."
    )
    count: int = whole_number(4, 2, 8, "The largest number of layers.")
    bleed: int = whole_number(32, 0, 512, "By how many pixels a layer is continued under the ones above.")
    masks: bool = flag(
        False, "Make each label of a photo's label picture a layer, and describe its depth in `labels.json`."
    )
    edge_dilation: float = _edge_dilation(0.5)


@dataclass(frozen=True, kw_only=True)
class RefocusOptions(_Group):
    """Options of the output `refocus`."""

    focus: tuple[float, ...] = _focus((0.5, 0.5), "What is sharp")
    aperture: float = number(
        1.0,
        0.0,
        4.0,
        "Radius of the blur of the farthest point while the nearest is sharp, in percent of the longer side.",
    )
    edge_dilation: float = _edge_dilation(0.5)


class ClipFormat(StrEnum):
    MP4 = "mp4"
    WEBP = "webp"
    GIF = "gif"


class Motion(StrEnum):
    ORBIT = "orbit"
    SWAY = "sway"
    DOLLY = "dolly"
    ZOOM = "zoom"


@dataclass(frozen=True, kw_only=True)
class ClipOptions(_Group):
    """Options of the output `clip`."""

    format: ClipFormat = choice(
        ClipFormat.MP4, "`mp4` is H.264; `webp` and `gif` are at most 480 pixels high."
    )
    motion: Motion = choice(
        Motion.ORBIT, "`orbit` and `sway`: around the focus; `dolly`: towards it; `zoom`: mostly enlarged."
    )
    seconds: float = number(4.0, 1.0, 12.0, "The length of one loop.")
    fps: int = whole_number(30, 5, 60, "Frames a second; a GIF has 25, 20, 10 or 5, the nearest below.")
    height: int = whole_number(1080, 64, 2160, "The height of the frames; no photo is enlarged.")
    amount: float = number(
        2.0, 0.0, 5.0, "How far the nearest point moves past the farthest one, in percent of the width."
    )
    focus: tuple[float, ...] = _focus((0.3,), "What stays in its place")
    edge_dilation: float = _edge_dilation(0.5)


def _read_bits(value: Any) -> int:
    if as_number(value) not in (8, 16):
        raise ValueError("must be 8 or 16")
    return int(as_number(value))
