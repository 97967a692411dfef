"""Clips as users get them: interrupted in the middle, played by a browser, and read by ffprobe; and photos with a film."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.acceptance.albums import jpeg, photo
from tests.acceptance.browsers import submit
from tests.acceptance.conftest import CommandStarter
from tests.acceptance.stacks import LaunchedStack
from tests.waiting import DEADLINE, eventually

pytest_plugins = ["tests.acceptance.browser_fixtures"]

#: A clip of a tiny photo is made in a second, and that of a large one takes longer than any test waits.
LONG = {"seconds": 12, "fps": 60, "height": 2160}
TINY, LARGE = (64, 48), (5760, 2160)


def album() -> list[tuple[str, bytes]]:
    return [(f"{n}.jpg", jpeg(photo().resize(size), quality=80)) for n, size in enumerate((TINY, LARGE))]


def test_a_cancel_in_the_middle_of_a_clip_ends_the_job_and_stores_and_charges_nothing(stack: LaunchedStack):
    with stack.client() as fathom:
        answer = httpx.post(
            f"{stack.api}/v1/jobs",
            files=[("images", file) for file in album()],
            data={"options": json.dumps({"outputs": "clip", "clip": LONG})},
        )
        job = fathom.job(answer.json()["id"])
        eventually(lambda: job.refresh().succeeded == 1)
        job.cancel()
        ended = eventually(job.refresh, lambda status: status.state == "canceled")

    assert (ended.succeeded, ended.failed) == (1, 0)
    with stack.objects() as objects:
        stored = {entry.key.split("/")[-2] for entry in objects.list(f"jobs/{job.id}/outputs/")}
        assert stored == {"0"}
        assert not list(objects.list(f"jobs/{job.id}/failures/"))


def test_ctrl_c_in_the_middle_of_a_clip_ends_fathom_run(start_command: CommandStarter, tmp_path: Path):
    for name, data in album():
        (tmp_path / name).write_bytes(data)
    out = tmp_path / "out"
    options = [f"clip.{name}={value}" for name, value in LONG.items()]
    given = [part for option in ("outputs=clip", *options) for part in ("-o", option)]
    process = start_command("run", tmp_path, out, "--jobs", "1", *given)

    eventually((out / "0.clip.mp4").exists)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE)

    assert process.returncode == 130
    assert "Traceback" not in said
    assert not (out / "1.clip.mp4").exists()


@pytest.fixture(scope="module")
def film(stack: LaunchedStack) -> bytes:
    """A clip of one second, downloaded."""
    job = submit(stack, [("photo.jpg", jpeg(photo()))], outputs=["clip"], clip={"seconds": 1, "fps": 10})
    answer = httpx.get(f"{stack.api}/v1/jobs/{job}/images/0/clip?stream=1")
    assert answer.headers["content-type"] == "video/mp4"
    return answer.content


def play(browser: Browser, film: bytes) -> dict[str, Any]:
    """Play a film, muted and in a loop, until it begins again."""
    page = browser.new_page()
    try:
        address = f"data:video/mp4;base64,{base64.b64encode(film).decode()}"
        page.set_content(f'<video loop muted src="{address}"></video>')
        found: dict[str, Any] = page.evaluate(
            """async () => {
                const video = document.querySelector('video')
                if (!video.canPlayType('video/mp4; codecs="avc1.64001f"')) return null
                const begins = new Promise((resolve) => video.addEventListener('seeked', resolve))
                await video.play()
                const { readyState, videoWidth: width, videoHeight: height, duration } = video
                await begins
                return { readyState, width, height, duration, ended: video.ended, paused: video.paused }
            }"""
        )
    finally:
        page.close()
    return found


@pytest.mark.timeout(DEADLINE)
def test_a_browser_plays_a_clip_in_a_loop(browser: Browser, film: bytes):
    played = play(browser, film)

    if played is None:
        pytest.skip("This Chromium has no H.264.")
    assert played.pop("readyState") >= 3
    assert played == {"width": 320, "height": 240, "duration": 1, "ended": False, "paused": False}


def test_ffprobe_finds_every_frame_and_the_colours_of_television(film: bytes, tmp_path: Path):
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        pytest.skip("ffprobe is not installed; the unit tests read clips with PyAV.")
    (tmp_path / "film.mp4").write_bytes(film)
    command = [ffprobe, "-v", "error", "-count_frames", "-show_streams", "-of", "json", "film.mp4"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
    (stream,) = json.loads(said.stdout)["streams"]

    assert said.stderr == ""
    found = {name: stream[name] for name in ("codec_name", "pix_fmt", "width", "height", "nb_read_frames")}
    assert found == {
        "codec_name": "h264",
        "pix_fmt": "yuv420p",
        "width": 320,
        "height": 240,
        "nb_read_frames": "10",
    }
    assert float(stream["duration"]) == 1
    tags = {stream[f"color_{name}"] for name in ("space", "transfer", "primaries")}
    assert (tags, stream["color_range"]) == ({"bt709"}, "tv")


def test_a_motion_photo_is_its_still_and_a_video_is_refused_with_a_sentence(
    stack: LaunchedStack, film: bytes
):
    still = jpeg(photo())
    files = [("still.jpg", still), ("PXL_1.MP.jpg", still + film), ("film.mp4", film), ("film.jpg", film)]
    job = submit(stack, files, outputs=["npy"])

    images = httpx.get(f"{stack.api}/v1/jobs/{job}/images").json()["images"]
    maps = [httpx.get(f"{stack.api}/v1/jobs/{job}/images/{n}/npy?stream=1").content for n in range(2)]
    assert [image["state"] for image in images] == ["succeeded", "succeeded", "failed", "failed"]
    assert maps[0] == maps[1]
    for image in images[2:]:
        assert image["error"] == {
            "code": "unsupported_format",
            "message": "This is a video; Fathom makes depth maps of photos.",
        }
