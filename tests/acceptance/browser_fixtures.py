"""Fixtures for the tests of the page: one Chromium per module, one page per test, and one ended job."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.acceptance.albums import jpeg, photo
from tests.acceptance.browsers import FLAGS, PATIENCE, OpenPage, submit
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
    """Open the page: `open_page("/jobs", locale="zh-CN", **PHONE)`.

    Any error in its console fails the test, unless it contains one of the words in `expected`.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def make(path: str = "/", *, expected: Sequence[str] = (), locale: str = "en-US", **options: Any) -> Page:
        options.setdefault("reduced_motion", "reduce")
        context = browser.new_context(base_url=stack.api, locale=locale, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()

        def note(text: str) -> None:
            if not any(word in text for word in expected):
                errors.append(text)

        page.on("console", lambda message: note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: note(str(error)))
        # A page that is uploading asks for confirmation before it is left.
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(path)
        return page

    yield make
    for context in contexts:
        context.close()

    assert errors == []


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
