"""Every output of an album of ten kinds of photographs, each opened by a reader that is not ours."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pillow_heif
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image, ImageOps
from plyfile import PlyData
from psd_tools import PSDImage
from pygltflib import GLTF2

from tests.acceptance.albums import ROOT, jpeg, png, write_album
from tests.acceptance.conftest import WITHOUT_NETWORK
from tests.acceptance.stacks import LaunchedStack, run_fathom

Picture = NDArray[np.float32]

#: Smaller than phones' photos, but for one: what is promised does not depend on the size.
OUTPUTS = "heatmap,exr,normals,controlnet,stereo,mesh,cloud,layers,refocus,embedded"
OPTIONS = {
    "outputs": OUTPUTS,
    "stereo.layout": "sbs_half",
    "refocus.aperture": "0.2",
    "mesh.vertices": "20000",
    "cloud.points": "50000",
}


def sample(name: str, size: tuple[int, int]) -> Image.Image:
    return ImageOps.fit(Image.open(ROOT / "samples" / name).convert("RGB"), size)


def heic(image: Image.Image) -> bytes:
    data = io.BytesIO()
    pillow_heif.from_pillow(image).save(data, quality=90)
    return data.getvalue()


#: The photographs as people see them, by the name of their files.
UPRIGHT: dict[str, Image.Image] = {
    "portrait.jpg": sample("people/astronaut.jpg", (240, 320)),
    "street.jpg": sample("renders/street.jpg", (320, 240)),
    "plant.png": sample("renders/plants.jpg", (240, 240)),
    "landscape.jpg": sample("rocket.jpg", (320, 180)),
    "panorama.jpg": sample("renders/street.jpg", (640, 160)),
    "large.jpg": sample("people/photographer.jpeg", (4000, 3000)),
    "rotated.jpg": sample("people/astronaut.jpg", (300, 400)),
    "grey.jpg": sample("people/photographer.jpeg", (256, 256)).convert("L"),
    "tiny.png": sample("clock.jpg", (32, 32)),
    "phone.heic": sample("renders/person.jpg", (320, 256)),
}


def write_files(folder: Path) -> Path:
    files = {}
    for name, image in UPRIGHT.items():
        match name.rpartition(".")[2]:
            case "heic":
                files[name] = heic(image)
            case "png":
                files[name] = png(image)
            case _ if name == "rotated.jpg":
                files[name] = jpeg(image.transpose(Image.Transpose.ROTATE_90), orientation=6)
            case _:
                files[name] = jpeg(image)
    return write_album(folder, files)


@pytest.fixture(scope="module")
def stack(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedStack]:
    """A stack whose depth is the brightness of a photo: random weights leave no surface."""
    data = tmp_path_factory.mktemp("outputs") / "data"
    with LaunchedStack(data, environ | WITHOUT_NETWORK, "--concurrency", "2").running() as stack:
        yield stack


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("album"))


@pytest.fixture(scope="module")
def results(stack: LaunchedStack, album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    options = [part for name, value in OPTIONS.items() for part in ("-o", f"{name}={value}")]
    ended = stack.run("submit", album, "--out", folder, *options)
    assert ended.code == 0, ended.err
    return folder


def test_a_run_without_a_server_gives_the_same_files(
    stack: LaunchedStack, album: Path, results: Path, tmp_path: Path
) -> None:
    """The large photo would take most of the time, and no other road."""
    small = tmp_path / "album"
    shutil.copytree(album, small, ignore=shutil.ignore_patterns("large.jpg"))
    options = [part for name, value in OPTIONS.items() for part in ("-o", f"{name}={value}")]
    ended = run_fathom("run", small, tmp_path / "out", *options, environ=stack.environ)

    assert ended.code == 0, ended.err
    mine, theirs = (
        {
            path.name: path.read_bytes()
            for path in folder.iterdir()
            if not path.name.startswith((".", "large"))
        }
        for folder in (tmp_path / "out", results)
    )
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if mine[name] != theirs[name]] == []


def pixels(image: Image.Image, size: tuple[int, int] | None = None) -> Picture:
    shown = image.convert("RGB")
    return np.asarray(shown if size is None else shown.resize(size), np.float32)


def looks_like(shown: Image.Image, meant: Image.Image) -> bool:
    """Return whether a picture shows a photo upright: far better than turned or mirrored."""
    size = (32, 32)
    photo, other = pixels(meant, size).mean(axis=2), pixels(shown, size).mean(axis=2)
    here = np.corrcoef(photo.ravel(), other.ravel())[0, 1]
    turned = [other[::-1], other[:, ::-1], other[::-1, ::-1], other.T, other.T[::-1]]
    return bool(here > 0.8 and all(here > np.corrcoef(photo.ravel(), each.ravel())[0, 1] for each in turned))


def check_exr(path: Path, meant: Image.Image) -> None:
    with OpenEXR.File(str(path)) as file:
        depth = file.parts[0].channels["Z"].pixels
        kind = file.parts[0].header["depthKind"]
    assert (depth.shape, depth.dtype) == (meant.size[::-1], np.float32)
    assert kind == "relative_inverse_depth"


def check_normals(path: Path, meant: Image.Image) -> None:
    shown = Image.open(path)
    assert shown.size == meant.size
    vectors = pixels(shown) / 127.5 - 1
    # Between two that differ, they are interpolated.
    assert np.linalg.norm(vectors, axis=2).max() < 1.02
    assert vectors[..., 2].mean() > 0.2


def check_controlnet(path: Path, meant: Image.Image) -> None:
    shown = Image.open(path)
    assert (shown.mode, shown.size) == ("RGB", meant.size)
    assert shown.getextrema()[0] == (0, 255)


def check_stereo(path: Path, meant: Image.Image) -> None:
    shown = Image.open(path)
    width, height = meant.size
    assert shown.size == (width // 2 * 2, height)
    for left in (0, width // 2):
        assert looks_like(shown.crop((left, 0, left + width // 2, height)), meant)


def check_mesh(path: Path, meant: Image.Image) -> None:
    gltf = GLTF2().load(str(path))
    assert "KHR_materials_unlit" in gltf.extensionsUsed
    parts = list(trimesh.load_scene(path).geometry.values())
    assert sum(len(part.vertices) for part in parts) <= 20_000
    front = parts[0]
    assert front.vertices[:, 2].max() < 0, "-z is forward"
    assert looks_like(front.visual.material.baseColorTexture or front.visual.material.image, meant)
    # The V of trimesh grows upward, and so does y.
    assert np.corrcoef(front.vertices[:, 1] / -front.vertices[:, 2], front.visual.uv[:, 1])[0, 1] > 0.99
    assert np.corrcoef(front.vertices[:, 0] / -front.vertices[:, 2], front.visual.uv[:, 0])[0, 1] > 0.99


def check_cloud(path: Path, meant: Image.Image) -> None:
    points = PlyData.read(str(path))["vertex"]
    assert 0 < len(points) <= 50_000
    x, y, z = (np.asarray(points[axis]) for axis in "xyz")
    assert z.max() < 0
    slope = np.stack([x / -z, -y / -z])
    low, high = slope.min(axis=1, keepdims=True), slope.max(axis=1, keepdims=True)
    columns, rows = ((slope - low) / (high - low) * 31).round().astype(int)
    # Where edges are, there is no point: the photo itself fills the gap.
    canvas = pixels(meant, (32, 32))
    count = np.zeros((32, 32, 1))
    total = np.zeros((32, 32, 3))
    np.add.at(count, (rows, columns), 1)
    np.add.at(total, (rows, columns), np.stack([points[c] for c in ("red", "green", "blue")], axis=1))
    assert (count == 0).mean() < 0.6
    shown = np.where(count > 0, total / np.maximum(count, 1), canvas)
    assert looks_like(Image.fromarray(shown.round().astype(np.uint8)), meant)


def check_layers(path: Path, meant: Image.Image) -> None:
    layers = PSDImage.open(path)
    assert layers.size == meant.size
    assert 2 <= len(layers) <= 9
    assert looks_like(layers.composite(), meant)


def check_refocus(path: Path, meant: Image.Image) -> None:
    shown = Image.open(path)
    assert shown.size == meant.size
    assert looks_like(shown, meant)


def check_embedded(path: Path, meant: Image.Image) -> None:
    told = subprocess.run(
        ["exiftool", "-json", "-XMP-GDepth:all", str(path)], capture_output=True, check=True, text=True
    )
    assert "Format" in json.loads(told.stdout)[0]
    shown = ImageOps.exif_transpose(Image.open(path))
    assert shown.size == meant.size
    assert looks_like(shown, meant)


CHECKS: dict[str, Callable[[Path, Image.Image], None]] = {
    ".exr": check_exr,
    ".normals.png": check_normals,
    ".controlnet.png": check_controlnet,
    "_LR.jpg": check_stereo,
    ".glb": check_mesh,
    ".ply": check_cloud,
    ".psd": check_layers,
    ".refocus.jpg": check_refocus,
    ".embedded.jpg": check_embedded,
}


@pytest.mark.parametrize("ending", CHECKS)
@pytest.mark.parametrize("name", UPRIGHT)
def test_a_result_opens_in_its_reader_upright_and_of_its_size(results: Path, name: str, ending: str) -> None:
    CHECKS[ending](results / f"{Path(name).stem}{ending}", UPRIGHT[name])


def test_layers_in_a_zip_lie_on_each_other_as_the_photo(
    stack: LaunchedStack, album: Path, tmp_path: Path
) -> None:
    ended = stack.run("submit", album / "street.jpg", "--out", tmp_path, "--preset", "game")

    assert ended.code == 0, ended.err
    with zipfile.ZipFile(next(tmp_path.glob("*.layers.zip"))) as archive:
        facts: dict[str, Any] = json.loads(archive.read("layers.json"))
        canvas = Image.new("RGBA", UPRIGHT["street.jpg"].size)
        for layer in sorted(facts["layers"], key=lambda layer: -layer["z"]):
            with archive.open(layer["file"]) as file:
                canvas.alpha_composite(Image.open(file), (layer["box"]["x"], layer["box"]["y"]))
    assert np.abs(pixels(canvas) - pixels(Image.open(album / "street.jpg"))).max() <= 3
