"""Use the page in a real browser: drop albums, wait for jobs, check accessibility."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_playwright_python
import httpx
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.acceptance.stacks import LaunchedStack
from tests.waiting import DEADLINE, eventually

#: There is no graphics card: SwiftShader renders WebGL, and the rest is not accelerated.
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
#: Milliseconds until a test of the page gives up.
PATIENCE = 1000 * DEADLINE
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
_AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

#: Makes files from base64 and drops them onto the drop zone.
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

    assert errors == [], errors


def submit(
    stack: LaunchedStack, files: Sequence[tuple[str, bytes]], *, title: str = "", **options: Any
) -> str:
    """Submit a job without the page and wait for its end; return its id."""
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
    """Announce a job whose photos are never uploaded; return its id."""
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
    """Wait until the page shows a job, and return its id."""
    page.wait_for_url("**/jobs/*")
    return page.url.rsplit("/", 1)[-1]


def wait_for_motion(canvas: Locator) -> None:
    """Wait until a canvas shows another picture. It is looked up each time, because the page may replace it."""
    first = _picture(canvas)
    eventually(lambda: _picture(canvas), lambda picture: picture != first)


def _picture(canvas: Locator) -> str:
    return str(
        canvas.evaluate(
            "(canvas) => new Promise((done) => requestAnimationFrame(() => done(canvas.toDataURL())))"
        )
    )


def wait_for_play(film: Locator) -> None:
    """Wait until a film plays. It is looked up each time, because the page may replace it."""
    eventually(lambda: film.evaluate("(film) => !film.paused && film.currentTime > 0"))


def expect_state(page: Page, words: str) -> None:
    expect(page.locator(".pill").first).to_have_text(words)


def cells(page: Page, state: str) -> Any:
    return page.locator(f'.cell[data-state="{state}"]')


def find_violations(page: Page, rules: Sequence[str] | None = None) -> list[str]:
    """Return the accessibility violations that axe-core finds, each as its rule and the element.

    Without `rules`, it checks the automatic rules of WCAG 2.2 A and AA, and best practices.
    """
    chosen = {"type": "tag", "values": _AXE_TAGS} if rules is None else {"type": "rule", "values": rules}
    page.evaluate(AXE.read_text())
    result = page.evaluate("(chosen) => axe.run(document, { runOnly: chosen })", chosen)
    return [
        f"{found['id']}: {node['html'][:120]}" for found in result["violations"] for node in found["nodes"]
    ]


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width
