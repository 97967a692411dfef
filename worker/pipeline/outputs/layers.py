"""The photo as layers by depth: a Photoshop document, or PNGs and a description in a ZIP."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any
from zipfile import ZipFile, ZipInfo

import cv2
import numpy as np

from fathom.options import LayersFormat
from worker.pipeline.encode.files import encode_rgba_png
from worker.pipeline.encode.psd import (
    ALPHA,
    BLUE,
    GREEN,
    RED,
    Plane,
    PsdLayer,
    check_psd_size,
    encode_psd,
)
from worker.pipeline.outputs.rendering import Rendering, dilate
from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.camera import DEPTH_RATIO, distances
from worker.pipeline.scene.layers.division import Division, Part, divide_by_depth, divide_by_labels, sample_of
from worker.pipeline.scene.layers.labelled import Thing
from worker.pipeline.scene.layers.stack import Layer, LayerStack, Window
from worker.pipeline.stages import Stage

_COLOURS = RED, GREEN, BLUE

#: Rows packed at a time: they stay in the processor's cache.
_STRIP_ROWS = 64

#: The earliest time that a ZIP can state: the same photo gives the same bytes.
_EPOCH = 1980, 1, 1, 0, 0, 0


def layers(r: Rendering) -> bytes:
    is_psd = r.options.layers.format is LayersFormat.PSD
    if is_psd:
        check_psd_size(*r.depth.shape)
    with r.stopwatch.time(Stage.UPSAMPLE):
        from_top, gray = _cut(r)
    # What takes a strip of a layer and encodes it is faster than what makes it, so both count as encoding.
    with r.stopwatch.time(Stage.ENCODE):
        return _psd(r.photo.rgb, gray, from_top) if is_psd else _zip(r.depth.shape, from_top)


def labels(r: Rendering) -> bytes:
    """Describe the depth inside each label of the photo."""
    things = r.labelled.things if r.labelled else ()
    height, width = r.depth.shape
    facts = {
        "width": width,
        "height": height,
        "labels": [_describe_thing(thing, height * width) for thing in things],
    }
    return _as_json(facts)


def _cut(r: Rendering) -> tuple[Iterator[Layer], Pixels]:
    """Return the layers from the top, and nearness as a picture if the document is to have it.

    The iterator alone holds the map and the masks, so that their memory is free for the file once it ends.
    """
    nearness = r.nearness(*r.depth.shape)
    is_psd = r.options.layers.format is LayersFormat.PSD
    gray = _gray(nearness) if is_psd else np.empty((0, 0), np.uint8)
    stack = LayerStack(r.photo.rgb, _divide(r, nearness), r.options.layers.bleed)
    return stack.from_top(), gray


def _divide(r: Rendering, nearness: Floats) -> Division:
    given = r.options.layers
    if r.labelled and r.labelled.things:
        return divide_by_labels(r.labelled, nearness, given.count)
    sample = sample_of(nearness)
    return divide_by_depth(sample, dilate(nearness, given.edge_dilation), given.count)


def _gray(nearness: Floats) -> Pixels:
    """Return nearness as a picture: white is near."""
    return np.asarray(cv2.convertScaleAbs(nearness, alpha=255), np.uint8)


def _names(parts: Sequence[Part]) -> list[str]:
    """Name layers from the farthest to the nearest: by their label, else by their number."""
    ends = {0: " far", len(parts) - 1: " near"} if len(parts) > 1 else {}
    return [
        f"{number + 1}{ends.get(number, '')}" if part.label is None else f"label {part.label}"
        for number, part in enumerate(parts)
    ]


def _psd(photo: Pixels, gray: Pixels, from_top: Iterator[Layer]) -> bytes:
    """Return a document with the layers, their depth as a hidden one, and the photo as what they make."""
    made = [(layer.part, layer.box, _pack_layer(layer)) for layer in from_top]
    made.reverse()
    names = _names([part for part, _, _ in made])
    shown = [
        PsdLayer(name=name, box=_corners(box), planes=planes)
        for name, (_, box, planes) in zip(names, made, strict=True)
    ]
    depth = _pack_depth(gray)
    hidden = PsdLayer(
        name="depth", box=(0, 0, *gray.shape), shown=False, planes=dict.fromkeys(_COLOURS, depth)
    )
    return encode_psd(gray.shape, [*shown, hidden], _pack_photo(photo))


def _corners(box: Window) -> tuple[int, int, int, int]:
    return box.top, box.left, box.bottom, box.right


def _pack_layer(layer: Layer) -> dict[int, Plane]:
    planes = {channel: Plane() for channel in (ALPHA, *_COLOURS)}
    for rgb, alpha in layer.strips():
        planes[ALPHA].add_runs(alpha)
        _add_colours(rgb, [planes[channel] for channel in _COLOURS])
    return planes


def _pack_photo(photo: Pixels) -> list[Plane]:
    planes = [Plane() for _ in _COLOURS]
    for top in range(0, photo.shape[0], _STRIP_ROWS):
        _add_colours(photo[top : top + _STRIP_ROWS], planes)
    return planes


def _add_colours(rgb: Pixels, planes: Sequence[Plane]) -> None:
    for plane, channel in zip(planes, cv2.split(rgb), strict=True):
        plane.add(np.asarray(channel, np.uint8))


def _pack_depth(gray: Pixels) -> Plane:
    plane = Plane()
    for top in range(0, gray.shape[0], _STRIP_ROWS):
        plane.add_runs(gray[top : top + _STRIP_ROWS])
    return plane


def _zip(shape: tuple[int, int], from_top: Iterator[Layer]) -> bytes:
    """Return PNGs, the farthest layer first, and `layers.json`."""
    made = [(layer.part, layer.box, _png(layer)) for layer in from_top]
    made.reverse()
    parts = [part for part, _, _ in made]
    names = _names(parts)
    files = [_file_name(number, name) for number, name in enumerate(names, start=1)]
    described = _describe_layers(names, files, parts, [box for _, box, _ in made])
    height, width = shape
    facts = {"width": width, "height": height, "depth_ratio": DEPTH_RATIO, "layers": described}
    whole = io.BytesIO()
    with ZipFile(whole, "w") as archive:
        archive.writestr(ZipInfo("layers.json", _EPOCH), _as_json(facts))
        for file, (_, _, png) in zip(files, made, strict=True):
            # A PNG is compressed already.
            archive.writestr(ZipInfo(file, _EPOCH), png)
    return whole.getvalue()


def _png(layer: Layer) -> bytes:
    return encode_rgba_png(_rgba(layer), layer.box.shape)


def _rgba(layer: Layer) -> Iterator[Pixels]:
    for rgb, alpha in layer.strips():
        rgba = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA)
        cv2.insertChannel(alpha, rgba, 3)
        yield np.asarray(rgba, np.uint8)


def _file_name(number: int, name: str) -> str:
    """Return a name that sorts from far to near: `1-far.png`, `02-label-7.png`."""
    words = name.split()
    rest = words[1:] if words[0].isdigit() else words
    return "-".join([f"{number:02}", *rest]) + ".png"


def _describe_layers(
    names: Sequence[str], files: Sequence[str], parts: Sequence[Part], boxes: Sequence[Window]
) -> list[dict[str, Any]]:
    z = distances(np.array([part.nearness for part in parts], np.float32), DEPTH_RATIO).tolist()
    return [
        {
            "file": file,
            "name": name,
            "z": round(far, 4),
            # A thing twice as far away moves half as fast; the nearest layer moves with the camera.
            "scroll": round(z[-1] / far, 4),
            "box": _box(box.top, box.left, *box.shape),
        }
        for name, file, far, box in zip(names, files, z, boxes, strict=True)
    ]


def _describe_thing(thing: Thing, pixels: int) -> dict[str, Any]:
    low, median, high = (round(value, 6) for value in thing.quartiles)
    return {
        "label": thing.label,
        "name": f"label {thing.label}",
        "nearness": {"lower_quartile": low, "median": median, "upper_quartile": high},
        "area": thing.area,
        "share": round(thing.area / pixels, 6),
        "box": _box(*thing.box),
    }


def _box(top: int, left: int, height: int, width: int) -> dict[str, int]:
    return {"x": left, "y": top, "width": width, "height": height}


def _as_json(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode()
