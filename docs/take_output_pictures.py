"""Take the pictures of `docs/outputs.md`: `python -m docs.take_output_pictures [NAME ...]`.

Every picture is made from the files that the pipeline makes of the sample photographs with the starter
weights, as another program would read them.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import zipfile
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench.album import SAMPLES
from docs.scene_views import Viewpoint, draw_points, draw_surfaces, read_glb, read_ply
from fathom.options import Options
from shared.settings import Settings
from worker.model.engines import load_engine
from worker.pipeline.pipeline import Pipeline

IMAGES = Path(__file__).with_name("images")
_QUALITY = 85
#: The height of a panel, and the space between panels.
_HEIGHT, _GAP = 300, 8

Pixels = NDArray[np.uint8]

ASTRONAUT, PHOTOGRAPHER = "people/astronaut.jpg", "people/photographer.jpeg"
CAT, COFFEE = "动物/猫.jpg", "COFFEE.JPG"


def take_pictures(names: Sequence[str]) -> None:
    """Write the named pictures into `docs/images`, or all of them."""
    for name in names or [*PICTURES, *MOVING]:
        if name in MOVING:
            (IMAGES / f"output-{name}.webp").write_bytes(MOVING[name]())
        else:
            _row(PICTURES[name]()).save(IMAGES / f"output-{name}.jpg", quality=_QUALITY, optimize=True)


def maps() -> list[Pixels]:
    """Show the photo, its heatmap, and the maps that are numbers, as grays."""
    files = _render(ASTRONAUT, "outputs=heatmap,depth16,exr,controlnet")
    words = cv2.imdecode(np.frombuffer(files["depth16"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert words is not None
    return [
        _photo(ASTRONAUT),
        _picture(files["heatmap"]),
        _gray(words / 65535),
        _gray(_tone_mapped(files["exr"])),
        _picture(files["controlnet"]),
    ]


def thumbnail() -> list[Pixels]:
    return [_picture(_render(COFFEE, "outputs=thumbnail")["thumbnail"])]


def normals() -> list[Pixels]:
    opengl, directx = (
        _picture(_render(COFFEE, "outputs=normals", f"normals.format={name}")["normals"])
        for name in ("opengl", "directx")
    )
    return [_photo(COFFEE), opengl, directx]


def stereo() -> list[Pixels]:
    given = "outputs=stereo", "stereo.divergence=3"
    layouts = ("anaglyph", "sbs_half", "rgbd")
    return [_picture(_render(ASTRONAUT, *given, f"stereo.layout={layout}")["stereo"]) for layout in layouts]


def mesh() -> list[Pixels]:
    """Show a mesh from both sides, and without the second sheet."""
    given = "outputs=mesh", "mesh.depth_ratio=3"
    with_sheet, without = (
        read_glb(_render(ASTRONAUT, *given, f"mesh.backfill={flag}")["mesh"]) for flag in ("true", "false")
    )
    left, right = (_viewpoint(ASTRONAUT, yaw=yaw, pitch=4) for yaw in (-14, 14))
    return [
        draw_surfaces(with_sheet, left),
        draw_surfaces(with_sheet, right),
        draw_surfaces(without, right),
    ]


def cloud() -> list[Pixels]:
    points = read_ply(_render(COFFEE, "outputs=cloud", "cloud.depth_ratio=3")["cloud"])
    return [draw_points(points, _viewpoint(COFFEE, yaw=yaw, pitch=8)) for yaw in (-14, 14)]


def layers() -> list[Pixels]:
    """Show the layers one behind the other, the farthest on the left."""
    file = _render(ASTRONAUT, "outputs=layers", "layers.format=zip")["layers"]
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        described = json.loads(archive.read("layers.json"))
        placed = [_on_canvas(described, layer, archive) for layer in described["layers"]]
    return [_exploded(placed)]


def refocus() -> list[Pixels]:
    given = "outputs=refocus", "refocus.aperture=2.5"
    near, far = (
        _picture(_render(PHOTOGRAPHER, *given, f"refocus.focus={focus}")["refocus"])
        for focus in ("0.45,0.25", "0")
    )
    return [_photo(PHOTOGRAPHER), near, far]


def embedded() -> list[Pixels]:
    """Show the photo with the map in its XMP."""
    file = _render(CAT, "outputs=embedded")["embedded"]
    return [_picture(file), _picture(_depth_in_xmp(file))]


def clip() -> bytes:
    given = "clip.format=webp", "clip.height=240", "clip.fps=10", "clip.seconds=3", "clip.amount=4"
    return _render(CAT, "outputs=clip", *given)["clip"]


PICTURES: Mapping[str, Callable[[], list[Pixels]]] = {
    each.__name__: each for each in (maps, thumbnail, normals, stereo, mesh, cloud, layers, refocus, embedded)
}
#: Pictures that move, as files.
MOVING: Mapping[str, Callable[[], bytes]] = {"clip": clip}


# --- results and how they are read ---


def _render(sample: str, *pairs: str) -> dict[str, bytes]:
    files = _pipeline().render((SAMPLES / sample).read_bytes(), Options.from_pairs(pairs))
    return {file.output: file.data for file in files}


@cache
def _pipeline() -> Pipeline:
    settings = dataclasses.replace(Settings.from_environ({}), weights="starter", precision="f32")
    return Pipeline.from_settings(load_engine(settings), settings)


def _photo(sample: str) -> Pixels:
    return _picture((SAMPLES / sample).read_bytes())


def _picture(data: bytes) -> Pixels:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def _tone_mapped(exr: bytes) -> NDArray[np.float32]:
    """Return the values of an EXR from 0 to 1, with the far ones lifted."""
    # OpenEXR's own binding reads a file by its name.
    import tempfile

    import OpenEXR

    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        Path(file.name).write_bytes(exr)
        values = OpenEXR.File(file.name).channels()["Z"].pixels
    values = (values - values.min()) / np.ptp(values)
    return np.asarray(values**0.5, np.float32)


def _depth_in_xmp(jpeg: bytes) -> bytes:
    """Return the map in a JPEG's extended XMP, whose parts lie in segments of their own."""
    name = b"http://ns.adobe.com/xmp/extension/\0"
    # After the name: 32 bytes of digest, the length of the whole and the offset of the part.
    parts, at = [], 2
    while jpeg[at + 1] != 0xDA:
        length = int.from_bytes(jpeg[at + 2 : at + 4])
        segment = jpeg[at + 4 : at + 2 + length]
        if segment.startswith(name):
            parts.append(segment[len(name) + 40 :])
        elif segment.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            parts.append(segment)
        at += 2 + length
    packet = b"".join(parts)
    return b64decode(packet.partition(b'GDepth:Data="')[2].partition(b'"')[0])


