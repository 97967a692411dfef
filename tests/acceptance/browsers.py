"""What tests do with the page in a real browser: drop albums, wait, look for barriers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_playwright_python
import httpx
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.acceptance.stacks import LaunchedStack
from tests.waiting import eventually

#: Without a graphics card, the processor draws: WebGL by SwiftShader, all else without.
FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader-webgl",
    "--enable-unsafe-swiftshader",
    "--disable-gpu-compositing",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
]
#: Milliseconds until a small job has been shown as done.
DONE_WITHIN = 60_000
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
_AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

#: Makes files of base64 and drops them where a person would.
_DROP = """
(files) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: name.endsWith('.jpg') ? 'image/jpeg' : '' }));
  }
  const target = document.querySelector('.dropzone');
  for (const kind of ['dragenter', 'dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}
"""

OpenPage = Callable[..., Page]


@contextmanager
def opening(browser: Browser, stack: LaunchedStack) -> Iterator[OpenPage]:
    """Open pages as `open_page` does, and close them at the end.

    Any error in their consoles is an error then, but for those that hold one of the words in `expected`.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def make(path: str = "/", *, expected: Sequence[str] = (), locale: str = "en-US", **options: Any) -> Page:
        options.setdefault("reduced_motion", "reduce")
        context = browser.new_context(base_url=stack.api, locale=locale, **options)
        contexts.append(context)
        page = context.new_page()

        def note(text: str) -> None:
            if not any(word in text for word in expected):
                errors.append(text)

        page.on("console", lambda message: note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: note(str(error)))
        # A page that is sending asks before it is left.
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(path)
        return page

    yield make
    for context in contexts:
        context.close()

    assert errors == [], errors


def submit(
    stack: LaunchedStack, files: Sequence[tuple[str, bytes]], *, title: str = "", **options: Any
) -> str:
    """Send a job without the page and wait for its end; returns its id."""
    with httpx.Client(base_url=stack.api) as http:
        answer = http.post(
            "/v1/jobs",
            files=[("images", file) for file in files],
            data={"options": json.dumps(options), "title": title},
        )
        assert answer.status_code == 202, answer.text
        job = answer.json()["id"]
        eventually(lambda: http.get(f"/v1/jobs/{job}").json()["ended_at"])
    return str(job)


def announce(stack: LaunchedStack, names: Sequence[str], *, title: str = "") -> str:
    """Announce a job of photos that are never sent; returns its id."""
    uploads = [{"name": name, "size": 1000} for name in names]
    answer = httpx.post(f"{stack.api}/v1/jobs", json={"uploads": uploads, "title": title})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def drop(page: Page, files: Sequence[tuple[str, bytes]]) -> None:
    """Drop files onto the page."""
    page.evaluate(_DROP, [(name, base64.b64encode(data).decode()) for name, data in files])


def pick_folder(page: Page, folder: Path) -> None:
    page.set_input_files("#folder", folder)


def wait_for_job(page: Page) -> str:
    """Return the id of the job that the page has gone to."""
    page.wait_for_url("**/jobs/*")
    return page.url.rsplit("/", 1)[-1]


def expect_state(page: Page, words: str) -> None:
    expect(page.locator(".pill").first).to_have_text(words, timeout=DONE_WITHIN)


def cells(page: Page, state: str) -> Any:
    return page.locator(f'.cell[data-state="{state}"]')


def find_barriers(page: Page, rules: Sequence[str] | None = None) -> list[str]:
    """Return what axe-core finds that keeps people out, each as its rule and the element.

    Without `rules`, all of WCAG 2.2 A and AA that can be checked by a machine, and its best practices.
    """
    chosen = {"type": "tag", "values": _AXE_TAGS} if rules is None else {"type": "rule", "values": rules}
    page.evaluate(AXE.read_text())
    result = page.evaluate("(chosen) => axe.run(document, { runOnly: chosen })", chosen)
    return [
        f"{found['id']}: {node['html'][:120]}" for found in result["violations"] for node in found["nodes"]
    ]


def overflow(page: Page) -> int:
    """Return how many pixels the page is wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width
