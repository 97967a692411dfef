"""Light a scene: cameras, lamps, sun, sky, and the shading of surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.meshes import Floats, rotation
from training.scene import ViewRange
from training.textures import TextureBank
from training.tracer import Hits, Materials, Rays, RayTracer, hit_points


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera; before its rotation, x is right, y forward and z up."""

    eye: Floats
    rotation: Floats
    #: Focal length in pixels.
    focal: float
    height: int
    width: int
    #: Distance at which the lens is in focus, metres.
    focus: float

    def rays(self) -> tuple[Rays, Floats]:
        """Return a ray for each pixel, row by row, and the cosine of its angle to the optical axis."""
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        across = (x - self.width / 2 + 0.5) / self.focal
        up = (self.height / 2 - y - 0.5) / self.focal
        directions = np.stack([across, np.ones_like(across), up], -1).reshape(-1, 3)
        length = np.linalg.norm(directions, axis=1)
        turned = (directions @ self.rotation.T / length[:, None]).astype(np.float32)
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
    """All that one picture is rendered from."""

    rng: np.random.Generator
    tracer: RayTracer
    camera: Camera
    lighting: Lighting
    materials: Materials


@dataclass(frozen=True, kw_only=True)
class ShadingPoints:
    """The points where rays hit a surface, with all that shading needs."""

    rays: Rays
    hits: Hits
    material: Materials
    #: Slightly above the surface, so that rays from here do not hit it again.
    points: Floats
    normals: Floats


def render_view(view: View) -> tuple[Floats, Floats]:
    """Return a view as linear light, H x W x 3, and inverse depth, H x W in 1/m, 0 in the sky."""
    rays, along = view.camera.rays()
    hits = view.tracer.cast(rays, view.materials)
    light = _blend_transparent(view, rays, hits, shade(view, rays, hits))
    depth = np.where(hits.triangle >= 0, np.maximum(hits.distance * along, 0.02), np.inf)
    shape = view.camera.height, view.camera.width
    return light.reshape(*shape, 3), (1 / depth).reshape(shape).astype(np.float32)


def shade(view: View, rays: Rays, hits: Hits) -> Floats:
    """Return the light along each ray, N x 3: from the surface that it hit, or from the sky."""
    lighting = view.lighting
    light = paint_sky(rays.directions, lighting, view.tracer.bank)
    met = np.flatnonzero(hits.triangle >= 0)
    if not len(met):
        return light
    shaded = _make_shading_points(view, rays.take(met), hits.take(met))
    material = shaded.material
    texel = view.tracer.texels(shaded.rays, shaded.hits, material, focal=view.camera.focal)
    shine = _reflect(shaded, lighting, view.tracer.bank) * material["gloss"][:, None]
    lit = _tint(texel[:, :3], material) * _illuminate(view, shaded) + shine
    lit = lit + material["tint"] * material["glow"][:, None]
    haze = 1 - np.exp(-shaded.hits.distance * lighting.fog)[:, None]
    light[met] = lit * (1 - haze) + lighting.horizon * haze
    return light


def _make_shading_points(view: View, rays: Rays, hits: Hits) -> ShadingPoints:
    normals = view.tracer.normals(rays, hits)
    lift = hits.distance[:, None] * np.float32(1e-3) + np.float32(1e-4)
    return ShadingPoints(
        rays=rays,
        hits=hits,
        material=view.tracer.materials_of(hits, view.materials),
        points=hit_points(rays, hits) + normals * lift,
        normals=normals,
    )


def _illuminate(view: View, shaded: ShadingPoints) -> Floats:
    lighting, normals = view.lighting, shaded.normals
    facing = np.maximum(normals @ lighting.sun, 0)
    if lighting.sunlight.max() > 0.02:
        towards = np.broadcast_to(lighting.sun, normals.shape)
        facing = facing * _cast_shadow(view, shaded, towards, facing, np.full(len(facing), np.inf))
    light = facing[:, None] * lighting.sunlight
    for i, lamp in enumerate(lighting.lamps):
        offset = lamp - shaded.points
        distance = np.linalg.norm(offset, axis=1)
        towards = offset / np.maximum(distance, 1e-6)[:, None]
        facing = np.maximum((normals * towards).sum(1), 0)
        # Shadows of one lamp look right enough, and each lamp would cost another ray for every pixel.
        if i == 0:
            facing = facing * _cast_shadow(view, shaded, towards, facing, distance - 0.05)
        light = light + (facing / (0.3 + distance**2))[:, None] * lighting.lamplight
    bright = lighting.ambient * _measure_ambient_visibility(view, shaded) * (0.75 + 0.25 * normals[:, 2])
    return np.asarray(light + bright[:, None], np.float32)


def _cast_shadow(view: View, shaded: ShadingPoints, towards: Floats, facing: Floats, reach: Floats) -> Floats:
    lit = np.ones(len(facing), np.float32)
    some = np.flatnonzero(facing > 0)
    rays = Rays(origins=shaded.points[some], directions=towards[some], pixels=shaded.rays.pixels[some])
    hits = view.tracer.cast(rays, view.materials, holes=2)
    material = view.tracer.materials_of(hits, view.materials)
    blocked = (hits.triangle >= 0) & (hits.distance < reach[some])
    # The shell of a lamp casts no shadow, and glass hardly any.
    blocked &= (material["glow"] == 0) & (material["clear"] == 0)
    lit[some[blocked]] = view.lighting.shade
    return lit


