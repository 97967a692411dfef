"""The web page in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.acceptance.albums import plain_album
from tests.acceptance.stacks import Stack
from tests.conftest import skip_or_fail

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
]
#: Milliseconds until a small job has been shown as done.
DONE_WITHIN = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        skip_or_fail("There is no Chromium; `apt-get install chromium` brings one.")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """The page, freshly opened. Any error in its console fails the test."""
    opened = browser.new_page()
    errors: list[str] = []
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(stack.api)
    yield opened
    opened.close()

    assert errors == []


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Three photos, and a text that says it is one."""
    plain_album(tmp_path / "album", 3, size=(320, 240))
    fraud = tmp_path / "album" / "not a photo.jpg"
    fraud.write_text("a text")
    return sorted((tmp_path / "album").iterdir())


def submit(page: Page, photos: list[Path]) -> None:
    page.set_input_files("#files", photos)
    expect(page.locator("#chosen")).to_contain_text(f"{len(photos)} files")
    page.get_by_role("button", name="Make depth maps").click()


def test_chosen_photos_become_heatmaps_and_a_bad_one_is_explained(page: Page, photos: list[Path]):
    submit(page, photos)

    expect(page.locator("#state")).to_contain_text("3 of 4, 1 failed", timeout=DONE_WITHIN)
    expect(page.locator("#grid img")).to_have_count(3)
    expect(page.locator("#weights")).to_contain_text("random weights")
    expect(page.locator("#failures")).to_contain_text("not a photo.jpg: ")
    for image in page.locator("#grid img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") > 0


def test_a_reload_finds_the_job_again(page: Page, photos: list[Path]):
    submit(page, photos)
    page.wait_for_url("**/#job=*")

    page.reload()

    expect(page.locator("#grid img")).to_have_count(3, timeout=DONE_WITHIN)


def test_the_zip_of_all_results_can_be_downloaded(page: Page, photos: list[Path]):
    submit(page, photos)
    expect(page.locator("#grid img")).to_have_count(3, timeout=DONE_WITHIN)

    with page.expect_download() as started:
        page.get_by_role("link", name="Download all as ZIP").click()

    assert started.value.path().read_bytes()[:2] == b"PK"


def test_an_unknown_job_is_said_to_be_unknown(browser: Browser, stack: Stack):
    page = browser.new_page()
    page.goto(f"{stack.api}/#job={'a' * 26}")

    expect(page.get_by_role("alert")).to_contain_text("There is no such job")
    page.close()
