"""Open a GLB with three.js in Chromium, and look at it from the camera's place or beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, Route

from tests.acceptance.browsers import PATIENCE
from tests.conftest import skip_or_fail

#: Made by `make node_modules/.ready`.
THREE = Path(__file__).parents[2] / "node_modules" / "three"

#: Nothing listens there: the test answers for it.
_ORIGIN = "http://three.invalid"

_PAGE = """<!doctype html><meta charset="utf-8">
<script type="importmap">{"imports": {"three": "/build/three.module.js"}}</script>
<script type="module">
  import * as THREE from 'three';
  import { GLTFLoader } from '/examples/jsm/loaders/GLTFLoader.js';

  window.open_scene = async (url) => {
    const bytes = await (await fetch(url)).arrayBuffer();
    const gltf = await new GLTFLoader().parseAsync(bytes, '');
    window.gltf = gltf;
    const meshes = [];
    gltf.scene.traverse((each) => each.isMesh && meshes.push(each));
    return {
      meshes: meshes.map((each) => ({
        name: each.name,
        vertices: each.geometry.attributes.position.count,
        triangles: each.geometry.index.count / 3,
        material: each.material.type,
        texture: [each.material.map.image.width, each.material.map.image.height],
      })),
      textures: new Set(meshes.map((each) => each.material.map.uuid)).size,
      cameras: gltf.cameras.length,
      generator: gltf.asset.generator,
      extras: gltf.scene.userData,
    };
  };

  window.draw_scene = (width, height, x, y) => {
    const renderer = new THREE.WebGLRenderer({ preserveDrawingBuffer: true });
    renderer.setSize(width, height);
    renderer.setClearColor(0xff00ff);
    const camera = gltf.cameras[0].clone();
    camera.position.set(x, y, 0);
    camera.updateMatrixWorld();
    renderer.render(gltf.scene, camera);
    const picture = renderer.domElement.toDataURL('image/png');
    renderer.dispose();
    return picture.slice(picture.indexOf(',') + 1);
  };
  window.is_ready = true;
</script>
"""


@dataclass(frozen=True, kw_only=True)
class OpenScene:
    """A GLB in three.js."""

    page: Page
    #: What three.js found in it.
    facts: dict[str, Any]

    def draw(self, height: int, width: int, *, x: float = 0, y: float = 0) -> NDArray[np.uint8]:
        """Return what the file's camera sees, moved to the right and up; magenta where nothing is."""
        drawn = self.page.evaluate("(given) => draw_scene(...given)", [width, height, x, y])
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn))).convert("RGB"))


@contextmanager
def open_in_three(browser: Browser, glb: bytes) -> Iterator[OpenScene]:
    """Open a GLB. Any error in the console is an error at the end."""
    if not THREE.exists():
        skip_or_fail("three.js is not installed: `make node_modules/.ready`.")
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route(f"{_ORIGIN}/**", lambda route: _answer(route, glb))
    page.goto(_ORIGIN)
    page.wait_for_function("window.is_ready")
    yield OpenScene(page=page, facts=page.evaluate("open_scene('/scene.glb')"))
    page.close()
    assert errors == [], errors


def _answer(route: Route, glb: bytes) -> None:
    path = route.request.url.removeprefix(_ORIGIN).lstrip("/")
    if not path:
        route.fulfill(body=_PAGE, content_type="text/html")
    elif path == "scene.glb":
        route.fulfill(body=glb, content_type="model/gltf-binary")
    else:
        route.fulfill(path=THREE / path, content_type="text/javascript")
