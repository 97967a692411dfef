"""Write a scene as binary glTF 2.0: one file with its geometry, its pictures and their description.

Format: Khronos' glTF 2.0 specification (ISO/IEC 12113), section 4.4 for the container, and the extension
KHR_materials_unlit.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import atan, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats

#: Constants of OpenGL that glTF uses.
_FLOAT, _SHORT_INDEX, _INDEX = 5126, 5123, 5125
_VERTICES, _INDICES = 34962, 34963
_LINEAR, _MIPMAPS, _CLAMP_TO_EDGE = 9729, 9987, 33071

#: Indices up to this fit in 16 bits; the last one restarts a strip.
_MOST_IN_SHORT = 65_534

_GLB, _VERSION, _JSON, _BINARY = b"glTF", 2, b"JSON", b"BIN\0"


@dataclass(frozen=True, kw_only=True)
class TexturedMesh:
    """Triangles with a picture on them, which has its own light."""

    name: str
    #: float32, n x 3: x to the right, y up, and z to the viewer.
    positions: Floats
    #: float32, n x 2: where each vertex is in the picture, from the top left.
    places: Floats
    #: int32, m x 3, counterclockwise as seen from the front.
    triangles: NDArray[np.int32]
    #: A JPEG.
    picture: bytes


@dataclass(frozen=True, kw_only=True)
class View:
    """A camera at the origin that looks along -z."""

    #: The focal length, where the picture's height is 1.
    focal: float
    #: Width by height.
    aspect: float
    near: float
    far: float


def encode_glb(meshes: Sequence[TexturedMesh], view: View, extras: dict[str, Any]) -> bytes:
    """Return a scene of meshes and a camera. `extras` is said of the whole scene."""
    writer = _Writer()
    for mesh in meshes:
        writer.add(mesh)
    return writer.finish(view, extras)


class _Writer:
    """Gathers the parts of a file and their description."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self._lists: dict[str, list[dict[str, Any]]] = {
            name: []
            for name in ("nodes", "meshes", "materials", "textures", "images", "accessors", "bufferViews")
        }

    def add(self, mesh: TexturedMesh) -> None:
        """Add a mesh with its node, its material and its picture."""
        number = len(self._lists["meshes"])
        self._lists["nodes"].append({"name": mesh.name, "mesh": number})
        self._lists["meshes"].append({"name": mesh.name, "primitives": [self._primitive(mesh, number)]})
        self._lists["materials"].append(_material(mesh.name, number))
        self._lists["textures"].append({"sampler": 0, "source": number})
        picture = self._view(mesh.picture)
        self._lists["images"].append({"name": mesh.name, "mimeType": "image/jpeg", "bufferView": picture})

    def finish(self, view: View, extras: dict[str, Any]) -> bytes:
        """Return the file."""
        self._lists["nodes"].append({"name": "camera", "camera": 0})
        document = {
            "asset": {"version": "2.0", "generator": "Fathom"},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": [*range(len(self._lists["nodes"]))], "extras": extras}],
            "cameras": [_camera(view)],
            "samplers": [_sampler()],
            "buffers": [{"byteLength": self._length}],
            **self._lists,
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        chunks = [_chunk(_JSON, [text + b" " * (-len(text) % 4)]), _chunk(_BINARY, self._parts)]
        parts = [part for chunk in chunks for part in chunk]
        header = _GLB + struct.pack("<II", _VERSION, 12 + sum(map(len, parts)))
        return b"".join((header, *parts))

    def _primitive(self, mesh: TexturedMesh, material: int) -> dict[str, Any]:
        bounds = {"min": mesh.positions.min(axis=0).tolist(), "max": mesh.positions.max(axis=0).tolist()}
        short = len(mesh.positions) - 1 <= _MOST_IN_SHORT
        indices = mesh.triangles.astype("<u2" if short else "<u4").ravel()
        return {
            "attributes": {
                "POSITION": self._accessor(mesh.positions.astype("<f4"), _FLOAT, "VEC3", _VERTICES, **bounds),
                "TEXCOORD_0": self._accessor(mesh.places.astype("<f4"), _FLOAT, "VEC2", _VERTICES),
            },
            "indices": self._accessor(indices, _SHORT_INDEX if short else _INDEX, "SCALAR", _INDICES),
            "material": material,
        }

    def _accessor(
        self, values: NDArray[Any], component: int, kind: str, target: int, **bounds: list[float]
    ) -> int:
        view = self._view(values.tobytes(), target=target)
        accessor = {"bufferView": view, "componentType": component, "count": len(values), "type": kind}
        self._lists["accessors"].append(accessor | bounds)
        return len(self._lists["accessors"]) - 1

    def _view(self, data: bytes, **target: int) -> int:
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data), **target}
        self._lists["bufferViews"].append(view)
        padding = bytes(-len(data) % 4)
        self._parts += [data, padding]
        self._length += len(data) + len(padding)
        return len(self._lists["bufferViews"]) - 1


def _chunk(kind: bytes, parts: list[bytes]) -> list[bytes]:
    return [struct.pack("<I", sum(map(len, parts))), kind, *parts]


def _material(name: str, texture: int) -> dict[str, Any]:
    """Return a material that has its own light; viewers that do not know it see one without gloss."""
    return {
        "name": name,
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": texture},
            "metallicFactor": 0,
            "roughnessFactor": 1,
        },
        "extensions": {"KHR_materials_unlit": {}},
        # Seen from the side, a slope may turn its back.
        "doubleSided": True,
    }


def _camera(view: View) -> dict[str, Any]:
    angle = 2 * atan(1 / (2 * view.focal))
    assert 0 < angle < pi
    lens = {"yfov": angle, "aspectRatio": view.aspect, "znear": view.near, "zfar": view.far}
    return {"name": "camera", "type": "perspective", "perspective": lens}


def _sampler() -> dict[str, int]:
    return {"magFilter": _LINEAR, "minFilter": _MIPMAPS, "wrapS": _CLAMP_TO_EDGE, "wrapT": _CLAMP_TO_EDGE}
