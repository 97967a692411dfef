"""An album on the page in a real browser: drop, upload, follow, control and download it."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.acceptance.albums import jpeg, photo, plain_album
from tests.acceptance.browsers import (
    OpenPage,
    announce,
    cells,
    drop,
    expect_state,
    find_violations,
    opening,
    pick_folder,
    submit,
    wait_for_job,
)
from tests.acceptance.conftest import WITHOUT_NETWORK, StackFactory
from tests.acceptance.stacks import LaunchedStack
from tests.waiting import eventually

pytest_plugins = ["tests.acceptance.browser_fixtures"]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of nested photos and other usual files."""
    folder = plain_album(tmp_path_factory.mktemp("page") / "Summer", 12, size=(160, 120))
    plain_album(folder / "deep" / "deeper", 4, size=(96, 64))
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.jpg").write_bytes(b"")
    return folder


def stop_uploads(page: Page, *, after: int) -> None:
    """Let this many uploads pass; block all others."""
    passed = 0

    def decide(route: Route) -> None:
        nonlocal passed
        if route.request.method != "PUT":
            return route.continue_()
        passed += 1
        return route.continue_() if passed <= after else None

    page.route(re.compile("inputs|uploads"), decide)


def test_dropped_photos_become_heatmaps_and_a_bad_one_is_explained(page: Page):
    drop(page, [("a.jpg", jpeg(photo())), ("b.jpg", jpeg(photo())), ("fraud.jpg", b"a text")])

    expect_state(page, "Done, some failed")
    expect(cells(page, "succeeded").locator(".pair-depth[data-loaded]")).to_have_count(2)
    expect(page.locator(".fact-done dd")).to_have_text("2 of 3")
    expect(page.locator(".fact-failed dd")).to_have_text("1")
    expect(cells(page, "failed")).to_contain_text("This is not a picture in a format that can be read.")
    assert page.locator(".bar").first.get_attribute("aria-valuenow") == "100"


def test_a_folder_keeps_its_names_and_other_files_are_skipped(page: Page, stack: LaunchedStack, album: Path):
    pick_folder(page, album)
    job = wait_for_job(page)

    expect_state(page, "Done")
    expect(page.get_by_role("heading", level=1)).to_have_text("Summer")
    images = httpx.get(f"{stack.api}/v1/jobs/{job}/images").json()["images"]
    assert len(images) == 16
    assert {image["name"] for image in images} >= {"Summer/0000.jpg", "Summer/deep/deeper/0003.jpg"}


def test_videos_and_system_files_are_skipped_and_raw_files_named(
    page: Page, stack: LaunchedStack, tmp_path: Path
):
    folder = plain_album(tmp_path / "Trip", 1, size=(96, 64))
    for name in (
        "IMG_1.CR3",
        "clip.MOV",
        "IMG_1.AAE",
        "x/clip.mp4",
        "@eaDir/0000.jpg",
        "Thumbs.db",
        "notes.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\0\0\x18ftypcrx ")
    stop_uploads(page, after=0)
    pick_folder(page, folder)
    job = wait_for_job(page)

    expect(page.locator(".upload-skipped")).to_have_text(
        "4 files that are not photos were skipped: 2 videos, 1 sidecar, and 1 other file."
    )
    uploads = httpx.get(f"{stack.api}/v1/jobs/{job}/uploads").json()["uploads"]
    assert [upload["name"] for upload in uploads] == ["Trip/0000.jpg", "Trip/IMG_1.CR3"]


def test_photos_are_shown_before_they_are_sent(page: Page, album: Path):
    stop_uploads(page, after=0)
    pick_folder(page, album)

    expect(page.locator(".thumb-preview").first).to_be_visible()
    expect(page.locator(".progress-line")).to_have_text("Sending photos")
    assert (
        page.locator(".thumb-preview").first.evaluate(
            "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
        )
        > 20
    )


