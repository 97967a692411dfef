"""A fake Fathom server for one job, behind the mock transport of httpx."""

from __future__ import annotations

import io
import json
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from fathom.sync_client import Fathom
from fathom.transport import Patience

JOB_ID = "a" * 26
S3 = "http://s3.test"
#: Uploads listed on one page by this server.
PAGE = 3

CR3 = b"\0\0\0\x18ftypcrx " + bytes(12)

#: A network as the API describes it, with a field that no client knows yet.
LARGE = {
    "name": "dpt_large",
    "title": "DPT-Large",
    "tier": "best",
    "description": "a few photos at the best that MiDaS v3 gives",
    "relative_cost": 101.9,
    "megabytes": 1376,
    "parameters": 344_055_465,
    "code_licence": "MIT",
    "weights_licence": "MIT",
    "licence_note": "",
    "available": True,
    "slots": 2,
    "default": False,
    "colour": "blue",
}

Fault = Callable[[httpx.Request], httpx.Response | None]


def problem(status: int, code: str, detail: str, **headers: str) -> httpx.Response:
    body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
    return httpx.Response(
        status,
        content=json.dumps(body),
        headers={"Content-Type": "application/problem+json", **headers},
    )


@dataclass
class FakeServer:
    """Responds as the API does. `faults` come first; each may respond, raise, or let a request pass."""

    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    stored: dict[int, bytes] = field(default_factory=dict)
    labels: dict[int, bytes] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    states: list[str] = field(default_factory=lambda: ["succeeded"])
    outputs: dict[int, dict[str, bytes]] = field(default_factory=dict)
    failed: dict[int, tuple[str, str]] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    started: int = 0
    deleted: bool = False
    requests: list[httpx.Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                answer = fault(request)
                if answer is not None:
                    return answer
            return self.route(request)

    def route(self, request: httpx.Request) -> httpx.Response:
        path, method = request.url.path, request.method
        if request.url.host == "s3.test":
            return self.put(request, int(path.rsplit("/", 1)[1]))
        if (method, path) == ("POST", "/v1/jobs"):
            return self.create(request)
        if (method, path) == ("GET", "/v1/jobs"):
            return httpx.Response(200, json={"jobs": [self.job()], "next_cursor": None})
        if (method, path) == ("GET", "/v1/models"):
            return httpx.Response(200, json={"models": self.models})
        rest = path.removeprefix(f"/v1/jobs/{JOB_ID}")
        if rest == path:
            return problem(404, "job_not_found", "There is no such job.")
        return self.route_job(request, method, rest)

    def route_job(self, request: httpx.Request, method: str, rest: str) -> httpx.Response:
        if (method, rest) == ("GET", ""):
            return httpx.Response(200, json=self.job(advance=True))
        if (method, rest) == ("DELETE", ""):
            self.deleted = True
            return httpx.Response(204)
        if (method, rest) == ("POST", "/start"):
            return self.start()
        if method == "POST":
            return httpx.Response(200, json=self.job())
        if rest == "/uploads":
            return httpx.Response(200, json=self.missing(int(request.url.params.get("cursor", 0))))
        if rest.endswith("/labels"):
            self.labels[int(rest.split("/")[-2])] = request.content
            return httpx.Response(204)
        if rest == "/images":
            return httpx.Response(200, json=self.images(request))
        if rest == "/archive":
            return httpx.Response(200, content=self.archive())
        index, output = rest.split("/")[-2:]
        return httpx.Response(200, content=self.outputs[int(index)][output])

    def create(self, request: httpx.Request) -> httpx.Response:
        if "json" not in request.headers["Content-Type"]:
            self.names = [name.decode() for name in re.findall(rb'filename="([^"]*)"', request.content)]
            return httpx.Response(202, json=self.job())
        body = json.loads(request.content)
        self.names = [upload["name"] for upload in body["uploads"]]
        self.sizes = [upload["size"] for upload in body["uploads"]]
        self.options = body["options"]
        return httpx.Response(202, json={**self.job(), **self.missing(0)})

    def missing(self, cursor: int) -> dict[str, Any]:
        left = [i for i in range(len(self.names)) if i >= cursor and i not in self.stored]
        uploads = [
            {"index": i, "name": self.names[i], "url": f"{S3}/inputs/{i}", "method": "PUT"}
            for i in left[:PAGE]
        ]
        return {"uploads": uploads, "next_cursor": str(left[PAGE]) if len(left) > PAGE else None}

    def put(self, request: httpx.Request, index: int) -> httpx.Response:
        assert "Transfer-Encoding" not in request.headers, "S3 takes no chunked body"
        self.stored[index] = request.content
        return httpx.Response(200)

    def start(self) -> httpx.Response:
        if len(self.stored) < len(self.names):
            return problem(409, "uploads_missing", "Some uploads have not arrived.")
        self.started += 1
        return httpx.Response(202, json=self.job())

    def job(self, *, advance: bool = False) -> dict[str, Any]:
        state = self.states.pop(0) if advance and len(self.states) > 1 else self.states[0]
        total = len(self.names)
        return {
            "id": JOB_ID,
            "state": state,
            "created_at": "2026-01-02T03:04:05Z",
            "options": self.options,
            "counts": {"total": total, "succeeded": 0, "failed": len(self.failed), "pending": total},
            "progress": 0.5,
            "images_per_second": 2.0,
            "eta_seconds": 4.0,
            "links": {},
        }

    def images(self, request: httpx.Request) -> dict[str, Any]:
        cursor, state = int(request.url.params.get("cursor", 0)), request.url.params.get("state")
        listed = [
            image for image in map(self.image, range(len(self.names))) if state in (None, image["state"])
        ]
        page = [image for image in listed if image["index"] >= cursor][: PAGE + 1]
        more = page[PAGE]["index"] if len(page) > PAGE else None
        return {"images": page[:PAGE], "next_cursor": None if more is None else str(more)}

    def image(self, index: int) -> dict[str, Any]:
        error = self.failed.get(index)
        return {
            "index": index,
            "name": self.names[index],
            "state": "failed" if error else "succeeded",
            "error": {"code": error[0], "message": error[1]} if error else None,
            "outputs": {
                output: f"/v1/jobs/{JOB_ID}/images/{index}/{output}" for output in self.outputs.get(index, {})
            },
        }

    def archive(self) -> bytes:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            for index, files in self.outputs.items():
                archive.writestr(self.names[index], files["heatmap"])
        return data.getvalue()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two photos, two unsupported pictures, other files, and hidden files."""
    album = tmp_path / "album"
    for name in ("a.jpg", "x/b.jpg", "clip.MOV", "x/IMG_1.AAE", "notes.txt", "@eaDir/a.jpg", "._a.jpg"):
        (album / name).parent.mkdir(parents=True, exist_ok=True)
        (album / name).write_bytes(f"photo {name}".encode())
    (album / "IMG_1.CR3").write_bytes(CR3)
    (album / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(album / "pipe")
    return album


#: The unsupported pictures of `album`.
REFUSED = {"IMG_1.CR3": "unsupported_format", "gone.jpg": "unreadable"}
SKIPPED = "Skipped 4 files that are no photos: 1 video, 1 sidecar, 2 other files."


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def pauses() -> list[float]:
    """The pauses of the client in seconds, which do not really wait."""
    return []


@pytest.fixture
def fathom(server: FakeServer, pauses: list[float]) -> Iterator[Fathom]:
    with Fathom(
        "http://fathom.test",
        patience=Patience(total=10.0),
        transport=httpx.MockTransport(server),
        sleep=pauses.append,
    ) as client:
        yield client


def times(count: int, fault: Fault) -> Fault:
    """Limit a fault to `count` requests."""
    struck = [0]

    def limited(request: httpx.Request) -> httpx.Response | None:
        if struck[0] == count:
            return None
        struck[0] += 1
        answer = fault(request)
        if answer is None:
            struck[0] -= 1
        return answer

    return limited


def on(method: str, path: str, answer: Callable[[httpx.Request], httpx.Response]) -> Fault:
    """Respond to requests whose path contains `path` with `answer`, which may raise."""
    return lambda request: answer(request) if request.method == method and path in request.url.path else None


def lose(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset by peer", request=request)


def refuse_connection(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)
