"""The photo as a surface in space: a GLB with the photo on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.pipeline.encode.files import encode_jpeg
from worker.pipeline.encode.glb import TexturedMesh, View, encode_glb
from worker.pipeline.outputs.rendering import Rendering
from worker.pipeline.photo import Floats, Pixels
from worker.pipeline.scene.camera import NEAR, Camera, camera_of, distances
from worker.pipeline.scene.surface.backfill import make_backfill
from worker.pipeline.scene.surface.cuts import Sheet
from worker.pipeline.scene.surface.relief import Relief, cells_of, make_relief, make_sheet
from worker.pipeline.sizes import fit, resize_photo
from worker.pipeline.stages import Stage

#: The longest side of a texture: every browser takes it.
TEXTURE_SIDE = 8192

#: How much farther away than its place the second sheet is, so that the first one hides it.
_BEHIND = 1.02


def mesh(r: Rendering) -> bytes:
    """Return a GLB: y is up, the camera is at the origin and looks along -z."""
    options = r.options.mesh
    camera = camera_of(r.source, r.photo.height, r.photo.width, options.fov)
    relief = _relief(r)
    with r.stopwatch.time(Stage.ENCODE):
        meshes = _meshes(r, relief, camera)
        return encode_glb(meshes, _view(camera, options.depth_ratio), _extras(camera, options.depth_ratio))


def _relief(r: Rendering) -> Relief:
    rows, columns, tile = cells_of(r.photo.height, r.photo.width, r.options.mesh.vertices)
    dilation = r.options.mesh.edge_dilation
    with r.stopwatch.time(Stage.UPSAMPLE):
        return make_relief(r.nearness(rows, columns, dilation), tile, dilation)


def _meshes(r: Rendering, relief: Relief, camera: Camera) -> list[TexturedMesh]:
    """Return the surface, and what is behind it if that is wanted and there is anything."""
    options = r.options.mesh
    left, meshes = options.vertices, []
    backfill = make_backfill(r.photo.rgb, relief, options.vertices) if options.backfill else None
    if backfill:
        left -= backfill.sheet.nearness.size
        away = distances(backfill.sheet.nearness, options.depth_ratio) * np.float32(_BEHIND)
        meshes.append(_textured("backfill", backfill.sheet, away, backfill.colours, camera))
    sheet = make_sheet(relief, options.depth_ratio, left)
    away = distances(sheet.nearness, options.depth_ratio)
    return [_textured("photo", sheet, away, _texture(r.photo.rgb), camera), *meshes]


def _textured(name: str, sheet: Sheet, away: Floats, colours: Pixels, camera: Camera) -> TexturedMesh:
    return TexturedMesh(
        name=name,
        positions=_positions(sheet.places, away, camera),
        places=sheet.places,
        triangles=sheet.triangles,
        picture=encode_jpeg(colours),
    )


def _positions(places: Floats, away: Floats, camera: Camera) -> Floats:
    """Return where vertices are in space, n x 3: x to the right, y up, and the camera looks along -z."""
    size = np.array([camera.width, -camera.height], np.float32) / np.float32(camera.focal)
    sideways = (places - np.float32(0.5)) * size * away[:, np.newaxis]
    return np.concatenate([sideways, -away[:, np.newaxis]], axis=1)


def _texture(rgb: Pixels) -> Pixels:
    return resize_photo(rgb, *fit(rgb.shape[0], rgb.shape[1], TEXTURE_SIDE))


def _view(camera: Camera, ratio: float) -> View:
    return View(
        focal=camera.focal / camera.height,
        aspect=camera.width / camera.height,
        near=NEAR / 100,
        far=10 * ratio * NEAR,
    )


def _extras(camera: Camera, ratio: float) -> dict[str, Any]:
    return {
        "depth": "Relative, without a unit: the nearest point is at distance 1, the farthest at depth_ratio.",
        "depth_ratio": ratio,
        "fov": round(camera.fov, 4),
    }
