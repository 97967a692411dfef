"""What can be made of a photo: previews on the page, files from the server, and the presets of a job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.acceptance.albums import jpeg, photo, png16
from tests.acceptance.browsers import (
    OpenPage,
    drop,
    expect_state,
    opening,
    submit,
    wait_for_job,
    wait_for_motion,
)
from tests.acceptance.stacks import LaunchedStack
from tests.acceptance.test_page_photo import (
    difference_from_photo,
    open_photo,
    pixels,
    point_at,
    settled_picture,
    stored,
)

pytest_plugins = ["tests.acceptance.browser_fixtures"]

DEPTH = re.compile(r"/v1/depth\?")
#: A near square before a far ground, and the place of its left upper corner. It is small, because the previews of it
#: are computed without a graphics card.
SIZE, SQUARE, CORNER = (160, 120), 40, (60, 40)
SCREEN = "Place of the screen: far to near"


@pytest.fixture(scope="module")
def make_page(browser: Browser, stack: LaunchedStack, done_job: str) -> Iterator[Page]:
    """The first photo of the job and what can be made of it, opened once for all tests that only look at it."""
    with opening(browser, stack) as open_page:
        yield open_make(open_page(), done_job)


@pytest.fixture(scope="module")
def square_job(stack: LaunchedStack) -> str:
    """A job of one photo: a white square on black."""
    return submit(stack, [("square.jpg", jpeg(square(255)))], outputs=["depth16", "comparison"])


@pytest.fixture(scope="module")
def square_page(browser: Browser, stack: LaunchedStack, square_job: str) -> Iterator[Page]:
    """The square and what can be made of it, opened once. Each test says what it needs of the settings."""
    with opening(browser, stack) as open_page:
        page = open_page()
        open_square(page, square_job)
        yield page


def square(value: int) -> Image.Image:
    image = Image.new("L", SIZE, 0)
    image.paste(value, (*CORNER, CORNER[0] + SQUARE, CORNER[1] + SQUARE))
    return image.convert("RGB")


def open_make(page: Page, job: str) -> Page:
    open_photo(page, job, 0)
    page.get_by_role("button", name="Make…").click()
    expect(page.locator("canvas.make-picture")).to_be_visible()
    return page


def open_square(page: Page, job: str) -> Page:
    """Open the square, whose depth is the square itself instead of what the network guesses."""
    page.route(
        "**/depth16?stream=1", lambda route: route.fulfill(body=png16(square(255)), content_type="image/png")
    )
    sidecar = {"min": 0, "max": 1, "range": {"low": 0, "high": 1}}

    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | sidecar)

    page.route("**/depth?stream=1", answer)
    return open_make(page, job)


def choose(page: Page, kind: str) -> Locator:
    page.get_by_role("button", name=kind, exact=True).click()
    return page.locator("canvas.make-picture")


def slide(page: Page, label: str, value: float) -> None:
    page.get_by_label(label, exact=True).fill(str(value))


def drawn(page: Page) -> NDArray[np.int16]:
    """Return the preview once it is drawn: at the next frame."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return pixels(page.locator("canvas.make-picture")).astype(np.int16)


def test_an_anaglyph_shows_the_photo_in_other_colours(make_page: Page):
    choose(make_page, "Red-cyan")

    found = drawn(make_page)

    assert found.shape == (240, 320, 3)
    assert found.std() > 20
    assert np.mean(np.abs(found - np.asarray(photo(), np.int16))) > 5


def test_without_strength_each_eye_sees_the_photo(make_page: Page):
    choose(make_page, "Wiggle")
    slide(make_page, "Strength", 0)

    same = drawn(make_page)
    slide(make_page, "Strength", 5)
    strong = drawn(make_page)

    assert np.mean(np.abs(same - np.asarray(photo(), np.int16))) < 3
    assert np.mean(np.abs(strong - same)) > 3