def _measure_ambient_visibility(view: View, shaded: ShadingPoints) -> Floats:
    """Return the ambient visibility, 0.1 to 1, from one random ray at every fourth pixel."""
    height, width = view.camera.height, view.camera.width
    y, x = np.divmod(shaded.rays.pixels, width)
    coarse = np.flatnonzero((y % 2 == 0) & (x % 2 == 0))
    directions = shaded.normals[coarse] + _random_directions(view.rng, len(coarse)) * np.float32(0.98)
    directions /= np.maximum(np.linalg.norm(directions, axis=1), 1e-6)[:, None]
    found = view.tracer.intersect(shaded.points[coarse], directions)
    reach = shaded.hits.distance[coarse] * 0.35 + 1e-3
    closed = np.where(found.triangle >= 0, 1 - np.minimum(found.distance, reach) / reach, 0)
    small = np.zeros(((height + 1) // 2, (width + 1) // 2), np.float32)
    small[y[coarse] // 2, x[coarse] // 2] = closed
    smooth = cv2.resize(cv2.GaussianBlur(small, (0, 0), 2.0), (width, height))
    return np.asarray(1 - 0.9 * smooth.ravel()[shaded.rays.pixels], np.float32)


def _blend_transparent(view: View, rays: Rays, hits: Hits, light: Floats) -> Floats:
    material = view.tracer.materials_of(hits, view.materials)
    panes = np.flatnonzero((material["clear"] > 0) & (hits.triangle >= 0))
    if not len(panes):
        return light
    through = rays.take(panes)
    behind = shade(view, through, view.tracer.cast(through, view.materials, through_glass=True))
    share, tint = material["clear"][panes, None], material["tint"][panes]
    light[panes] = light[panes] * (1 - share) + behind * share * (0.5 + 0.5 * tint)
    return light


def aim_camera(rng: np.random.Generator, view_range: ViewRange, height: int, width: int) -> Camera:
    """Draw a camera from the range."""
    eye, target = rng.uniform(*np.asarray(view_range.eye)), rng.uniform(*np.asarray(view_range.target))
    x, y, z = target - eye
    yaw, pitch = np.arctan2(-x, y), np.arctan2(z, np.hypot(x, y))
    roll = rng.normal(0, view_range.roll) if rng.random() < 0.85 else rng.normal(0, 0.35)
    angle = np.radians(rng.uniform(*view_range.field_of_view))
    return Camera(
        eye=eye.astype(np.float32),
        rotation=rotation(float(yaw), float(pitch), float(roll)),
        focal=float(0.5 * max(height, width) / np.tan(angle / 2)),
        height=height,
        width=width,
        focus=float(np.linalg.norm(target - eye)),
    )


def draw_lighting(rng: np.random.Generator, view_range: ViewRange, bank: TextureBank) -> Lighting:
    """Draw the light of one view: sun and sky, lamps indoors, lamps at night."""
    elevation, azimuth = rng.uniform(0.15, 1.4), rng.uniform(0, 6.3)
    sun = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    night, indoors = view_range.night, view_range.indoors
    dim = 0.03 if night else 1.0
    grey = rng.random() < 0.3
    sunlight = 0.0 if night or grey else rng.uniform(0.3, 1.3) * (rng.choice([0.0, 0.5]) if indoors else 1)
    horizon = np.array([0.75, 0.8, 0.86]) * rng.uniform(0.5, 1.2) + rng.normal(0, 0.08, 3)
    zenith = np.array([0.25, 0.45, 0.8]) * rng.uniform(0.3, 1.3) + rng.normal(0, 0.08, 3)
    if grey:
        zenith = horizon * rng.uniform(0.6, 1.0)
    lamps = view_range.lamps if night or indoors else ()
    return Lighting(
        sun=np.asarray(sun, np.float32),
        sunlight=np.asarray(1.5 * sunlight * (1 + rng.normal(0, 0.1, 3)), np.float32),
        ambient=float(rng.uniform(0.25, 0.9 if grey else 0.6) * (0.08 if night else 1)),
        shade=float(rng.uniform(0.02, 0.4)),
        lamps=np.asarray(lamps, np.float32).reshape(-1, 3),
        lamplight=np.asarray(
            np.array([1.0, 0.85, 0.65]) ** rng.uniform(0, 2) * rng.uniform(0.5, 4), np.float32
        ),
        horizon=np.asarray(np.clip(horizon, 0, 1.5) * dim, np.float32),
        zenith=np.asarray(np.clip(zenith, 0, 1.5) * dim, np.float32),
        clouds=float(rng.choice([0.0, rng.uniform(0, 1)])),
        cloud_texture=int(rng.choice(bank.kinds["noise"])),
        fog=0.0 if indoors or rng.random() < 0.5 else float(10 ** rng.uniform(-3, -1.5)),
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
    # Textures are gamma-encoded like any picture; squaring them is close enough to linear light.
    colour = colour * colour
    grey = colour.mean(1, keepdims=True)
    tinting, plain = material["tinting"][:, None], material["plain"][:, None]
    coloured = colour * (1 - tinting) + grey * 1.6 * material["tint"] * tinting
    worn = material["tint"] ** 2 * (0.7 + 0.6 * grey)
    result: Floats = coloured * (1 - plain) + worn * plain
    return result


def _reflect(shaded: ShadingPoints, lighting: Lighting, bank: TextureBank) -> Floats:
    cosine = -(shaded.rays.directions * shaded.normals).sum(1, keepdims=True)
    mirrored = shaded.rays.directions + 2 * cosine * shaded.normals
    fresnel = 0.05 + 0.6 * (1 - np.clip(cosine, 0, 1)) ** 4
    spot = np.maximum(mirrored @ lighting.sun, 0)[:, None] ** 60 * (lighting.sunlight + lighting.ambient)
    result: Floats = paint_sky(mirrored, lighting, bank) * fresnel + spot
    return result


def _random_directions(rng: np.random.Generator, count: int) -> Floats:
    vectors = rng.standard_normal((count, 3), np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-6)[:, None], np.float32)
