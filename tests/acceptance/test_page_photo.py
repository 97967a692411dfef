"""One photo on the page: comparison with its depth, other colours, 3D, and its files."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from fathom.options import Colormap
from tests.acceptance.albums import jpeg, photo
from tests.acceptance.browsers import PHONE, OpenPage, opening, submit, wait_for_motion
from tests.acceptance.stacks import LaunchedStack
from worker.pipeline.colour import colour_table

pytest_plugins = ["tests.acceptance.browser_fixtures"]


#: The CPU renders instead of a graphics card, so the window is small.
SMALL = {"viewport": {"width": 700, "height": 520}}


@pytest.fixture
def scene(open_page: OpenPage, done_job: str) -> Page:
    """The first photo of the job in 3D, with the pointer elsewhere."""
    page = open_photo(open_page(**SMALL), done_job, 0)
    page.get_by_role("button", name="3D").click()
    page.mouse.move(5, 5)
    return page


@pytest.fixture(scope="module")
def photo_page(browser: Browser, stack: LaunchedStack, done_job: str) -> Iterator[Page]:
    """The first photo of the job, opened once for all tests that only look at it, each in colours of its own."""
    with opening(browser, stack) as open_page:
        yield open_photo(open_page(), done_job, 0)


def open_photo(page: Page, job: str, index: int) -> Page:
    page.goto(f"/jobs/{job}/photos/{index}")
    expect(page.locator(".stage-depth, canvas.scene")).to_be_visible()
    return page


def pixels(canvas: Locator) -> NDArray[np.uint8]:
    """Return the pixels of a canvas, H x W x 3."""
    address = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    data = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def picture(element: Locator) -> NDArray[np.int16]:
    """Return a screenshot of an element, H x W x 3."""
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB"), np.int16)


def stored(stack: LaunchedStack, job: str, index: int, output: str) -> Image.Image:
    answer = httpx.get(f"{stack.api}/v1/jobs/{job}/images/{index}/{output}?stream=1")
    assert answer.status_code == 200
    return Image.open(io.BytesIO(answer.content))


def point_at(element: Locator, u: float, v: float) -> None:
    """Move the pointer to a position in an element, as shares from 0 to 1."""
    box = element.bounding_box()
    assert box is not None
    element.hover(position={"x": u * box["width"], "y": v * box["height"]}, force=True)


def test_the_divider_follows_keys_and_pointer(page: Page, done_job: str):
    open_photo(page, done_job, 0)
    line = page.get_by_role("slider", name="Line between photo and depth")
    expect(line).to_have_attribute("aria-valuenow", "50")

    line.focus()
    for key in ("ArrowRight", "PageUp", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect(line).to_have_attribute("aria-valuenow", "72")
    expect(line).to_have_attribute("aria-valuetext", "72 % photo, 28 % depth")
    page.keyboard.press("Home")
    assert "inset(0px 0px 0px 0%)" in page.locator(".stage-depth").evaluate(
        "it => getComputedStyle(it).clipPath"
    )

    point_at(page.locator(".slider"), 0.5, 0.2)
    page.mouse.down()
    point_at(page.locator(".slider"), 0.25, 0.2)
    page.mouse.up()
    expect(line).to_have_attribute("aria-valuenow", "25")


def test_the_heatmap_equals_that_of_the_worker_in_every_pixel(page: Page, stack: LaunchedStack):
    job = submit(
        stack, [("a.jpg", jpeg(photo()))], outputs=["heatmap", "thumbnail"], colormap="magma", invert=True
    )
    open_photo(page, job, 0)

    expected = np.asarray(stored(stack, job, 0, "heatmap").convert("RGB"))

    np.testing.assert_array_equal(pixels(page.locator(".stage-depth")), expected)


@pytest.mark.parametrize("name", ["turbo", "spectral", "gray"])
def test_other_colours_are_computed_from_the_depth(
    photo_page: Page, stack: LaunchedStack, done_job: str, name: str
):
    words = np.asarray(stored(stack, done_job, 0, "depth16"), np.float64)
    indices = np.rint(words / 65535 * 255).astype(int)

    photo_page.get_by_label(name.capitalize(), exact=True).check()

    found = pixels(photo_page.locator(".stage-depth"))
    expected = colour_table(Colormap(name))[indices]
    assert found.shape == expected.shape
    # Halves may be rounded up or down.
    assert np.mean(np.any(found != expected, axis=2)) < 0.001


@pytest.mark.parametrize(
    "options",
    [
        {"outputs": ["npy"]},
        {"outputs": ["pfm"]},
        {"outputs": ["heatmap"], "heatmap_format": "jpeg", "colormap": "viridis"},
        {"outputs": ["thumbnail"]},
    ],
    ids=["npy", "pfm", "jpeg", "thumbnail"],
)
def test_depth_is_read_from_any_output_that_contains_it(
    page: Page, stack: LaunchedStack, done_job: str, options: dict[str, Any]
):
    words = np.asarray(stored(stack, done_job, 0, "depth16"), np.float64) / 65535
    open_photo(page, submit(stack, [("a.jpg", jpeg(photo()))], **options), 0)

    page.get_by_label("Gray", exact=True).check()

    gray = pixels(page.locator(".stage-depth"))[:, :, 0] / 255
    assert gray.shape == words.shape
    assert np.mean(np.abs(gray - words)) < 0.015


def test_the_nearness_under_the_pointer_is_shown(photo_page: Page, stack: LaunchedStack, done_job: str):
    words = np.asarray(stored(stack, done_job, 0, "depth16"), np.float64)
    stage = photo_page.locator(".slider")

    readings = []
    for u, v in ((0.2, 0.3), (0.8, 0.6)):
        point_at(stage, u, v)
        readings.append(photo_page.locator(".nearness").inner_text())

    height, width = words.shape
    around = [words[int(0.3 * height), int(0.2 * width)], words[int(0.6 * height), int(0.8 * width)]]
    for text, word in zip(readings, around, strict=True):
        assert text.endswith("% near")
        assert abs(int(text.split("%")[0]) - word / 655.35) < 4
    assert readings[0] != readings[1]
    expect(photo_page.locator(".legend-reading")).to_have_text(f"Under the pointer: {readings[1]}")


def test_a_photo_in_3d_is_drawn_and_moves_with_the_pointer(scene: Page):
    canvas = scene.locator("canvas.scene")
    still = partial(settled_picture, scene, canvas)

    point_at(canvas, 0.5, 0.5)
    middle = still()
    point_at(canvas, 0.05, 0.5)
    left = still()

    assert len(np.unique(middle.reshape(-1, 3), axis=0)) > 1000
    assert np.mean(np.any(np.abs(middle - left) > 24, axis=2)) > 0.05


def settled_picture(page: Page, canvas: Locator) -> NDArray[np.int16]:
    """Return the pixels of a canvas once two screenshots are equal."""
    before = picture(canvas)
    for _ in range(100):
        page.wait_for_timeout(50)
        now = picture(canvas)
        if np.array_equal(before, now):
            return now
        before = now
    raise AssertionError("The canvas did not stop changing.")


def test_a_photo_in_3d_looks_like_the_photo_from_its_original_viewpoint(scene: Page):
    assert difference_from_photo(settled_picture(scene, scene.locator("canvas.scene"))) < 12


def difference_from_photo(seen: NDArray[np.int16]) -> float:
    """Return by how much a picture in 3D, seen from where the photo was taken, differs from it on average."""
    height, width = seen.shape[:2]
    half = min(width / 320, height / 240) / 1.02 / 2
    rows = slice(int(height / 2 - 0.8 * half * 240), int(height / 2 + 0.8 * half * 240))
    columns = slice(int(width / 2 - 0.8 * half * 320), int(width / 2 + 0.8 * half * 320))
    size = (columns.stop - columns.start, rows.stop - rows.start)
    expected = np.asarray(photo().crop((32, 24, 288, 216)).resize(size), np.int16)
    return float(np.mean(np.abs(seen[rows, columns] - expected)))


def test_in_3d_arrow_keys_move_the_view_instead_of_changing_the_photo(scene: Page):
    canvas = scene.locator("canvas.scene")
    before = settled_picture(scene, canvas)
    address = scene.url

    canvas.focus()
    for _ in range(4):
        scene.keyboard.press("ArrowRight")

    assert not np.array_equal(settled_picture(scene, canvas), before)
    assert scene.url == address


def test_a_photo_in_3d_moves_unless_reduced_motion_is_preferred(open_page: OpenPage, done_job: str):
    page = open_photo(
        open_page(reduced_motion="no-preference", viewport={"width": 400, "height": 320}), done_job, 0
    )
    page.get_by_role("button", name="3D").click()
    page.mouse.move(5, 5)

    wait_for_motion(page.locator("canvas.scene"))


def test_arrow_keys_change_the_photo_and_escape_returns_to_the_job(page: Page, done_job: str):
    page.goto(f"/jobs/{done_job}")
    page.locator('.cell[data-index="0"] a').click()
    expect(page.get_by_role("heading", level=1)).to_have_text("first.jpg")
    expect(page.get_by_role("button", name="Previous photo")).to_be_disabled()

    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", level=1)).to_have_text("phone.jpg")
    expect(page.locator(".photo-place")).to_have_text("2 of 5")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading", level=1)).to_have_text("first.jpg")
    page.keyboard.press("Escape")

    page.wait_for_url(f"**/jobs/{done_job}")


def test_a_swipe_goes_to_the_next_photo(open_page: OpenPage, done_job: str):
    page = open_photo(open_page(**PHONE), done_job, 0)
    box = page.locator(".slider").bounding_box()
    assert box is not None
    touch = page.context.new_cdp_session(page)
    y = box["y"] + box["height"] / 2

    for kind, x in (("touchStart", 330), ("touchMove", 280), ("touchMove", 230), ("touchEnd", None)):
        points = [] if x is None else [{"x": x, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    expect(page.get_by_role("heading", level=1)).to_have_text("phone.jpg")


def test_a_photo_stored_sideways_is_shown_upright(page: Page, done_job: str):
    open_photo(page, done_job, 1)

    found = pixels(page.locator("canvas.stage-layer:not(.stage-depth)")).astype(int)

    assert found.shape == (240, 320, 3)
    assert np.mean(np.abs(found - np.asarray(photo(), int))) < 6


def test_photo_and_depth_are_rotated_by_exif_and_not_by_xmp(page: Page, stack: LaunchedStack):
    lying = photo().transpose(Image.Transpose.ROTATE_90)
    plain, turned = jpeg(photo()), jpeg(lying, orientation=6)
    job = submit(
        stack, [("xmp.jpg", with_xmp_orientation(plain)), ("exif.jpg", with_xmp_orientation(turned))]
    )

    for index in (0, 1):
        open_photo(page, job, index)
        found = pixels(page.locator("canvas.stage-layer:not(.stage-depth)"))
        assert found.shape == pixels(page.locator(".stage-depth")).shape == (240, 320, 3)
        assert stored(stack, job, index, "heatmap").size == (320, 240)
        assert np.mean(np.abs(found.astype(int) - np.asarray(photo(), int))) < 6


def with_xmp_orientation(data: bytes) -> bytes:
    """Add an XMP orientation of 90 degrees to a JPEG; browsers ignore it."""
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
    xmp += b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:tiff='
    xmp += b'"http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    return data[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2) + xmp + data[2:]


def test_a_photo_that_browsers_cannot_show_comes_from_its_thumbnail(page: Page, stack: LaunchedStack):
    data = io.BytesIO()
    pillow_heif.from_pillow(photo()).save(data)
    job = submit(stack, [("a.heic", data.getvalue())], outputs=["heatmap", "thumbnail"])
    open_photo(page, job, 0)

    found = pixels(page.locator("canvas.stage-layer:not(.stage-depth)")).astype(int)

    assert np.mean(np.abs(found - np.asarray(photo(), int))) < 12


def test_an_upside_down_webp_is_shown_upright(page: Page, stack: LaunchedStack):
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 3
    photo().transpose(Image.Transpose.ROTATE_180).save(data, "WEBP", quality=95, exif=exif)
    job = submit(stack, [("a.webp", data.getvalue())], outputs=["heatmap", "thumbnail"])
    open_photo(page, job, 0)

    found = pixels(page.locator("canvas.stage-layer:not(.stage-depth)")).astype(int)

    assert np.mean(np.abs(found - np.asarray(photo(), int))) < 12


def test_each_result_can_be_downloaded_under_its_own_name(photo_page: Page):
    with photo_page.expect_download() as started:
        photo_page.get_by_role("link", name="Fine depth (16-bit PNG)").click()

    assert started.value.suggested_filename == "first.depth16.png"
    with Image.open(started.value.path()) as saved:
        assert (saved.mode, saved.size) == ("I;16", (320, 240))


def test_the_picture_can_be_saved_in_the_shown_colours(photo_page: Page):
    photo_page.get_by_label("Viridis", exact=True).check()

    with photo_page.expect_download() as started:
        photo_page.get_by_role("button", name="This view as a picture").click()

    assert started.value.suggested_filename == "first.depth-view.png"
    with Image.open(started.value.path()) as saved:
        np.testing.assert_array_equal(
            np.asarray(saved.convert("RGB")), pixels(photo_page.locator(".stage-depth"))
        )


def test_a_failed_photo_says_why(page: Page, done_job: str):
    page.goto(f"/jobs/{done_job}/photos/4")

    expect(page.locator(".stage-note")).to_contain_text("This is not a picture in a format that can be read.")
    expect(page.locator(".photo-panel")).to_be_hidden()


def test_the_page_names_the_weights_of_the_depth(photo_page: Page):
    expect(photo_page.locator(".weights")).to_contain_text("random weights")


def test_a_photo_that_the_job_does_not_have_is_shown_as_missing(page: Page, done_job: str):
    page.goto(f"/jobs/{done_job}/photos/99")

    expect(page.locator(".stage-note")).to_contain_text("The job has no such photo.")


def test_a_photo_that_was_waiting_shows_its_depth_and_files_once_they_are_made(
    page: Page, stack: LaunchedStack
):
    with stack.workers_stopped():
        answer = httpx.post(f"{stack.api}/v1/jobs", files=[("images", ("a.jpg", jpeg(photo())))])
        page.goto(f"/jobs/{answer.json()['id']}/photos/0")
        expect(page.locator(".stage-note")).to_contain_text("waiting for its turn")

    expect(page.locator(".stage-depth")).to_be_visible()
    expect(page.get_by_role("link", name="Heatmap")).to_be_visible()
