"""Take the pictures of the documentation: `python -m docs.take_pictures`.

Starts its own stack in a temporary folder, submits the sample photos, and takes pictures of the page in
Chromium. The contact sheet of the starter weights and the sheets of edges need photographs of OpenCV, which
`training.assets` fetches; without them they are not changed.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bench.album import SAMPLES, make_album
from fathom.stack.stack import Stack, StackPlan, StopSignal
from training import contact_sheet, edge_sheet
from training.assets import DEFAULT_ROOT, find_opencv_samples

IMAGES = Path(__file__).with_name("images")
#: The samples in the picture that the README begins with.
SHOWN = ("astronaut.jpg", "photographer.jpeg")
#: Photos of the album in work, and how many heatmaps the page shows before the picture is taken.
ALBUM_SIZE, HEATMAPS = 96, 9
#: Pixels of the file for each pixel of the page, so that it is sharp on dense screens.
SCALE = 2
_WITHIN = 60_000
_QUALITY = 90
#: Chromium runs in containers and draws 3D without a graphics card.
_FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")

File = tuple[str, bytes]


def take_pictures() -> None:
    """Write every picture of the README and the other pages into `docs/images`."""
    with tempfile.TemporaryDirectory(prefix="fathom-pictures-") as data:
        plan = StackPlan(data_dir=Path(data), port=0)
        stack = Stack(plan, stop_signal=StopSignal(), say=click.echo)
        with stack.running(), httpx.Client(base_url=stack.url, timeout=60.0, trust_env=False) as api:
            with _chromium() as browser:
                _show_album(browser, api)
                job = _submit(api, _samples(), outputs=["heatmap", "thumbnail", "comparison"])
                _wait(api, job)
                _show_photo(browser, api, job)
            _show_depth(api, job)
    if find_opencv_samples(DEFAULT_ROOT).is_dir():
        contact_sheet.main(["--out", str(IMAGES / "starter-weights.webp")])
        edge_sheet.main(["--out", str(IMAGES)])


def _show_album(browser: Browser, api: httpx.Client) -> None:
    """Photograph an album in work; one of its files is no picture."""
    files = [(f"IMG_{2040 + n}.jpg", photo) for n, photo in enumerate(_album())]
    files[9] = (files[9][0], b"This is a text.")
    job = _submit(api, files, title="Weekend", outputs=["heatmap", "thumbnail"])
    # The page takes a while to load; the album continues once it is there to show it.
    api.post(f"/v1/jobs/{job}/pause").raise_for_status()
    with _page(browser, api, f"/jobs/{job}", height=860, color_scheme="light") as page:
        expect(page.locator(".cell").first).to_be_visible(timeout=_WITHIN)
        api.post(f"/v1/jobs/{job}/resume").raise_for_status()
        expect(page.locator(".pair-depth[data-loaded]").nth(HEATMAPS - 1)).to_be_visible(timeout=_WITHIN)
        expect(page.locator('.cell[data-state="failed"]')).to_be_visible(timeout=_WITHIN)
        _photograph(page, "page-job.webp")
    _wait(api, job)


def _show_photo(browser: Browser, api: httpx.Client, job: str) -> None:
    """Photograph the astronaut beside her depth, read under the pointer."""
    index = _index(api, job, "astronaut.jpg")
    with _page(browser, api, f"/jobs/{job}/photos/{index}", height=820, color_scheme="dark") as page:
        depth = page.locator(".stage-depth")
        expect(depth).to_be_visible(timeout=_WITHIN)
        box = depth.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 0.85 * box["width"], box["y"] + 0.8 * box["height"])
        expect(page.locator(".legend-marker")).to_be_visible(timeout=_WITHIN)
        _photograph(page, "page-photo.webp")


def _show_depth(api: httpx.Client, job: str) -> None:
    """Put photos and their heatmaps side by side, as the pipeline makes them."""
    pairs = [_fetch(api, f"/v1/jobs/{job}/images/{_index(api, job, name)}/comparison") for name in SHOWN]
    gap = 24
    width = sum(pair.width for pair in pairs) + gap * (len(pairs) - 1)
    row = Image.new("RGB", (width, max(pair.height for pair in pairs)), "white")
    left = 0
    for pair in pairs:
        row.paste(pair, (left, 0))
        left += pair.width + gap
    _save(row, "depth.webp")


# --- the API and the page ---


def _samples() -> list[File]:
    files = sorted(path for path in SAMPLES.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    return [(path.name, path.read_bytes()) for path in files]


def _album() -> Iterator[bytes]:
    return (picture.data for picture in make_album(ALBUM_SIZE, classes=("vga",)))


def _submit(api: httpx.Client, files: Sequence[File], *, title: str = "", **options: Any) -> str:
    data = {"options": json.dumps(options), "title": title}
    answer = api.post("/v1/jobs", files=[("images", file) for file in files], data=data)
    return str(answer.raise_for_status().json()["id"])


def _wait(api: httpx.Client, job: str) -> None:
    while not _get(api, f"/v1/jobs/{job}", {"Prefer": "wait=30"})["ended_at"]:
        pass


def _index(api: httpx.Client, job: str, name: str) -> int:
    images = _get(api, f"/v1/jobs/{job}/images")["images"]
    return next(int(image["index"]) for image in images if image["name"].endswith(name))


def _get(api: httpx.Client, path: str, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    return dict(api.get(path, headers=headers).raise_for_status().json())


def _fetch(api: httpx.Client, path: str) -> Image.Image:
    return Image.open(io.BytesIO(api.get(path, params={"stream": 1}).raise_for_status().content))


@contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = shutil.which("chromium-headless-shell") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=found, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def _page(
    browser: Browser, api: httpx.Client, path: str, *, height: int, color_scheme: Any
) -> Iterator[Page]:
    context = browser.new_context(
        base_url=str(api.base_url),
        viewport={"width": 1200, "height": height},
        device_scale_factor=SCALE,
        color_scheme=color_scheme,
        locale="en-US",
        # Otherwise the progress bar would still be moving to its value.
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(path)
    yield page
    context.close()


def _photograph(page: Page, name: str) -> None:
    _save(Image.open(io.BytesIO(page.screenshot())), name)


def _save(image: Image.Image, name: str) -> None:
    image.convert("RGB").save(IMAGES / name, quality=_QUALITY, method=6)


if __name__ == "__main__":
    take_pictures()
