"""Draw what is in space from a camera that has moved: the pictures of meshes and clouds in the documentation.

Surfaces are drawn as points close together, the nearest ones last. It reads the files alone.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, cos, radians, sin
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

#: Pixels drawn for one of the picture, in each direction; they are averaged.
_FINER = 2

#: The types of numbers in a glTF buffer, and how many make an element.
_TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_COUNTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}


@dataclass(frozen=True)
class Points:
    """Places in space, n x 3, with x to the right, y up and -z forward, and their colours, n x 3."""

    places: Floats
    colours: Pixels


@dataclass(frozen=True)
class Surface:
    """Triangles, m x 3, between places, n x 3, with a picture at `uv`, n x 2 from the top left."""

    places: Floats
    uv: Floats
    triangles: NDArray[np.int64]
    picture: Pixels


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """A camera that sees `fov` degrees along its longer side, turned around the middle of the scene."""

    width: int
    height: int
    fov: float
    #: Degrees to the right and up.
    yaw: float = 0.0
    pitch: float = 0.0
    #: How far away the middle of the scene is.
    middle: float = 2.0
    #: How many times as far away from there the camera is.
    distance: float = 1.0

    def project(self, places: Floats) -> Floats:
        """Return columns, rows and distances of places, n x 3."""
        a, b = radians(self.yaw), radians(self.pitch)
        turn = [
            [cos(a), sin(a) * sin(b), -sin(a) * cos(b)],
            [0, cos(b), sin(b)],
            [sin(a), -cos(a) * sin(b), cos(a) * cos(b)],
        ]
        turned = (places + np.array([0, 0, self.middle], np.float32)) @ np.array(turn, np.float32)
        away = np.maximum(self.middle * self.distance - turned[:, 2], 1e-3)
        focal = max(self.width, self.height) / 2 / np.tan(radians(self.fov) / 2)
        columns = self.width / 2 + focal * turned[:, 0] / away
        rows = self.height / 2 - focal * turned[:, 1] / away
        return np.stack([columns, rows, away], axis=1).astype(np.float32)


def read_ply(data: bytes) -> Points:
    """Read a binary little-endian PLY of float x, y, z and uchar red, green, blue."""
    header, _, body = data.partition(b"end_header\n")
    count = int(header.partition(b"element vertex ")[2].split(maxsplit=1)[0])
    points = np.frombuffer(body, np.dtype([("places", "<f4", 3), ("colours", "u1", 3)]), count)
    return Points(points["places"], points["colours"])


def read_glb(data: bytes) -> list[Surface]:
    """Read the meshes of a GLB with one picture each, which hold no transformations."""
    length = struct.unpack_from("<I", data, 12)[0]
    scene, buffer = json.loads(data[20 : 20 + length]), data[28 + length :]
    return [
        _surface(scene, buffer, primitive) for mesh in scene["meshes"] for primitive in mesh["primitives"]
    ]


def _surface(scene: dict[str, Any], buffer: bytes, primitive: dict[str, Any]) -> Surface:
    material = scene["materials"][primitive["material"]]["pbrMetallicRoughness"]
    texture = scene["textures"][material["baseColorTexture"]["index"]]
    picture = _view(scene, buffer, scene["images"][texture["source"]]["bufferView"])
    places = _accessor(scene, buffer, primitive["attributes"]["POSITION"])
    return Surface(
        places=places.astype(np.float32),
        uv=_accessor(scene, buffer, primitive["attributes"]["TEXCOORD_0"]).astype(np.float32),
        triangles=_accessor(scene, buffer, primitive["indices"]).reshape(-1, 3).astype(np.int64),
        picture=np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")),
    )


def _accessor(scene: dict[str, Any], buffer: bytes, number: int) -> NDArray[Any]:
    accessor = scene["accessors"][number]
    data = _view(scene, buffer, accessor["bufferView"])
    count, dtype = _COUNTS[accessor["type"]], np.dtype(_TYPES[accessor["componentType"]])
    values = np.frombuffer(data, dtype, accessor["count"] * count, accessor.get("byteOffset", 0))
    if accessor.get("normalized"):
        values = values / np.float32(2 ** (8 * dtype.itemsize) - 1)
    return values.reshape(-1, count)


def _view(scene: dict[str, Any], buffer: bytes, number: int) -> bytes:
    view = scene["bufferViews"][number]
    start = view.get("byteOffset", 0)
    return buffer[start : start + view["byteLength"]]


def draw_points(points: Points, viewpoint: Viewpoint, size: int = 2) -> Pixels:
    """Return a picture of points, squares of `size` half pixels."""
    return _draw(viewpoint.project(points.places), points.colours, viewpoint, size)


def draw_surfaces(surfaces: list[Surface], viewpoint: Viewpoint) -> Pixels:
    """Return a picture of surfaces seen from both sides."""
    parts = [part for surface in surfaces for part in _points_of(surface, viewpoint)]
    places, colours = (np.concatenate(each) for each in zip(*parts, strict=True))
    return _draw(places, colours, viewpoint, 1)


def _points_of(surface: Surface, viewpoint: Viewpoint) -> Iterator[tuple[Floats, Pixels]]:
    """Yield the projected points of a surface and their colours, less than half a pixel apart."""
    projected = viewpoint.project(surface.places)[surface.triangles]
    edges = projected[:, :, :2] - np.roll(projected[:, :, :2], 1, axis=1)
    longest = np.hypot(edges[..., 0], edges[..., 1]).max(axis=1) * _FINER * 1.5
    steps = 2 ** np.ceil(np.log2(np.clip(longest, 1, 512))).astype(int)
    height, width = surface.picture.shape[:2]
    for count in np.unique(steps):
        shares = _barycentric(int(count))
        which = np.flatnonzero(steps == count)
        for part in np.array_split(which, ceil(len(which) * len(shares) / 2_000_000)):
            places = np.einsum("kc,tcd->tkd", shares, projected[part]).reshape(-1, 3)
            uv = np.einsum("kc,tcd->tkd", shares, surface.uv[surface.triangles[part]]).reshape(-1, 2)
            x = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
            y = np.clip((uv[:, 1] * height).astype(int), 0, height - 1)
            yield places.astype(np.float32), surface.picture[y, x]


def _barycentric(count: int) -> Floats:
    """Return points of a triangle, as shares of its corners, with `count` steps along an edge."""
    first, second = np.meshgrid(np.arange(count + 1), np.arange(count + 1))
    inside = first + second <= count
    shares = np.stack([first[inside], second[inside], count - first[inside] - second[inside]], axis=1)
    return np.asarray(shares / count, np.float32)


def _draw(projected: Floats, colours: Pixels, viewpoint: Viewpoint, size: int) -> Pixels:
    canvas: Pixels = np.full((viewpoint.height * _FINER, viewpoint.width * _FINER, 3), 24, np.uint8)
    order = np.argsort(-projected[:, 2], kind="stable")
    columns, rows = (projected[order, :2].T * _FINER).astype(int)
    # A point's own pixels follow each other, so that a nearer point covers all of them.
    square = np.arange(size)
    y = np.repeat(rows[:, np.newaxis] + square, size, axis=1).ravel()
    x = np.tile(columns[:, np.newaxis] + square, size).ravel()
    seen = (y >= 0) & (y < canvas.shape[0]) & (x >= 0) & (x < canvas.shape[1])
    canvas[y[seen], x[seen]] = np.repeat(colours[order], size * size, axis=0)[seen]
    shrunk = cv2.resize(canvas, (viewpoint.width, viewpoint.height), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.uint8)
