"""The light of a scene: cameras, lamps, sun and sky, and the shading of what rays meet."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.meshes import Floats, rotation
from training.scene import Rig
from training.textures import TextureBank
from training.tracer import Hits, Materials, Rays, RayTracer, locate


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera; x right, y forward, z up before it is turned."""

    eye: Floats
    turn: Floats
    #: Focal length in pixels.
    focal: float
    height: int
    width: int
    #: Distance along the axis to what the photographer looks at, metres.
    focus: float

    def rays(self) -> tuple[Rays, Floats]:
        """Return a ray for each pixel, row by row, and its direction's share along the optical axis."""
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        across = (x - self.width / 2 + 0.5) / self.focal
        up = (self.height / 2 - y - 0.5) / self.focal
        directions = np.stack([across, np.ones_like(across), up], -1).reshape(-1, 3)
        length = np.linalg.norm(directions, axis=1)
        turned = (directions @ self.turn.T / length[:, None]).astype(np.float32)
        rays = Rays(
            origins=np.broadcast_to(self.eye, turned.shape), directions=turned, pixels=np.arange(len(turned))
        )
        return rays, (1 / length).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """The light of one view; colours are linear and roughly 0..1."""

    sun: Floats
    sunlight: Floats
    ambient: float
    shade: float
    lamps: Floats
    lamplight: Floats
    horizon: Floats
    zenith: Floats
    clouds: float
    cloud_texture: int
    fog: float


@dataclass(frozen=True, kw_only=True)
class View:
    """One picture in the making."""

    rng: np.random.Generator
    tracer: RayTracer
    camera: Camera
    lighting: Lighting
    materials: Materials


@dataclass(frozen=True, kw_only=True)
class Patch:
    """The surface that rays have met: all that shading needs to know of it."""

    rays: Rays
    hits: Hits
    material: Materials
    #: A little above the surface, so that rays from here do not meet it again.
    points: Floats
    normals: Floats


def render_view(view: View) -> tuple[Floats, Floats]:
    """Render a view: linear light H x W x 3, and inverse depth H x W in 1/m, 0 in the sky."""
    rays, along = view.camera.rays()
    hits = view.tracer.cast(rays, view.materials)
    light = _look_through(view, rays, hits, shade(view, rays, hits))
    depth = np.where(hits.triangle >= 0, np.maximum(hits.distance * along, 0.02), np.inf)
    shape = view.camera.height, view.camera.width
    return light.reshape(*shape, 3), (1 / depth).reshape(shape).astype(np.float32)


def shade(view: View, rays: Rays, hits: Hits) -> Floats:
    """Return the light along each ray: that of the surface it met, or the sky's."""
    lighting = view.lighting
    light = paint_sky(rays.directions, lighting, view.tracer.bank)
    met = np.flatnonzero(hits.triangle >= 0)
    if not len(met):
        return light
    patch = _make_patch(view, rays.take(met), hits.take(met))
    material = patch.material
    texel = view.tracer.texels(patch.rays, patch.hits, material, focal=view.camera.focal)
    shine = _reflect(patch, lighting, view.tracer.bank) * material["gloss"][:, None]
    lit = _tint(texel[:, :3], material) * _illuminate(view, patch) + shine
    lit = lit + material["tint"] * material["glow"][:, None]
    haze = 1 - np.exp(-patch.hits.distance * lighting.fog)[:, None]
    light[met] = lit * (1 - haze) + lighting.horizon * haze
    return light


def _make_patch(view: View, rays: Rays, hits: Hits) -> Patch:
    normals = view.tracer.normals(rays, hits)
    lift = hits.distance[:, None] * np.float32(1e-3) + np.float32(1e-4)
    return Patch(
        rays=rays,
        hits=hits,
        material=view.tracer.materials_of(hits, view.materials),
        points=locate(rays, hits) + normals * lift,
        normals=normals,
    )