def test_a_reload_during_the_work_shows_the_job_again(page: Page, tmp_path: Path):
    pick_folder(page, plain_album(tmp_path / "many", 30, size=(320, 240)))
    expect(cells(page, "succeeded").first).to_be_attached()

    page.reload()

    expect_state(page, "Done")
    expect(page.locator(".fact-done dd")).to_have_text("30 of 30")


def test_uploads_interrupted_by_a_reload_continue_with_the_same_folder(page: Page, album: Path):
    stop_uploads(page, after=5)
    pick_folder(page, album)
    job = wait_for_job(page)
    expect(page.locator(".fact-done dd")).to_have_text("5 of 16")

    page.reload()
    page.unroute_all(behavior="ignoreErrors")
    expect(page.locator(".dropzone-status")).to_have_text("11 photos have not arrived yet.")
    with page.expect_request(lambda request: request.method == "PUT"):
        pick_folder(page, album)

    expect_state(page, "Done")
    assert page.url.endswith(job)
    expect(page.locator(".fact-done dd")).to_have_text("16 of 16")


def test_only_announced_photos_are_uploaded(page: Page, stack: LaunchedStack, album: Path):
    page.goto(f"/jobs/{announce(stack, ['Summer/0000.jpg', 'Summer/x.jpg'])}")

    pick_folder(page, album)

    expect(page.locator(".dropzone-status")).to_contain_text("0 were found, 2 are still missing")


def test_an_upload_can_be_paused_and_resumed(page: Page, album: Path):
    stop_uploads(page, after=3)
    pick_folder(page, album)
    expect(page.locator(".fact-done dd")).to_have_text("3 of 16")

    page.get_by_role("button", name="Pause sending").click()
    expect(page.locator(".progress-line")).to_have_text("Sending is paused")
    page.unroute_all(behavior="ignoreErrors")
    page.get_by_role("button", name="Continue sending").click()

    expect_state(page, "Done")


def test_photos_are_uploaded_through_the_api_if_the_store_is_unreachable(
    open_page: OpenPage, stack: LaunchedStack, album: Path
):
    page = open_page(expected=["Failed to load resource"])
    own = []
    page.on("request", lambda request: own.append(request.url) if request.method == "PUT" else None)
    page.route(
        re.compile(re.escape(str(stack.info["s3"]["endpoint"]))),
        lambda route: route.abort("connectionrefused"),
    )

    pick_folder(page, album)

    expect_state(page, "Done")
    assert sum(url.startswith(stack.api) for url in own) >= 16


def test_the_page_follows_a_job_by_its_event_stream(page: Page):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    drop(page, [("a.jpg", jpeg(photo())), ("b.jpg", jpeg(photo()))])
    job = wait_for_job(page)
    expect_state(page, "Done")

    assert sum(url.endswith("/events") for url in asked) >= 1
    # One request at first, one after the start, and no polling.
    assert sum(url.endswith(f"/v1/jobs/{job}") for url in asked) <= 3


def test_without_an_event_stream_the_page_polls(open_page: OpenPage):
    page = open_page(expected=["503"])
    page.route("**/events", lambda route: route.fulfill(status=503))

    drop(page, [("a.jpg", jpeg(photo()))])

    expect_state(page, "Done")


def test_a_zip_is_unpacked(page: Page):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("in/a.jpg", jpeg(photo()))
        zipped.writestr("in/b.jpg", jpeg(photo()))

    drop(page, [("album.zip", archive.getvalue())])

    expect_state(page, "Done")
    expect(cells(page, "succeeded")).to_have_count(2)


def test_the_samples_can_be_tried(page: Page):
    page.get_by_role("button", name="Try it with sample photos").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Sample photos")
    expect_state(page, "Done")
    expect(cells(page, "succeeded")).to_have_count(5)


def test_options_are_sent_with_the_job_and_remembered(page: Page, stack: LaunchedStack):
    page.locator(".options-own > summary").click()
    page.get_by_label("Viridis").check()
    page.get_by_label("Fine depth (16-bit PNG)").check()
    page.get_by_label("All photos together").check()
    page.get_by_label("Smooth").check()
    page.get_by_label("More detail").check()
    page.reload()
    drop(page, [("a.jpg", jpeg(photo()))])
    job = wait_for_job(page)

    options = httpx.get(f"{stack.api}/v1/jobs/{job}").json()["options"]

    assert options["outputs"] == ["heatmap", "thumbnail", "depth16"]
    assert (options["colormap"], options["normalize"]) == ("viridis", "job")
    assert (options["edges"], options["quality"]) == ("smooth", "detailed")