def _viewpoint(sample: str, *, yaw: float, pitch: float) -> Viewpoint:
    height, width = _photo(sample).shape[:2]
    scale = _HEIGHT / height
    return Viewpoint(width=round(scale * width), height=_HEIGHT, fov=60, yaw=yaw, pitch=pitch, middle=1.5)


# --- layers ---


def _on_canvas(described: Mapping[str, int], layer: Mapping[str, object], archive: zipfile.ZipFile) -> Pixels:
    """Return a layer of a ZIP at the photo's size, RGBA."""
    canvas: Pixels = np.zeros((described["height"], described["width"], 4), np.uint8)
    box = layer["box"]
    assert isinstance(box, dict)
    picture = np.asarray(Image.open(io.BytesIO(archive.read(str(layer["file"])))).convert("RGBA"))
    canvas[box["y"] : box["y"] + box["height"], box["x"] : box["x"] + box["width"]] = picture
    return canvas


def _exploded(placed: Sequence[Pixels]) -> Pixels:
    """Draw layers as sheets turned to the side, each over the one before it."""
    height, width = placed[0].shape[:2]
    scale, narrowed, raised = _HEIGHT / height, 0.55, 0.18
    sheet, step = round(scale * width * narrowed), round(scale * width * 0.45)
    rise = round(_HEIGHT * raised)
    size = sheet + step * (len(placed) - 1) + 2 * _GAP, _HEIGHT + rise + 2 * _GAP
    picture: NDArray[np.float32] = np.full((size[1], size[0], 3), 250, np.float32)
    for number, layer in enumerate(placed):
        rgba = _framed(layer)
        left = _GAP + number * step
        # Its right side lies higher.
        turn = np.array([[scale * narrowed, 0, left], [-rise / width, scale, _GAP + rise]], np.float32)
        laid = cv2.warpAffine(rgba, turn, size, flags=cv2.INTER_AREA).astype(np.float32)
        picture += laid[..., :3] - picture * (laid[..., 3:] / 255)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _framed(layer: Pixels) -> Pixels:
    """Return a layer with premultiplied colours, a frame, and a haze where it is empty."""
    alpha = layer[..., 3:].astype(np.float32) / 255
    haze = np.array([210, 214, 222, 255], np.float32) * 0.35
    opaque = np.concatenate([layer[..., :3], np.full_like(layer[..., 3:], 255)], axis=2)
    mixed = opaque * alpha + haze * (1 - alpha)
    cv2.rectangle(mixed, (0, 0), (layer.shape[1] - 1, layer.shape[0] - 1), (120, 120, 130, 255), 2)
    return np.asarray(np.rint(mixed), np.uint8)


# --- pictures ---


def _gray(values: NDArray[np.floating]) -> Pixels:
    gray = np.rint(255 * values).astype(np.uint8)
    return np.repeat(gray[..., np.newaxis], 3, axis=2)


def _row(panels: Sequence[Pixels]) -> Image.Image:
    """Put pictures beside each other, at one height."""
    shown = [_of_height(panel) for panel in panels]
    width = sum(each.width for each in shown) + _GAP * (len(shown) - 1)
    row = Image.new("RGB", (width, max(each.height for each in shown)), "white")
    left = 0
    for each in shown:
        row.paste(each, (left, 0))
        left += each.width + _GAP
    return row


def _of_height(panel: Pixels) -> Image.Image:
    image = Image.fromarray(panel)
    if image.height <= _HEIGHT:
        return image
    return image.resize((round(image.width * _HEIGHT / image.height), _HEIGHT), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    take_pictures(sys.argv[1:])