def _illuminate(view: View, patch: Patch) -> Floats:
    lighting, normals = view.lighting, patch.normals
    facing = np.maximum(normals @ lighting.sun, 0)
    if lighting.sunlight.max() > 0.02:
        towards = np.broadcast_to(lighting.sun, normals.shape)
        facing = facing * _cast_shadow(view, patch, towards, facing, np.full(len(facing), np.inf))
    light = facing[:, None] * lighting.sunlight
    for i, lamp in enumerate(lighting.lamps):
        offset = lamp - patch.points
        distance = np.linalg.norm(offset, axis=1)
        towards = offset / np.maximum(distance, 1e-6)[:, None]
        facing = np.maximum((normals * towards).sum(1), 0)
        # One lamp's shadows are enough to look right, and each costs a ray for every pixel.
        if i == 0:
            facing = facing * _cast_shadow(view, patch, towards, facing, distance - 0.05)
        light = light + (facing / (0.3 + distance**2))[:, None] * lighting.lamplight
    bright = lighting.ambient * _measure_openness(view, patch) * (0.75 + 0.25 * normals[:, 2])
    return np.asarray(light + bright[:, None], np.float32)


def _cast_shadow(view: View, patch: Patch, towards: Floats, facing: Floats, reach: Floats) -> Floats:
    lit = np.ones(len(facing), np.float32)
    some = np.flatnonzero(facing > 0)
    rays = Rays(origins=patch.points[some], directions=towards[some], pixels=patch.rays.pixels[some])
    hits = view.tracer.cast(rays, view.materials, holes=2)
    material = view.tracer.materials_of(hits, view.materials)
    blocked = (hits.triangle >= 0) & (hits.distance < reach[some])
    # Lamps cast no shadow of their own shell, and glass hardly any.
    blocked &= (material["glow"] == 0) & (material["clear"] == 0)
    lit[some[blocked]] = view.lighting.shade
    return lit