def test_a_job_gets_the_model_that_was_chosen_and_names_it(browser: Browser, start_stack: StackFactory):
    licensed = "Detailed · MiDaS v2.1 large · about 10 times as long"
    large = "Best · DPT-Large · about 45 times as long"
    stack = start_stack(
        "several", **WITHOUT_NETWORK, FATHOM_MODELS="midas_small midas_large dpt_large"
    ).start()
    with stack.client() as client:
        eventually(lambda: sum(model.available for model in client.models()), lambda count: count == 3)
    with opening(browser, stack) as open_page:
        page = open_page()
        page.locator(".options-own > summary").click()
        chooser = page.get_by_label("Model", exact=True)
        expect(chooser.locator("option")).to_have_text(["Fast · MiDaS_small", licensed, large])
        expect(chooser).to_have_value("midas_small")
        expect(page.get_by_label("More detail")).to_be_visible()
        chooser.select_option(licensed)
        expect(page.locator(".model-choice")).to_contain_text("CC-BY-NC")
        expect(page.get_by_label("More detail")).to_be_hidden()
        assert find_violations(page) == []
        chooser.select_option(large)
        page.reload()
        expect(chooser).to_have_value("dpt_large")
        drop(page, [("a.jpg", jpeg(photo()))])
        job = wait_for_job(page)
        expect_state(page, "Done")
        expect(page.locator(".job-about")).to_contain_text("DPT-Large")

    assert httpx.get(f"{stack.api}/v1/jobs/{job}").json()["options"]["model"] == "dpt_large"


def test_failed_photos_can_be_filtered_and_retried(page: Page, done_job: str):
    page.goto(f"/jobs/{done_job}")
    page.get_by_role("button", name=re.compile("^Failed")).click()
    expect(page.locator(".cell")).to_have_count(1)
    expect(page.locator(".cell")).to_contain_text("fraud.jpg")

    with page.expect_response(re.compile("/retry$")) as answered:
        page.get_by_role("button", name="Try failed photos again").click()

    assert answered.value.status == 202
    expect_state(page, "Done, some failed")


