"""The page with a keyboard, with screen readers, on a phone, in the dark theme, and in Chinese."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.browsers import (
    PHONE,
    OpenPage,
    announce,
    expect_state,
    find_violations,
    overflow,
)
from tests.acceptance.stacks import LaunchedStack

pytest_plugins = ["tests.acceptance.browser_fixtures"]

#: Visible texts and accessible labels, except for file names, which come from users.
_TEXTS = """
() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.nodeType === Node.ELEMENT_NODE) {
      for (const name of ['aria-label', 'title', 'alt', 'placeholder', 'aria-valuetext']) found.push(node.getAttribute(name) ?? '');
    } else if (!node.parentElement.closest('bdi, noscript, script, [lang=en]')) {
      found.push(node.data);
    }
  }
  return found.map((text) => text.trim()).filter(Boolean);
}
"""
#: Texts that are the same in all languages.
_NAMES = re.compile(
    r"Fathom|PNG|JPEG|ZIP|JSON|NumPy|PFM|EXR|GLB|PLY|PSD|VR|3D|Blender|Nuke|Fusion|ControlNet|Python|API|fathom_|JavaScript|\S+\.jpg|random|The album"
)


def open_view(page: Page, view: str, job: str) -> None:
    """Open a view and wait until it is complete."""
    paths = {"home": "/", "jobs": "/jobs", "job": f"/jobs/{job}", "missing": f"/jobs/{job}/photos/99"}
    paths |= {name: f"/jobs/{job}/photos/0" for name in ("photo", "scene", "make")}
    page.goto(paths[view])
    if view == "home":
        for summary in page.locator(".options summary").all():
            summary.click()
    elif view == "jobs":
        expect(page.locator(".job-link").first).to_be_visible()
    elif view == "job":
        expect(page.locator(".pair-depth[data-loaded]")).to_have_count(4)
    elif view != "missing":
        expect(page.locator(".photo-panel")).to_be_visible()
        page.locator(".photo-details summary").click()
    if view == "scene":
        page.locator("[data-mode=scene]").click()
        expect(page.locator("canvas.scene")).to_be_visible()
    if view == "make":
        page.locator("[data-mode=make]").click()
        page.locator("[data-kind=refocus]").click()
        expect(page.locator(".crosshair")).to_be_visible()


VIEWS = ("home", "jobs", "job", "photo", "scene", "make", "missing")


@pytest.mark.parametrize(
    ("scheme", "rules"), [("light", None), ("dark", ["color-contrast"])], ids=["light", "dark"]
)
def test_no_view_has_accessibility_violations(
    open_page: OpenPage, done_job: str, scheme: Literal["light", "dark"], rules: list[str] | None
):
    """In the dark theme, only colours differ."""
    page = open_page(color_scheme=scheme)

    barriers = {}
    for view in VIEWS:
        open_view(page, view, done_job)
        barriers[view] = find_violations(page, rules)

    assert barriers == {view: [] for view in VIEWS}


def test_uploading_and_working_views_have_no_accessibility_violations(page: Page, stack: LaunchedStack):
    page.goto(f"/jobs/{announce(stack, ['a.jpg', 'b.jpg'])}")
    expect(page.locator(".dropzone-status")).not_to_be_empty()
    uploading = find_violations(page)
    page.get_by_role("button", name="Delete").click()

    assert uploading == []
    assert find_violations(page) == []


def test_everything_can_be_done_with_the_keyboard_only(page: Page):
    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            active = page.evaluate(
                "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
            )
            if name in active:
                return
        raise AssertionError(f"The Tab key did not reach {name!r}.")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    tab_to("Try it with sample photos")
    page.keyboard.press("Enter")
    expect_state(page, "Done")
    tab_to("astronaut.jpg")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "cat.jpg" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("cat.jpg")
    expect(page.locator(".photo-panel")).to_be_visible()
    tab_to("Line between photo and depth")
    page.keyboard.press("End")
    expect(page.get_by_role("slider", name="Line")).to_have_attribute("aria-valuenow", "100")
    tab_to("3D")
    page.keyboard.press("Space")
    expect(page.locator("canvas.scene")).to_be_visible()
    page.keyboard.press("Escape")
    tab_to("Delete")
    page.keyboard.press("Enter")
    tab_to("Delete")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs")


def test_focus_is_always_visible(page: Page, done_job: str):
    page.goto(f"/jobs/{done_job}")
    expect(page.locator(".pair-depth[data-loaded]")).to_have_count(4)

    for _ in range(12):
        page.keyboard.press("Tab")
        outlines = page.evaluate(
            "[...document.querySelectorAll(':focus-visible')].map((it) => getComputedStyle(it).outlineStyle)"
        )
        assert outlines == ["solid"]


def test_progress_is_announced_to_screen_readers(page: Page, done_job: str):
    page.goto(f"/jobs/{done_job}")

    expect(page.locator(".progress [role=status]")).to_have_text("Done, but some photos failed 100%")


def test_every_view_fits_a_phone(open_page: OpenPage, done_job: str):
    page = open_page(**PHONE)

    too_wide = {}
    for view in VIEWS:
        open_view(page, view, done_job)
        too_wide[view] = overflow(page)

    assert max(too_wide.values()) <= 0, too_wide


def test_chinese_readers_get_chinese(open_page: OpenPage, done_job: str):
    page = open_page(locale="zh-CN")

    for view in VIEWS:
        open_view(page, view, done_job)
        texts = [_NAMES.sub("", text) for text in page.evaluate(_TEXTS)]
        assert [text for text in texts if re.search(r"[A-Za-z]{3}", text)] == [], view
    assert page.locator("html").get_attribute("lang") == "zh-CN"


def test_the_language_can_be_switched_and_stays(page: Page):
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("看见照片里的远近")

    page.reload()

    expect(page.get_by_role("heading", level=1)).to_have_text("看见照片里的远近")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("See the depth in your photos")


def test_the_dark_theme_is_dark_and_can_be_switched(open_page: OpenPage):
    page = open_page(color_scheme="dark")

    def brightness() -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return max(map(int, re.findall(r"\d+", colour)[:3]))

    assert brightness() < 40
    page.get_by_role("button", name="Light appearance").click()
    assert brightness() > 220
    page.reload()
    assert brightness() > 220


def test_a_right_to_left_name_does_not_affect_the_text_around_it(page: Page, done_job: str):
    page.goto(f"/jobs/{done_job}")

    name = page.locator('.cell[data-index="3"] bdi')

    expect(name).to_have_text("حديقة.jpg")
    assert page.locator('.cell[data-index="3"] .thumb-name').evaluate(
        "it => it.getBoundingClientRect().left"
    ) == (page.locator('.cell[data-index="3"]').evaluate("it => it.getBoundingClientRect().left"))


def test_the_photos_are_one_tab_stop(page: Page, done_job: str):
    page.goto(f"/jobs/{done_job}")
    expect(page.locator(".pair-depth[data-loaded]")).to_have_count(4)

    assert page.locator('.cell a[tabindex="0"]').count() == 1
    page.locator('.cell a[tabindex="0"]').focus()
    page.keyboard.press("End")

    expect(page.locator('.cell[data-index="4"] a')).to_be_focused()
