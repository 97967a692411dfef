"""Cast rays at triangles with Embree, let them pass through cut-out textures, and look up what they hit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh  # type: ignore[import-untyped]  # no annotations
from embreex.rtcore_scene import EmbreeScene  # type: ignore[import-untyped]  # no annotations
from numpy.typing import NDArray

from training.meshes import Floats, Mesh
from training.scene import PLANAR
from training.textures import SIDES, TextureBank

Indices = NDArray[np.int64]
Materials = NDArray[np.void]

#: A ray passes through at most this many holes.
_MAX_HOLES = 4


@dataclass(frozen=True, kw_only=True)
class Rays:
    """Rays, and the pixel that each belongs to."""

    #: N x 3, metres.
    origins: Floats
    #: N x 3, unit length.
    directions: Floats
    #: Index of the pixel, row by row.
    pixels: Indices

    def take(self, chosen: Indices) -> Rays:
        """Return some of the rays."""
        return Rays(
            origins=self.origins[chosen], directions=self.directions[chosen], pixels=self.pixels[chosen]
        )


@dataclass(frozen=True, kw_only=True)
class Hits:
    """Where rays hit a surface; `triangle` is -1 where they hit none."""

    triangle: Indices
    distance: Floats
    #: Barycentric weights of the second and third corner.
    second: Floats
    third: Floats

    def take(self, chosen: Indices) -> Hits:
        """Return some of the hits."""
        return Hits(
            triangle=self.triangle[chosen],
            distance=self.distance[chosen],
            second=self.second[chosen],
            third=self.third[chosen],
        )


class RayTracer:
    """Casts rays at the triangles of a scene; every view brings its own materials."""

    def __init__(self, mesh: Mesh, surface_of_triangle: Indices, bank: TextureBank) -> None:
        self._mesh, self._surface_of_triangle, self.bank = mesh, surface_of_triangle, bank
        self._scene = EmbreeScene()
        # Embree does not copy the corners, so the tracer must keep them alive.
        self._corners = np.ascontiguousarray(mesh.positions)
        TriangleMesh(self._scene, self._corners)
        edges = np.cross(self._corners[:, 1] - self._corners[:, 0], self._corners[:, 2] - self._corners[:, 0])
        area = np.maximum(np.linalg.norm(edges, axis=1), 1e-12)
        self._flat_normals = edges / area[:, None]
        first, second = mesh.uvs[:, 1] - mesh.uvs[:, 0], mesh.uvs[:, 2] - mesh.uvs[:, 0]
        texel_area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
        #: Texture repeats per metre of unwrapped triangles.
        self._density = np.sqrt(texel_area / area)

    def cast(
        self, rays: Rays, materials: Materials, *, holes: int = _MAX_HOLES, through_glass: bool = False
    ) -> Hits:
        """Return the first surface that each ray hits, past holes in cut-outs, and past glass if asked."""
        hits = self.intersect(rays.origins, rays.directions)
        travelled = np.zeros(len(rays.pixels), np.float32)
        pending = np.arange(len(rays.pixels))
        for _ in range(holes):
            hole = self._find_holes(rays.take(pending), hits.take(pending), materials, through_glass)
            pending = pending[hole]
            if not len(pending):
                break
            travelled[pending] = hits.distance[pending] * np.float32(1.0005) + np.float32(1e-4)
            onward = rays.origins[pending] + rays.directions[pending] * travelled[pending, None]
            again = self.intersect(onward, rays.directions[pending])
            hits.triangle[pending], hits.second[pending] = again.triangle, again.second
            hits.distance[pending], hits.third[pending] = again.distance + travelled[pending], again.third
        return hits

    def intersect(self, origins: Floats, directions: Floats) -> Hits:
        """Return the first triangle that each ray hits, whether it has a hole there or not."""
        found = self._scene.run(
            np.ascontiguousarray(origins, np.float32), np.ascontiguousarray(directions, np.float32), output=1
        )
        return Hits(
            triangle=found["primID"].astype(np.int64),
            distance=found["tfar"],
            second=found["u"],
            third=found["v"],
        )

    def materials_of(self, hits: Hits, materials: Materials) -> Materials:
        """Return the material at every hit; a ray that hit nothing gets that of the first triangle."""
        chosen: Materials = materials[self._surface_of_triangle[np.maximum(hits.triangle, 0)]]
        return chosen

    def normals(self, rays: Rays, hits: Hits) -> Floats:
        """Return the smooth unit normal at every hit, facing the origin of the ray."""
        normals = self._interpolate(self._mesh.normals, hits)
        normals[(normals * rays.directions).sum(1) > 0] *= -1
        return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1), 1e-6)[:, None], np.float32)

    def texels(self, rays: Rays, hits: Hits, material: Materials, *, focal: float) -> Floats:
        """Look up the texture at every hit: RGBA in 0..1. A longer `focal` (pixels) reads finer levels."""
        planar = material["mapping"] == PLANAR
        flat = _project(hit_points(rays, hits), self._flat_normals[hits.triangle])
        unwrapped = self._interpolate(self._mesh.uvs, hits)
        uv = np.where(planar[:, None], flat, unwrapped) * material["scale"][:, None]
        turn_x, turn_y = np.cos(material["angle"]), np.sin(material["angle"])
        u = uv[:, 0] * turn_x - uv[:, 1] * turn_y + material["shift"][:, 0]
        v = uv[:, 0] * turn_y + uv[:, 1] * turn_x + material["shift"][:, 1]
        density = np.where(planar, 1, self._density[hits.triangle]) * material["scale"]
        footprint = hits.distance / focal * density * SIDES[0]
        level = np.clip(np.round(np.log2(np.maximum(footprint, 1))), 0, len(SIDES) - 1).astype(np.int64)
        return self.bank.sample(material["texture"], u, v, level)

    def _find_holes(
        self, rays: Rays, hits: Hits, materials: Materials, through_glass: bool
    ) -> NDArray[np.bool_]:
        material, met = self.materials_of(hits, materials), hits.triangle >= 0
        hole = np.asarray((material["clear"] > 0) & met & through_glass)
        cut = np.flatnonzero(material["cutout"] & met)
        if len(cut):
            texel = self.texels(rays.take(cut), hits.take(cut), material[cut], focal=np.inf)
            hole[cut] = texel[:, 3] < 0.5
        return hole

    def _interpolate(self, corners: Floats, hits: Hits) -> Floats:
        u, v = hits.second[:, None], hits.third[:, None]
        first, second, third = (corners[hits.triangle, corner] for corner in range(3))
        return np.asarray(first * (1 - u - v) + second * u + third * v, np.float32)


def hit_points(rays: Rays, hits: Hits) -> Floats:
    """Return the point of every hit, N x 3."""
    return np.asarray(rays.origins + rays.directions * hits.distance[:, None], np.float32)


def _project(points: Floats, normals: Floats) -> Floats:
    axis = np.abs(normals).argmax(1)
    u = np.where(axis == 0, points[:, 1], points[:, 0])
    v = np.where(axis == 2, points[:, 1], -points[:, 2])
    return np.stack([u, v], -1)