def test_a_job_can_be_paused_and_resumed(page: Page, stack: LaunchedStack, tmp_path: Path):
    with stack.workers_stopped():
        pick_folder(page, plain_album(tmp_path / "held", 3))

        page.get_by_role("button", name="Pause", exact=True).click()
        expect_state(page, "Paused")
        page.get_by_role("button", name="Resume", exact=True).click()
        expect(page.locator(".pill")).not_to_have_text("Paused")
        page.get_by_role("button", name="Cancel", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        expect_state(page, "Stopping")

    expect_state(page, "Cancelled")


def test_a_job_is_deleted_only_after_confirmation(page: Page, stack: LaunchedStack):
    job = submit(stack, [("a.jpg", jpeg(photo()))])
    page.goto(f"/jobs/{job}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Go back").click()
    assert httpx.get(f"{stack.api}/v1/jobs/{job}").status_code == 200

    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()

    page.wait_for_url("**/jobs")
    assert httpx.get(f"{stack.api}/v1/jobs/{job}").status_code == 404


def test_all_results_are_one_download(page: Page, done_job: str):
    page.goto(f"/jobs/{done_job}")

    with page.expect_download() as started:
        page.get_by_role("link", name="Download all (ZIP)").click()

    with zipfile.ZipFile(started.value.path()) as archive:
        assert "album/first.png" in archive.namelist()


def test_five_thousand_photos_need_few_elements(page: Page, stack: LaunchedStack):
    job = announce(stack, [f"IMG_{number:04}.jpg" for number in range(5000)], title="Large")
    page.goto(f"/jobs/{job}")
    expect(page.locator(".thumb-name").first).to_have_text("IMG_0000.jpg")

    for place in (0.25, 0.5, 0.999):
        page.evaluate("place => window.scrollTo(0, place * document.body.scrollHeight)", place)
        expect(page.locator(".cell").last).to_contain_text("IMG_")
        assert page.locator(".cell").count() < 120
    expect(page.get_by_title("IMG_4999.jpg")).to_be_in_viewport()
    last = page.locator('.cell[data-index="4999"]')

    assert last.get_attribute("aria-posinset") == last.get_attribute("aria-setsize") == "5000"


def test_five_thousand_files_do_not_block_the_page(page: Page):
    """All are announced at once, and only those on the screen are read."""
    page.route(
        re.compile("inputs|uploads"),
        lambda route: None if route.request.method == "PUT" else route.continue_(),
    )
    page.evaluate(
        """() => {
          window.longest = 0;
          let before = performance.now();
          const tick = (now) => { window.longest = Math.max(window.longest, now - before); before = now; requestAnimationFrame(tick); };
          requestAnimationFrame(tick);
          const read = Blob.prototype.arrayBuffer;
          window.reads = 0;
          const bitmap = window.createImageBitmap;
          window.createImageBitmap = (...args) => { window.reads += 1; return bitmap(...args); };
          const transfer = new DataTransfer();
          for (let n = 0; n < 5000; n += 1) transfer.items.add(new File([`photo ${n}`], `${n}.jpg`, { type: 'image/jpeg' }));
          document.querySelector('.dropzone').dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }"""
    )

    expect(page.locator(".fact-done dd")).to_have_text("0 of 5,000")
    expect(page.locator(".thumb-name").first).to_have_text("0.jpg")
    assert page.locator(".cell").count() < 120
    assert page.evaluate("window.reads") < 120


def test_the_list_of_jobs_is_shown_in_pages(page: Page, stack: LaunchedStack):
    jobs = [announce(stack, ["a.jpg"], title=f"Number {number}") for number in range(26)]
    page.goto("/jobs")
    expect(page.locator(".job-link")).to_have_count(24)
    expect(page.locator(".job-link").first).to_contain_text("Number 25")

    page.get_by_role("button", name="Show older jobs").click()

    page.get_by_role("link", name=re.compile("Number 0 ")).click()
    page.wait_for_url(f"**/jobs/{jobs[0]}")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")


def test_an_unknown_job_is_shown_as_unknown(open_page: OpenPage):
    page = open_page(f"/jobs/{'a' * 26}", expected=["404"])

    expect(page.get_by_role("alert")).to_contain_text("There is no such job.")


def test_the_page_asks_for_the_key_and_sends_it_from_then_on(open_page: OpenPage, done_job: str):
    """Keys affect all clients of a stack, so here the browser imitates a server with a key."""
    page = open_page(expected=["401"])
    seen: list[str | None] = []

    def guard(route: Route) -> None:
        given = route.request.headers.get("authorization")
        seen.append(given)
        if given == "Bearer fathom_good":
            route.continue_(
                headers={key: value for key, value in route.request.headers.items() if key != "authorization"}
            )
        else:
            code = "unauthenticated" if given is None else "invalid_key"
            route.fulfill(status=401, json={"code": code, "detail": "No."})

    page.route(re.compile(r"/v1/(session|jobs(\?|/\w+$|/\w+/images\?))"), guard)
    page.goto("/jobs")
    page.get_by_role("textbox", name="Key").fill("fathom_bad")
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("alert")).to_have_text("This key is not valid, or no longer valid.")
    page.get_by_role("textbox", name="Key").fill("fathom_good")
    page.get_by_role("button", name="Use this key").click()

    expect(page.locator(".job-link").first).to_be_visible()
    page.reload()
    expect(page.locator(".job-link").first).to_be_visible()
    assert seen[-1] == "Bearer fathom_good"
    page.get_by_role("button", name="Forget the API key").click()
    assert page.evaluate("sessionStorage.length + localStorage.getItem('fathom.key')") == 0
