"""Build a scene: place meshes, give each a surface, and say from where it may be viewed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.meshes import Floats, Mesh, join, rotation
from training.textures import TextureBank, draw_colours

#: Where texture coordinates come from: the position along the dominant axis, or the mesh.
PLANAR, UNWRAPPED = 0, 1

MATERIAL = np.dtype(
    [
        ("texture", np.int64),
        ("mapping", np.int8),
        ("cutout", np.bool_),
        # Texture repeats per metre when planar, per unit of u and v when unwrapped.
        ("scale", np.float32),
        ("angle", np.float32),
        ("shift", np.float32, 2),
        ("tint", np.float32, 3),
        # 0 keeps the texture's own colour, 1 replaces its hue by the tint.
        ("tinting", np.float32),
        # 1 shows the plain tint without any texture.
        ("plain", np.float32),
        ("gloss", np.float32),
        ("glow", np.float32),
        # The share of light from behind that passes through.
        ("clear", np.float32),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The kind of material of a mesh; each view draws its own colours for it."""

    #: wall, ground, busy, solid, facade, foliage, mesh, skin, hair, plant, metal, glass, lamp or stamp.
    kind: str
    #: The number of the texture, if the shape of the mesh depends on it.
    texture: int | None = None
    #: Size of the mesh in metres; textures repeat in proportion.
    extent: float = 1.0
    unwrapped: bool = False


@dataclass(frozen=True, kw_only=True)
class ViewRange:
    """The range from which the views of a scene are drawn: camera positions, targets, lens and light.

    Positions and targets are boxes, as lowest and highest corner in metres.
    """

    eye: tuple[tuple[float, float, float], tuple[float, float, float]]
    target: tuple[tuple[float, float, float], tuple[float, float, float]]
    indoors: bool = False
    #: Horizontal field of view across the longer side, degrees.
    field_of_view: tuple[float, float] = (35.0, 80.0)
    #: Lamps that light the scene at night or indoors, N x 3.
    lamps: tuple[tuple[float, float, float], ...] = ()
    night: bool = False
    #: Standard deviation of the camera's roll, radians.
    roll: float = 0.07
    #: The probability that the lens is wide open.
    defocus: float = 0.25


@dataclass(kw_only=True)
class SceneBuilder:
    """Collects the meshes of a scene and their surfaces."""

    bank: TextureBank
    meshes: list[Mesh] = field(default_factory=list)
    surfaces: list[Surface] = field(default_factory=list)
    #: The surface number of each mesh.
    surface_of_mesh: list[int] = field(default_factory=list)

    def add_surface(
        self, kind: str, *, extent: float = 1.0, texture: int | None = None, unwrapped: bool = False
    ) -> int:
        """Register a surface and return its number."""
        self.surfaces.append(Surface(kind=kind, texture=texture, extent=extent, unwrapped=unwrapped))
        return len(self.surfaces) - 1

    def add(
        self,
        mesh: Mesh,
        surface: int,
        *,
        size: ArrayLike = 1.0,
        at: ArrayLike = (0.0, 0.0, 0.0),
        yaw: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
    ) -> None:
        """Scale a mesh, rotate it, move it, and add it."""
        scale = np.broadcast_to(np.asarray(size, np.float32), 3)
        self.add_placed(mesh.transform(rotation(yaw, pitch, roll) * scale, at), surface)

    def add_placed(self, mesh: Mesh, surface: int) -> None:
        """Add a mesh that is already in its place."""
        self.meshes.append(mesh)
        self.surface_of_mesh.append(surface)

    def build(self) -> tuple[Mesh, NDArray[np.int64]]:
        """Return all triangles as one mesh, and the surface number of each."""
        counts = [len(mesh.positions) for mesh in self.meshes]
        return join(self.meshes), np.repeat(np.asarray(self.surface_of_mesh), counts)


def draw_materials(rng: np.random.Generator, scene: SceneBuilder) -> NDArray[np.void]:
    """Draw colours and textures for every surface of a scene."""
    materials = np.zeros(len(scene.surfaces), MATERIAL)
    for i, surface in enumerate(scene.surfaces):
        _fill_material(rng, scene.bank, surface, materials[i])
    return materials


