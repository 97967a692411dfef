"""Fixtures of the tests of the page: one Chromium for a module of them, a page for each, a job that is done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.acceptance.albums import jpeg, photo
from tests.acceptance.browsers import FLAGS, OpenPage, opening, submit
from tests.acceptance.stacks import LaunchedStack
from tests.conftest import skip_or_fail


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium. While Playwright is open its event loop runs in this thread: no other may, so it ends here."""
    # The shell is the same browser without windows, at half the work.
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        skip_or_fail("There is no Chromium; `apt-get install chromium-headless-shell` brings one.")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, stack: LaunchedStack) -> Iterator[OpenPage]:
    """Open the page: `open_page("/jobs", locale="zh-CN", **PHONE)`."""
    with opening(browser, stack) as open_page:
        yield open_page


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The page, freshly opened, in English on a desktop."""
    return open_page()


@pytest.fixture(scope="session")
def done_job(stack: LaunchedStack) -> str:
    """A job that others have watched to its end: four photos, one of them lying on its side, and a fraud."""
    image = photo()
    files = [
        ("album/first.jpg", jpeg(image)),
        ("album/phone.jpg", jpeg(image.transpose(Image.Transpose.ROTATE_90), orientation=6)),
        ("album/wide.jpg", jpeg(image.resize((400, 150)))),
        ("album/حديقة.jpg", jpeg(image.resize((240, 320)))),
        ("album/fraud.jpg", b"a text"),
    ]
    return submit(stack, files, outputs=["heatmap", "thumbnail", "depth16"], title="The album")