def test_a_near_thing_lies_farther_to_the_right_for_the_left_eye(square_page: Page):
    page = square_page
    choose(page, "Red-cyan")
    slide(page, "Strength", 5)
    # The ground is at the screen, so all of the disparity is in the square.
    slide(page, SCREEN, 0)

    # The left view is in red, the right one in cyan.
    row = drawn(page)[SIZE[1] // 2]
    left, right = (np.flatnonzero(row[:, channel] > 128).mean() for channel in (0, 2))

    assert left - right == pytest.approx(0.05 * SIZE[0], abs=1)


def test_what_appears_beside_a_near_thing_is_background(square_page: Page):
    choose(square_page, "Wiggle")
    slide(square_page, "Strength", 5)
    slide(square_page, SCREEN, 0.5)

    white = drawn(square_page)[SIZE[1] // 2, :, 0] > 128

    assert np.count_nonzero(np.diff(white)) == 2
    assert np.count_nonzero(white) == pytest.approx(SQUARE * 1.025, abs=2)


def test_normals_look_at_the_viewer_but_for_edges(square_page: Page):
    choose(square_page, "Normals")

    found = drawn(square_page)

    flat = np.array([128, 128, 255])
    for x, y in ((20, 20), (80, 60), (150, 100)):
        assert np.abs(found[y, x] - flat).max() < 6


def test_a_click_changes_the_focus(square_page: Page):
    page = square_page
    canvas = choose(page, "Refocus")
    slide(page, "Blur", 4)
    near = drawn(page)

    point_at(canvas, 0.1, 0.1)
    page.mouse.down()
    page.mouse.up()
    far = drawn(page)

    # The edge of the square is sharp if the square is in focus.
    steps = [np.abs(np.diff(each[SIZE[1] // 2, :, 0])).max() for each in (near, far)]
    assert steps[0] > 150 > 60 > steps[1]
    expect(page.locator(".crosshair")).to_have_accessible_name(
        "Focus 10% from the left, 10% from the top: 0% near"
    )


def test_arrow_keys_move_the_focus_and_not_to_another_photo(page: Page, done_job: str):
    open_make(page, done_job)
    choose(page, "Refocus")
    mark, address = page.locator(".crosshair"), page.url

    mark.focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowUp")

    expect(mark).to_have_accessible_name(re.compile("Focus 60% from the left, 48% from the top"))
    assert page.url == address


def test_a_wiggle_is_still_where_reduced_motion_is_preferred(make_page: Page):
    choose(make_page, "Wiggle")

    expect(make_page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    make_page.get_by_role("button", name="Play", exact=True).click()
    expect(make_page.get_by_role("button", name="Pause")).to_be_visible()
    make_page.get_by_role("button", name="Pause").click()


def test_a_wiggle_shows_both_eyes_in_turn(open_page: OpenPage, done_job: str):
    page = open_make(open_page(reduced_motion="no-preference"), done_job)
    canvas = choose(page, "Wiggle")

    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    wait_for_motion(canvas)


# --- files from the server --------------------------------------------------


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_the_server_makes_what_is_shown(page: Page, done_job: str):
    open_make(page, done_job)
    slide(page, "Strength", 3.5)
    shown = drawn(page)
    with page.expect_request(DEPTH) as sent, page.expect_download() as started:
        page.get_by_role("button", name="Get the file").click()

    assert query_of(sent.value.url) == {
        "output": "stereo",
        "edges": "snap",
        "depth_source": "auto",
        "model": "midas_small",
        "stereo.layout": "anaglyph",
        "stereo.divergence": "3.5",
        "stereo.convergence": "0.5",
    }
    assert started.value.suggested_filename == "first_redcyan.jpg"
    expect(page.locator(".make-work").first).to_contain_text("Saved: first_redcyan.jpg")
    with Image.open(started.value.path()) as saved:
        made = np.asarray(saved.convert("RGB"), np.int16)
    assert made.shape == shown.shape

    assert np.mean(np.abs(made - shown)) < 4


def test_normals_of_the_server_face_where_those_of_the_page_do(
    page: Page, stack: LaunchedStack, done_job: str
):
    open_make(page, done_job)
    choose(page, "Normals")
    shown = drawn(page)
    with page.expect_download() as started:
        page.get_by_role("button", name="Get the file").click()

    assert started.value.suggested_filename == "first.normals.png"
    with Image.open(started.value.path()) as saved:
        made = np.asarray(saved.convert("RGB"), np.int16)
    assert made.shape == shown.shape
    # The network's weights are random, so its surface is rough; but both show the same one.
    assert np.corrcoef(made[..., 0].ravel(), shown[..., 0].ravel())[0, 1] > 0.5
    assert np.corrcoef(made[..., 1].ravel(), shown[..., 1].ravel())[0, 1] > 0.5


@pytest.mark.parametrize(
    ("label", "name", "start"),
    [
        ("Depth for compositing (EXR)", "first.exr", b"\x76\x2f\x31\x01"),
        ("3D model (GLB)", "first.glb", b"glTF\2"),
        ("Point cloud (PLY)", "first.ply", b"ply\n"),
        ("Photo with depth inside", "first.embedded.jpg", b"\xff\xd8\xff"),
    ],
)
def test_the_server_makes_files_that_the_page_cannot_show(
    make_page: Page, label: str, name: str, start: bytes
):
    with make_page.expect_download() as started:
        make_page.get_by_role("button", name=label).click()

    assert started.value.suggested_filename == name
    assert started.value.path().read_bytes().startswith(start)


def test_a_request_can_be_canceled_and_made_again(page: Page, done_job: str):
    page.route(DEPTH, lambda route: None)
    open_make(page, done_job)
    button = page.get_by_role("button", name="3D model (GLB)")
    button.click()
    row = page.locator(".make-file", has=button)
    expect(row).to_contain_text("The server is making the file")

    row.get_by_role("button", name="Cancel").click()

    expect(row).to_contain_text("Cancelled")
    expect(button).to_be_focused()
    page.unroute(DEPTH)
    page.route(DEPTH, lambda route: route.fulfill(body=b"a mesh"))
    with page.expect_download() as started:
        button.click()
    assert started.value.suggested_filename == "first.glb"


def test_an_error_is_explained(open_page: OpenPage, done_job: str):
    page = open_page(expected=["503"])
    problem = {"code": "depth_timed_out", "detail": "Late."}
    page.route(DEPTH, lambda route: route.fulfill(status=503, json=problem))
    open_make(page, done_job)

    page.get_by_role("button", name="Get the file").click()

    expect(page.locator(".make-work").first).to_contain_text("No worker got to it in time.")


def test_without_webgl_the_files_can_still_be_made(open_page: OpenPage, done_job: str):
    page = open_page()
    page.add_init_script(
        """
        const get = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
          return kind === 'webgl2' ? null : get.call(this, kind, ...rest);
        };
        """
    )
    open_photo(page, done_job, 0)
    page.get_by_role("button", name="Make…").click()

    expect(page.locator(".stage-note", has_text="WebGL 2 is missing")).to_be_visible()
    expect(page.get_by_role("button", name="Get the file")).to_be_enabled()


# --- results that are there already -----------------------------------------


def test_a_picture_that_the_job_made_is_shown_as_it_is(page: Page, stack: LaunchedStack, square_job: str):
    open_photo(page, square_job, 0)

    page.get_by_role("button", name="Show: Photo beside depth").click()

    expect(page.get_by_role("img", name="Photo beside depth")).to_be_visible()
    found = pixels(page.locator(".stage canvas")).astype(np.int16)
    expected = np.asarray(stored(stack, square_job, 0, "comparison").convert("RGB"), np.int16)
    assert found.shape == expected.shape
    assert np.mean(np.abs(found - expected)) < 1
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".stage-depth")).to_be_visible()


def test_in_3d_the_model_that_the_server_made_is_shown(open_page: OpenPage, stack: LaunchedStack):
    job = submit(stack, [("a.jpg", jpeg(photo()))], preset="web3d")
    page = open_photo(open_page(viewport={"width": 700, "height": 520}), job, 0)
    page.get_by_role("button", name="3D", exact=True).click()
    canvas = page.locator("canvas.scene")

    expect(canvas).to_have_attribute("data-source", "mesh")
    expect(page.locator(".scene-note")).to_be_hidden()
    assert difference_from_photo(settled_picture(page, canvas)) < 12
    page.get_by_label("Show the heatmap's colours").check()
    expect(canvas).to_have_attribute("data-source", "depth")


def test_a_job_of_nothing_but_models_shows_them(open_page: OpenPage, stack: LaunchedStack):
    job = submit(stack, [("a.jpg", jpeg(photo()))], outputs=["mesh", "cloud"])
    page = open_photo(open_page(viewport={"width": 700, "height": 520}), job, 0)
    canvas = page.locator("canvas.scene")

    expect(canvas).to_have_attribute("data-source", "mesh")
    expect(page.locator(".scene-note")).to_be_hidden()
    assert difference_from_photo(settled_picture(page, canvas)) < 12
    expect(page.get_by_role("link", name="Point cloud (PLY)")).to_be_visible()


def test_in_3d_a_near_thing_is_not_stretched_to_what_is_behind(open_page: OpenPage, square_job: str):
    page = open_page(viewport={"width": 700, "height": 520})
    open_square(page, square_job)
    page.get_by_role("button", name="3D", exact=True).click()
    canvas = page.locator("canvas.scene")

    canvas.focus()
    before = white_columns(settled_picture(page, canvas))
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    aside = white_columns(settled_picture(page, canvas))

    # It moves as one piece, and only its perspective changes its width a little.
    assert abs(aside.mean() - before.mean()) > 3
    assert aside.size == pytest.approx(before.size, rel=0.06)
    assert np.ptp(aside) + 1 == aside.size


def white_columns(shot: NDArray[np.int16]) -> NDArray[np.intp]:
    """Return the columns in which the middle row of a picture is white."""
    return np.flatnonzero(shot[shot.shape[0] // 2].min(axis=1) > 128)


# --- presets ----------------------------------------------------------------


def test_a_preset_is_chosen_by_its_picture_and_makes_its_outputs(page: Page, stack: LaunchedStack):
    page.get_by_role("radio", name="Heatmaps").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")

    expect(page.get_by_role("radio", name="Image generators")).to_be_checked()
    expect(page.locator(".options-own")).to_be_hidden()
    drop(page, [("a.jpg", jpeg(photo()))])
    job = wait_for_job(page)
    expect_state(page, "Done")
    options = httpx.get(f"{stack.api}/v1/jobs/{job}").json()["options"]
    assert options["outputs"] == ["heatmap", "thumbnail", "controlnet"]
    expect(page.locator(".pair-depth")).to_be_visible()
    page.locator(".cell-link").click()
    expect(page.get_by_role("button", name="Make…")).to_be_visible()


def test_depth_is_read_from_a_picture_for_image_generators(page: Page, stack: LaunchedStack, done_job: str):
    job = submit(stack, [("a.jpg", jpeg(photo()))], preset="controlnet")
    open_photo(page, job, 0)
    page.get_by_label("Gray", exact=True).check()

    gray = pixels(page.locator(".stage-depth"))[:, :, 0] / 255

    words = np.asarray(stored(stack, done_job, 0, "depth16"), np.float64) / 65535
    assert np.mean(np.abs(gray - words)) < 0.01


def test_a_job_without_depth_shows_what_it_made(page: Page, stack: LaunchedStack):
    job = submit(stack, [("a.jpg", jpeg(photo()))], preset="blender")
    page.goto(f"/jobs/{job}/photos/0")

    expect(page.get_by_role("img", name="Surface normals")).to_be_visible()
    expect(page.get_by_role("button", name="Compare")).to_be_hidden()
    expect(page.get_by_role("link", name="Depth for compositing (EXR)")).to_be_visible()


def test_a_preset_is_remembered(page: Page):
    page.get_by_role("radio", name="VR headset").check()
    page.reload()

    expect(page.get_by_role("radio", name="VR headset")).to_be_checked()
    page.get_by_role("radio", name="Heatmaps").check()
    expect(page.locator(".options-own")).to_be_visible()


def test_every_preset_has_a_picture(page: Page):
    cards = page.locator(".preset")

    expect(cards).to_have_count(9)
    for card in cards.all():
        assert card.locator("svg > *").count() >= 4
        assert card.get_attribute("title")