def above(point: ArrayLike, height: float) -> Floats:
    """Return the point `height` metres above another."""
    return np.asarray(np.asarray(point) + np.array([0, 0, height]), np.float32)


def jitter(rng: np.random.Generator, spread: ArrayLike) -> Floats:
    """Draw a normal offset with the given spread along each axis."""
    return np.asarray(rng.standard_normal(3) * np.asarray(spread), np.float32)


def _fill_material(
    rng: np.random.Generator, bank: TextureBank, surface: Surface, material: NDArray[np.void]
) -> None:
    kind = surface.kind
    material["texture"] = surface.texture if surface.texture is not None else _pick_texture(rng, bank, kind)
    material["mapping"] = UNWRAPPED if surface.unwrapped or kind == "stamp" else PLANAR
    material["cutout"] = kind in {"stamp", "foliage", "mesh"}
    whole = surface.unwrapped or kind == "stamp"
    material["scale"] = 1.0 if whole else rng.uniform(0.3, 3.0) / surface.extent
    if not whole and kind != "facade":
        material["angle"] = rng.choice([0.0, 0.0, np.pi / 2, rng.uniform(0, 6.3)])
        material["shift"] = rng.random(2)
    material["tint"] = _pick_tint(rng, kind)
    material["tinting"] = rng.uniform(0, 0.25) if kind == "stamp" else rng.choice([0.0, rng.uniform(0, 1)])
    material["plain"] = _pick_plainness(rng, kind)
    material["gloss"] = (
        rng.uniform(0.3, 1) if kind in {"metal", "glass"} else rng.choice([0, 0, 0, rng.uniform(0, 0.5)])
    )
    material["glow"] = rng.uniform(1.5, 5) if kind == "lamp" else 0
    material["clear"] = rng.uniform(0.4, 0.85) if kind == "glass" else 0


_TEXTURES = {
    "wall": (("noise", "pattern", "photo", "cloth"), (0.4, 0.35, 0.15, 0.1)),
    "ground": (("noise", "pattern", "photo", "cloth"), (0.6, 0.2, 0.15, 0.05)),
    "busy": (("pattern", "cloth", "photo"), (0.4, 0.35, 0.25)),
    "solid": (("noise", "pattern", "photo", "cloth"), (0.5, 0.25, 0.15, 0.1)),
    "facade": (("facade", "pattern"), (0.85, 0.15)),
    "foliage": (("foliage",), (1.0,)),
    "mesh": (("mesh",), (1.0,)),
}


def _pick_texture(rng: np.random.Generator, bank: TextureBank, kind: str) -> int:
    groups, weights = _TEXTURES.get(kind, (("noise",), (1.0,)))
    return int(rng.choice(bank.kinds[str(rng.choice(groups, p=weights))]))


def _pick_tint(rng: np.random.Generator, kind: str) -> Floats:
    if kind == "skin":
        return np.asarray(np.array([0.85, 0.6, 0.48]) * rng.uniform(0.25, 1.1), np.float32)
    if kind == "hair":
        return np.asarray(np.array([0.35, 0.25, 0.18]) * rng.uniform(0.05, 1.8), np.float32)
    if kind == "plant":
        return np.asarray(np.array([0.3, 0.5, 0.2]) * rng.uniform(0.4, 1.5, 3), np.float32)
    if kind == "lamp":
        return np.asarray(np.array([1.0, 0.85, 0.6]) * rng.uniform(0.8, 1.2, 3), np.float32)
    return np.asarray(draw_colours(rng, 1)[0])


def _pick_plainness(rng: np.random.Generator, kind: str) -> float:
    if kind in {"skin", "hair", "plant", "metal", "glass"}:
        return float(rng.uniform(0.5, 1.0))
    if kind == "lamp":
        return 1.0
    if kind in {"wall", "solid", "ground"}:
        return float(rng.choice([0.0, 0.0, rng.uniform(0, 1), rng.uniform(0.85, 1)]))
    return 0.0
