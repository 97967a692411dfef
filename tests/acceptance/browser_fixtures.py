"""Fixtures for the tests of the page: one Chromium per module, one page per test, and one ended job."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.acceptance.albums import jpeg, photo
from tests.acceptance.browsers import FLAGS, PATIENCE, OpenPage, opening, submit
from tests.acceptance.stacks import LaunchedStack
from tests.conftest import skip_or_fail


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium. It ends with the module, because no other event loop can run in this thread meanwhile."""
    # The headless shell is the same browser without windows, and needs half the CPU time.
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        skip_or_fail("Chromium is not installed (Debian: apt-get install chromium-headless-shell).")
    expect.set_options(timeout=PATIENCE)
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
    """The page, just opened, in English on a desktop."""
    return open_page()


@pytest.fixture(scope="session")
def done_job(stack: LaunchedStack) -> str:
    """An ended job of four photos, one of them stored sideways, and a text that is named like a photo."""
    image = photo()
    files = [
        ("album/first.jpg", jpeg(image)),
        ("album/phone.jpg", jpeg(image.transpose(Image.Transpose.ROTATE_90), orientation=6)),
        ("album/wide.jpg", jpeg(image.resize((400, 150)))),
        ("album/حديقة.jpg", jpeg(image.resize((240, 320)))),
        ("album/fraud.jpg", b"a text"),
    ]
    return submit(stack, files, outputs=["heatmap", "thumbnail", "depth16"], title="The album")
