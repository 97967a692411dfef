"""A GLB, read by pygltflib and trimesh, which share nothing with its writer."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
import pygltflib
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from worker.pipeline.encode.files import encode_jpeg
from worker.pipeline.encode.glb import TexturedMesh, View, encode_glb

VIEW = View(focal=0.5, aspect=1.5, near=0.01, far=60.0)


def strip_of(count: int, name: str = "photo") -> TexturedMesh:
    """Return a strip of triangles with `count` vertices."""
    number = np.arange(count, dtype=np.float32)
    positions = np.stack([number / count, number % 2, -1 - number / count], axis=1).astype(np.float32)
    triangles = (np.arange(count - 2)[:, np.newaxis] + np.arange(3)).astype(np.int32)
    return TexturedMesh(
        name=name,
        positions=positions,
        places=positions[:, :2].copy(),
        triangles=triangles,
        picture=encode_jpeg(np.full((24, 33, 3), (200, 100, 50), np.uint8)),
    )


def read(data: bytes) -> pygltflib.GLTF2:
    return pygltflib.GLTF2.load_from_bytes(data)


def array_of(gltf: pygltflib.GLTF2, number: int) -> NDArray[Any]:
    accessor = gltf.accessors[number]
    view = gltf.bufferViews[accessor.bufferView]
    kind = {5123: "<u2", 5125: "<u4", 5126: "<f4"}[accessor.componentType]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor.type]
    data = gltf.binary_blob()[view.byteOffset :][: view.byteLength]
    return np.frombuffer(data, kind).reshape(accessor.count, width)


def test_every_array_comes_back():
    mesh = strip_of(7)
    gltf = read(encode_glb([mesh], VIEW, {}))
    primitive = gltf.meshes[0].primitives[0]

    assert np.array_equal(array_of(gltf, primitive.attributes.POSITION), mesh.positions)
    assert np.array_equal(array_of(gltf, primitive.attributes.TEXCOORD_0), mesh.places)
    assert np.array_equal(array_of(gltf, primitive.indices).reshape(-1, 3), mesh.triangles)


def test_positions_state_their_bounds():
    mesh = strip_of(50)
    gltf = read(encode_glb([mesh], VIEW, {}))
    accessor = gltf.accessors[gltf.meshes[0].primitives[0].attributes.POSITION]

    assert np.array_equal(np.array(accessor.min, np.float32), mesh.positions.min(axis=0))
    assert np.array_equal(np.array(accessor.max, np.float32), mesh.positions.max(axis=0))


@pytest.mark.parametrize(("count", "component"), [(65_535, 5123), (65_536, 5125)])
def test_indices_have_16_bits_while_they_fit(count: int, component: int):
    gltf = read(encode_glb([strip_of(count)], VIEW, {}))

    assert gltf.accessors[gltf.meshes[0].primitives[0].indices].componentType == component


@pytest.mark.parametrize("count", [3, 4, 5, 6])
def test_the_container_is_aligned_and_states_its_lengths(count: int):
    data = encode_glb([strip_of(count), strip_of(count + 1, "backfill")], VIEW, {"note": "é"})
    magic, version, length = struct.unpack_from("<4sII", data)
    json_length, json_kind = struct.unpack_from("<I4s", data, 12)
    binary_length, binary_kind = struct.unpack_from("<I4s", data, 20 + json_length)
    document = json.loads(data[20 : 20 + json_length])

    assert (magic, version, length) == (b"glTF", 2, len(data))
    assert (json_kind, binary_kind) == (b"JSON", b"BIN\0")
    assert json_length % 4 == binary_length % 4 == 0
    assert 28 + json_length + binary_length == len(data)
    assert document["buffers"] == [{"byteLength": binary_length}]
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])


def test_a_mesh_has_its_own_light_and_its_own_picture():
    gltf = read(encode_glb([strip_of(5), strip_of(6, "backfill")], VIEW, {"note": "here"}))

    assert gltf.asset.generator == "Fathom"
    assert gltf.extensionsUsed == ["KHR_materials_unlit"]
    assert [mesh.name for mesh in gltf.meshes] == ["photo", "backfill"]
    assert all("KHR_materials_unlit" in material.extensions for material in gltf.materials)
    assert gltf.scenes[0].extras == {"note": "here"}
    for image in gltf.images:
        view = gltf.bufferViews[image.bufferView]
        picture = gltf.binary_blob()[view.byteOffset :][: view.byteLength]
        assert image.mimeType == "image/jpeg"
        assert Image.open(io.BytesIO(picture)).size == (33, 24)


def test_the_camera_sees_the_picture_and_nothing_else():
    gltf = read(encode_glb([strip_of(5)], VIEW, {}))
    lens = gltf.cameras[0].perspective

    assert lens.yfov == pytest.approx(np.pi / 2)
    assert lens.aspectRatio == 1.5
    assert gltf.nodes[-1].camera == 0


def test_trimesh_reads_both_meshes():
    scene = trimesh.load_scene(
        io.BytesIO(encode_glb([strip_of(5), strip_of(6, "backfill")], VIEW, {})), file_type="glb"
    )

    assert {name: len(mesh.vertices) for name, mesh in scene.geometry.items()} == {"photo": 5, "backfill": 6}
