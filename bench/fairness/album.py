"""Run a job of 100,000 photos in the whole system: how soon it begins, and how much it delays small jobs."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from bench.chaos.observer import Observer
from bench.chaos.photos import make_photo
from bench.chaos.stack import ChaosStack, StackSize
from bench.fairness.small_jobs import SMALL, compare
from bench.resp import Resp

#: Seconds within which the big job must be accepted and have its first lease.
GOAL = 5.0
#: Children, and how long each sleeps for a photo: as long as one of 12 megapixels takes
#: (docs/performance.md). They use no CPU, so only waiting is measured.
CHILDREN, IMAGE_SECONDS = 8, 0.08
_HOST = "127.0.0.1"
_POLL = 0.005
_STATUS_REQUESTS = 50
_ENDS = ("succeeded", "partial", "failed", "canceled")


@dataclass(frozen=True, kw_only=True)
class StartedJob:
    """A job with its first lease, and the seconds until it was accepted and until that lease."""

    id: str
    accepted: float
    under_way: float


def measure_album(folder: Path, images: int, tries: int) -> dict[str, Any]:
    """Time small jobs alone, and beside a big job whose photos are named by URL."""
    photo = make_photo(0)
    size = StackSize(
        workers=1,
        children=CHILDREN,
        lease_seconds=15.0,
        image_seconds=IMAGE_SECONDS,
        settings={"FATHOM_SOURCE_HOSTS": _HOST},
    )
    stack = ChaosStack(folder, size, Observer())
    with (
        _photo_server(photo) as photo_url,
        stack.running(),
        stack.http() as api,
        Resp(stack.valkey.url) as valkey,
    ):
        _time_small(api, photo)
        alone = [_time_small(api, photo) for _ in range(tries)]
        big = _start_job(api, valkey, [f"{photo_url}/{number:06}.jpg" for number in range(images)])
        beside = [_time_small(api, photo) for _ in range(tries)]
        status_times = [_time_status(api, job_id) for job_id in (_run_small(api, photo), big.id)]
        counts = api.get(f"/v1/jobs/{big.id}").json()["counts"]
        api.post(f"/v1/jobs/{big.id}/cancel").raise_for_status()
    return {
        "images": images,
        "accepted_s": round(big.accepted, 2),
        "accepted_and_under_way_s": round(big.under_way, 2),
        "goal_s": GOAL,
        "small_job": {"children": size.slots, "image_seconds": IMAGE_SECONDS, **compare(alone, beside)},
        "big_job_meanwhile": {name: counts[name] for name in ("succeeded", "failed")},
        "status_ms": {"10_images": status_times[0], "big": status_times[1]},
    }


@contextmanager
def _photo_server(photo: bytes) -> Iterator[str]:
    """Serve the same photo under every path, and yield the base URL."""

    class PhotoHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(photo)))
            self.end_headers()
            self.wfile.write(photo)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer((_HOST, 0), PhotoHandler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{_HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _start_job(api: httpx.Client, valkey: Resp, urls: list[str]) -> StartedJob:
    began = time.monotonic()
    answer = api.post("/v1/jobs", json={"sources": [{"url": url} for url in urls]}, timeout=300.0)
    job_id = str(answer.raise_for_status().json()["id"])
    accepted = time.monotonic() - began
    while valkey.call("HLEN", f"{{fathom}}:job:{job_id}:held") == 0:
        time.sleep(_POLL)
    return StartedJob(id=job_id, accepted=accepted, under_way=time.monotonic() - began)


def _time_small(api: httpx.Client, photo: bytes) -> float:
    """Return the seconds from the submission of a small job to its end, as the client sees it."""
    began = time.monotonic()
    job_id = _run_small(api, photo)
    seconds = time.monotonic() - began
    api.delete(f"/v1/jobs/{job_id}").raise_for_status()
    return seconds


def _run_small(api: httpx.Client, photo: bytes) -> str:
    """Submit a small job, wait for its end, and return its id."""
    files = [("images", (f"{number}.jpg", photo)) for number in range(SMALL)]
    job_id = str(api.post("/v1/jobs", files=files).raise_for_status().json()["id"])
    while api.get(f"/v1/jobs/{job_id}").raise_for_status().json()["state"] not in _ENDS:
        time.sleep(_POLL)
    return job_id


def _time_status(api: httpx.Client, job_id: str) -> float:
    """Return the median milliseconds of a status request over HTTP."""
    seconds = []
    for _ in range(_STATUS_REQUESTS):
        began = time.perf_counter()
        api.get(f"/v1/jobs/{job_id}").raise_for_status()
        seconds.append(time.perf_counter() - began)
    return round(1000 * statistics.median(seconds), 2)