def _measure_openness(view: View, patch: Patch) -> Floats:
    """Return how open the surroundings are, 0.1 to 1, from one random ray at every fourth pixel."""
    height, width = view.camera.height, view.camera.width
    y, x = np.divmod(patch.rays.pixels, width)
    coarse = np.flatnonzero((y % 2 == 0) & (x % 2 == 0))
    directions = patch.normals[coarse] + _random_directions(view.rng, len(coarse)) * np.float32(0.98)
    directions /= np.maximum(np.linalg.norm(directions, axis=1), 1e-6)[:, None]
    found = view.tracer.cast_plainly(patch.points[coarse], directions)
    reach = patch.hits.distance[coarse] * 0.35 + 1e-3
    closed = np.where(found.triangle >= 0, 1 - np.minimum(found.distance, reach) / reach, 0)
    small = np.zeros(((height + 1) // 2, (width + 1) // 2), np.float32)
    small[y[coarse] // 2, x[coarse] // 2] = closed
    smooth = cv2.resize(cv2.GaussianBlur(small, (0, 0), 2.0), (width, height))
    return np.asarray(1 - 0.9 * smooth.ravel()[patch.rays.pixels], np.float32)


def _look_through(view: View, rays: Rays, hits: Hits, light: Floats) -> Floats:
    material = view.tracer.materials_of(hits, view.materials)
    panes = np.flatnonzero((material["clear"] > 0) & (hits.triangle >= 0))
    if not len(panes):
        return light
    through = rays.take(panes)
    behind = shade(view, through, view.tracer.cast(through, view.materials, through_glass=True))
    share, tint = material["clear"][panes, None], material["tint"][panes]
    light[panes] = light[panes] * (1 - share) + behind * share * (0.5 + 0.5 * tint)
    return light


def aim_camera(rng: np.random.Generator, rig: Rig, height: int, width: int) -> Camera:
    """Draw a camera of a rig."""
    eye, target = rng.uniform(*np.asarray(rig.eye)), rng.uniform(*np.asarray(rig.target))
    x, y, z = target - eye
    yaw, pitch = np.arctan2(-x, y), np.arctan2(z, np.hypot(x, y))
    roll = rng.normal(0, rig.roll) if rng.random() < 0.85 else rng.normal(0, 0.35)
    angle = np.radians(rng.uniform(*rig.field_of_view))
    return Camera(
        eye=eye.astype(np.float32),
        turn=rotation(float(yaw), float(pitch), float(roll)),
        focal=float(0.5 * max(height, width) / np.tan(angle / 2)),
        height=height,
        width=width,
        focus=float(np.linalg.norm(target - eye)),
    )


def draw_lighting(rng: np.random.Generator, rig: Rig, bank: TextureBank) -> Lighting:
    """Draw the light of one view: sun and sky, lamps indoors, lamps at night."""
    elevation, azimuth = rng.uniform(0.15, 1.4), rng.uniform(0, 6.3)
    sun = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    dim = 0.03 if rig.night else 1.0
    grey = rng.random() < 0.3
    sunlight = (
        0.0 if rig.night or grey else rng.uniform(0.3, 1.3) * (rng.choice([0.0, 0.5]) if rig.indoors else 1)
    )
    horizon = np.array([0.75, 0.8, 0.86]) * rng.uniform(0.5, 1.2) + rng.normal(0, 0.08, 3)
    zenith = np.array([0.25, 0.45, 0.8]) * rng.uniform(0.3, 1.3) + rng.normal(0, 0.08, 3)
    if grey:
        zenith = horizon * rng.uniform(0.6, 1.0)
    lamps = np.asarray(rig.lamps, np.float32).reshape(-1, 3) if rig.night or rig.indoors else np.zeros((0, 3))
    return Lighting(
        sun=np.asarray(sun, np.float32),
        sunlight=np.asarray(1.5 * sunlight * (1 + rng.normal(0, 0.1, 3)), np.float32),
        ambient=float(rng.uniform(0.25, 0.9 if grey else 0.6) * (0.08 if rig.night else 1)),
        shade=float(rng.uniform(0.02, 0.4)),
        lamps=np.asarray(lamps, np.float32),
        lamplight=np.asarray(
            np.array([1.0, 0.85, 0.65]) ** rng.uniform(0, 2) * rng.uniform(0.5, 4), np.float32
        ),
        horizon=np.asarray(np.clip(horizon, 0, 1.5) * dim, np.float32),
        zenith=np.asarray(np.clip(zenith, 0, 1.5) * dim, np.float32),
        clouds=float(rng.choice([0.0, rng.uniform(0, 1)])),
        cloud_texture=int(rng.choice(bank.kinds["noise"])),
        fog=0.0 if rig.indoors or rng.random() < 0.5 else float(10 ** rng.uniform(-3, -1.5)),
    )


def paint_sky(directions: Floats, lighting: Lighting, bank: TextureBank) -> Floats:
    """Return the colour of the sky along each direction: a gradient, with clouds on some days."""
    up = np.clip(directions[:, 2], 0, 1)[:, None]
    sky = (lighting.horizon + (lighting.zenith - lighting.horizon) * np.sqrt(up)) ** 1.5
    if lighting.clouds:
        stretch = 0.35 / (up[:, 0] + 0.2)
        u, v = directions[:, 0] * stretch, directions[:, 1] * stretch
        texture = np.full(len(u), lighting.cloud_texture)
        level = np.ones(len(u), np.int64)
        cloud = bank.sample(texture, u, v, level)[:, :3].mean(1, keepdims=True)
        sky = sky + (np.clip(cloud * 2 - 0.8, 0, 1) - 0.3) * lighting.clouds * lighting.horizon
    return np.maximum(sky, 0).astype(np.float32)


def _tint(colour: Floats, material: Materials) -> Floats:
    # Textures are stored as pictures are, so squaring them comes close to linear light.
    colour = colour * colour
    grey = colour.mean(1, keepdims=True)
    tinting, plain = material["tinting"][:, None], material["plain"][:, None]
    coloured = colour * (1 - tinting) + grey * 1.6 * material["tint"] * tinting
    worn = material["tint"] ** 2 * (0.7 + 0.6 * grey)
    result: Floats = coloured * (1 - plain) + worn * plain
    return result


def _reflect(patch: Patch, lighting: Lighting, bank: TextureBank) -> Floats:
    cosine = -(patch.rays.directions * patch.normals).sum(1, keepdims=True)
    mirrored = patch.rays.directions + 2 * cosine * patch.normals
    fresnel = 0.05 + 0.6 * (1 - np.clip(cosine, 0, 1)) ** 4
    spot = np.maximum(mirrored @ lighting.sun, 0)[:, None] ** 60 * (lighting.sunlight + lighting.ambient)
    result: Floats = paint_sky(mirrored, lighting, bank) * fresnel + spot
    return result


def _random_directions(rng: np.random.Generator, count: int) -> Floats:
    vectors = rng.standard_normal((count, 3), np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-6)[:, None], np.float32)
