"""Clips on the page: they play in the grid and in the photo's view, and the 3D view is saved as one."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import av
import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.acceptance.albums import jpeg, photo
from tests.acceptance.browsers import (
    PHONE,
    OpenPage,
    drop,
    expect_state,
    find_violations,
    overflow,
    submit,
    wait_for_job,
    wait_for_motion,
    wait_for_play,
)
from tests.acceptance.stacks import LaunchedStack
from tests.acceptance.test_page_photo import open_photo

pytest_plugins = ["tests.acceptance.browser_fixtures"]

SHORT = {"seconds": 1, "fps": 10, "height": 96}
#: Small, because 3D is computed without a graphics card.
FILES = [
    ("first.jpg", jpeg(photo().resize((128, 96)))),
    ("second.jpg", jpeg(photo().resize((80, 100)))),
]
MOVING = {"reduced_motion": "no-preference"}

#: Resolves once a film has come to its end and begun again, after it was somewhere in between.
_WAIT_FOR_A_LOOP = """
(film) => new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error(`It did not begin again, but was at ${film.currentTime}.`)), 60000);
  let before = 0;
  const look = () => {
    if (film.currentTime < before) return resolve(before);
    before = film.currentTime;
    requestAnimationFrame(look);
  };
  look();
})
"""


@pytest.fixture(scope="module")
def clips_job(stack: LaunchedStack) -> str:
    """A job of two photos with films of one second."""
    return submit(stack, FILES, outputs=["heatmap", "thumbnail", "clip"], clip=SHORT)


def open_job(page: Page, job: str) -> Page:
    page.goto(f"/jobs/{job}")
    expect(page.locator(".pair-depth[data-loaded]").first).to_be_visible()
    return page


def clip_in(cell: Locator) -> Locator:
    return cell.locator("video.thumb-clip")


def test_a_clip_plays_in_a_loop_under_the_pointer_and_ends_without_it(open_page: OpenPage, clips_job: str):
    page = open_job(open_page(**MOVING), clips_job)
    first, second = page.locator(".cell").all()

    first.locator("a").hover()
    reached = clip_in(first).evaluate(_WAIT_FOR_A_LOOP)

    assert 0.3 < reached <= 1.05
    assert clip_in(first).evaluate("(film) => [film.videoWidth, film.videoHeight, film.muted]") == [
        128,
        96,
        True,
    ]
    expect(clip_in(first)).to_have_css("opacity", "1")
    second.locator("a").hover()
    expect(clip_in(second)).to_have_attribute("data-loaded", "")
    expect(clip_in(first)).to_have_count(0)


def test_a_clip_plays_while_its_cell_has_the_focus_of_the_keyboard(open_page: OpenPage, clips_job: str):
    page = open_job(open_page(**MOVING), clips_job)
    first, second = page.locator(".cell").all()

    first.locator("a").focus()
    wait_for_play(clip_in(first))
    page.keyboard.press("ArrowRight")
    expect(second.locator("a")).to_be_focused()
    expect(clip_in(second)).to_have_count(1)
    expect(clip_in(first)).to_have_count(0)


def test_with_reduced_motion_only_the_button_plays_a_clip(page: Page, clips_job: str):
    cell = open_job(page, clips_job).locator(".cell").first
    button = page.get_by_role("button", name="Play the clip of first.jpg")

    cell.locator("a").hover()
    assert clip_in(cell).count() == 0
    button.click()
    wait_for_play(clip_in(cell))
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(clip_in(cell)).to_have_count(0)
    expect(button).to_have_attribute("aria-pressed", "false")


def test_the_button_is_reached_by_the_keyboard(page: Page, clips_job: str):
    cell = open_job(page, clips_job).locator(".cell").first

    cell.locator("a").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Play the clip of first.jpg")).to_be_focused()
    wait_for_play(clip_in(cell))


def test_on_a_phone_a_tap_plays_one_clip_at_a_time(open_page: OpenPage, clips_job: str):
    page = open_job(open_page(**PHONE, **MOVING), clips_job)
    first, second = page.locator(".cell").all()

    first.get_by_role("button").tap()
    wait_for_play(clip_in(first))
    second.get_by_role("button").tap()
    wait_for_play(clip_in(second))

    expect(clip_in(first)).to_have_count(0)
    assert page.url.endswith(clips_job)
    assert overflow(page) == 0


def test_a_clip_that_is_a_picture_moves_under_the_pointer(open_page: OpenPage, stack: LaunchedStack):
    job = submit(stack, FILES[:1], outputs=["thumbnail", "clip"], clip={**SHORT, "format": "webp"})
    cell = open_job(open_page(**MOVING), job).locator(".cell").first

    cell.locator("a").hover()

    clip = cell.locator("img.thumb-clip")
    expect(clip).to_have_attribute("data-loaded", "")
    assert clip.evaluate("(picture) => [picture.naturalWidth, picture.naturalHeight]") == [128, 96]


def test_a_photo_shows_its_clip_with_controls(open_page: OpenPage, clips_job: str):
    page = open_photo(open_page(**MOVING), clips_job, 0)

    page.get_by_role("button", name="Show: Clip").click()

    film = page.locator("video.stage-clip")
    wait_for_play(film)
    assert film.evaluate("(film) => film.controls && film.loop")
    assert find_violations(page) == []
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".stage-depth")).to_be_visible()


def test_a_job_of_nothing_but_clips_shows_them(page: Page, stack: LaunchedStack):
    job = submit(stack, FILES[:1], outputs=["clip"], clip=SHORT)
    page.goto(f"/jobs/{job}/photos/0")
    film = page.locator("video.stage-clip")

    expect(film).to_have_attribute("aria-label", "Clip: first.jpg")
    assert film.evaluate("(film) => film.paused")
    film.evaluate("(film) => film.play()")
    wait_for_play(film)


def test_a_grid_with_clips_is_accessible(open_page: OpenPage, clips_job: str):
    page = open_job(open_page(**MOVING), clips_job)
    cell = page.locator(".cell").first
    cell.locator("a").hover()
    expect(clip_in(cell)).to_have_attribute("data-loaded", "")

    assert find_violations(page) == []


# --- the 3D view ------------------------------------------------------------


#: The motion has no end, so it is enough that another frame is drawn.
def test_the_motion_seen_in_3d_is_saved_as_a_clip(open_page: OpenPage, clips_job: str):
    page = open_photo(open_page(viewport={"width": 400, "height": 320}), clips_job, 0)
    page.get_by_role("button", name="3D", exact=True).click()
    page.get_by_label("Depth", exact=True).fill("0.5")
    page.get_by_role("button", name="Dolly").click()
    wait_for_motion(page.locator("canvas.scene"))
    with page.expect_request(re.compile(r"/v1/depth\?")) as sent, page.expect_download() as started:
        page.get_by_role("button", name="Save as a clip").click()

    query = {name: values[0] for name, values in parse_qs(urlsplit(sent.value.url).query).items()}
    assert (query["output"], query["clip.motion"], query["clip.amount"]) == ("clip", "dolly", "2.5")
    assert started.value.suggested_filename == "first.clip.mp4"
    assert started.value.path().read_bytes()[4:8] == b"ftyp"
    with av.open(str(started.value.path())) as film:
        assert (film.streams.video[0].frames, film.streams.video[0].height) == (120, 96)
    expect(page.locator(".make-work")).to_contain_text("Saved: first.clip.mp4")


def test_a_clip_can_be_canceled_and_the_motion_stopped(open_page: OpenPage, clips_job: str):
    page = open_photo(open_page(viewport={"width": 400, "height": 320}), clips_job, 0)
    page.route(re.compile(r"/v1/depth\?"), lambda route: None)
    page.get_by_role("button", name="3D", exact=True).click()
    canvas, orbit = page.locator("canvas.scene"), page.get_by_role("button", name="Orbit")

    page.get_by_role("button", name="Save as a clip").click()
    expect(canvas).to_have_attribute("data-motion", "orbit")
    expect(orbit).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".make-work")).to_contain_text("Cancelled")
    orbit.click()

    expect(canvas).to_have_attribute("data-motion", "")
    assert find_violations(page) == []
    expect(page.get_by_label("Closer")).to_be_visible()


def test_the_preset_for_clips_makes_what_the_page_shows(page: Page, stack: LaunchedStack):
    page.get_by_role("radio", name="Clip to share").check()
    expect(page.locator(".options")).to_contain_text("Heatmaps and small previews come with it")
    drop(page, [("a.jpg", jpeg(photo().resize((64, 48))))])
    job = wait_for_job(page)
    expect_state(page, "Done")

    options = httpx.get(f"{stack.api}/v1/jobs/{job}").json()["options"]
    assert options["outputs"] == ["heatmap", "thumbnail", "clip"]
    expect(page.locator(".clip-button")).to_be_visible()
    page.locator(".cell-link").click()
    for name in ("Compare", "Make…", "Show: Clip"):
        expect(page.get_by_role("button", name=name)).to_be_visible()
