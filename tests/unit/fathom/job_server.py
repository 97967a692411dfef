"""A fake Fathom server for many jobs, behind the mock transport of httpx."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from werkzeug.formparser import parse_form_data

from tests.unit.fathom.conftest import S3, Fault, problem


@dataclass
class FakeJob:
    """A job, its photos, and its forced state; without that, the state follows from the photos."""

    id: str
    names: list[str]
    sizes: list[int]
    options: dict[str, Any]
    stored: dict[int, bytes] = field(default_factory=dict)
    is_started: bool = False
    state: str | None = None
    #: The photos of a held job that are done; None means that all are.
    done: set[int] | None = None

    def ready(self, index: int) -> bool:
        return self.is_started and (self.done is None or index in self.done)


@dataclass
class JobServer:
    """Responds as the API does; a result is `heatmap of` and the bytes of the photo. `faults` come first."""

    jobs: dict[str, FakeJob] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    #: Codes of failures, by the bytes of a photo.
    bad: dict[bytes, str] = field(default_factory=dict)
    #: How many photos of a job are done at once; None means all.
    speed: int | None = None
    #: The fields of every form with files.
    forms: list[str] = field(default_factory=list)
    #: The skipped files of every archive.
    skipped: dict[str, Any] = field(default_factory=lambda: {"count": 0, "names": []})
    #: The bytes of every uploaded photo in order, and every downloaded result.
    puts: list[bytes] = field(default_factory=list)
    gets: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        with self.lock:
            for fault in self.faults:
                if (answer := fault(request)) is not None:
                    return answer
            return self._route(request)

    def _route(self, request: httpx.Request) -> httpx.Response:
        parts = request.url.path.strip("/").split("/")
        if request.url.host == "s3.test":
            return self._put(request, *parts)
        if parts == ["v1", "jobs"]:
            return self._create(request) if request.method == "POST" else self._list()
        if parts == ["v1", "models"]:
            return httpx.Response(200, json={"models": self.models})
        job = self.jobs.get(parts[2])
        if job is None:
            return problem(404, "job_not_found", "There is no such job.")
        return self._route_job(request.method, job, parts[3:], request.url.params.get("state"))

    def _route_job(self, method: str, job: FakeJob, rest: list[str], state: str | None) -> httpx.Response:
        if method == "DELETE":
            del self.jobs[job.id]
            return httpx.Response(204)
        if rest == ["uploads"]:
            return httpx.Response(200, json=self._missing(job))
        if rest == ["start"]:
            return self._start(job)
        if rest == ["skipped"]:
            return httpx.Response(200, json=self.skipped)
        if rest == ["images"]:
            return httpx.Response(200, json=self._images(job, state))
        if rest:
            self.gets.append(job.names[int(rest[1])])
            return httpx.Response(200, content=b"heatmap of " + job.stored[int(rest[1])])
        return httpx.Response(200, json=self._answer(job))

    def _create(self, request: httpx.Request) -> httpx.Response:
        if "json" not in request.headers["Content-Type"]:
            return self._take_form(request)
        token, body = request.headers["Idempotency-Key"], json.loads(request.content)
        if token in self.tokens:
            job = self.jobs.get(self.tokens[token])
            if job is None:
                return problem(404, "job_not_found", "There is no such job.")
        else:
            names = [upload["name"] for upload in body["uploads"]]
            sizes = [upload["size"] for upload in body["uploads"]]
            job = FakeJob(id=_job_id(len(self.tokens)), names=names, sizes=sizes, options=body["options"])
            self.jobs[job.id], self.tokens[token] = job, job.id
        return httpx.Response(202, json=self._answer(job))

    def _take_form(self, request: httpx.Request) -> httpx.Response:
        """Accept photos, or a ZIP archive as if it were one photo, in one request."""
        environ = {
            "wsgi.input": io.BytesIO(request.content),
            "CONTENT_TYPE": request.headers["Content-Type"],
            "CONTENT_LENGTH": str(len(request.content)),
        }
        _, form, files = parse_form_data(environ)
        parts = []
        for _, file in files.items(multi=True):
            parts.append((str(file.filename), file.read()))
            file.close()
        job = FakeJob(
            id=_job_id(len(self.jobs)),
            names=[name for name, _ in parts],
            sizes=[len(data) for _, data in parts],
            options=json.loads(form["options"]),
            stored=dict(enumerate(data for _, data in parts)),
            is_started=True,
        )
        self.jobs[job.id] = job
        self.forms += files.keys()
        return httpx.Response(202, json=self._answer(job))

    def _list(self) -> httpx.Response:
        jobs = [self._answer(job) for job in reversed(self.jobs.values())]
        return httpx.Response(200, json={"jobs": jobs, "next_cursor": None})

    def _missing(self, job: FakeJob) -> dict[str, Any]:
        left = [i for i, size in enumerate(job.sizes) if len(job.stored.get(i, b"")) != size]
        uploads = [{"index": i, "name": job.names[i], "url": f"{S3}/{job.id}/{i}"} for i in left]
        return {"uploads": uploads, "next_cursor": None}

    def _put(self, request: httpx.Request, job_id: str, index: str) -> httpx.Response:
        self.puts.append(request.content)
        self.jobs[job_id].stored[int(index)] = request.content
        return httpx.Response(200)

    def _start(self, job: FakeJob) -> httpx.Response:
        if self._missing(job)["uploads"]:
            return problem(409, "uploads_missing", "Some uploads have not arrived.")
        job.is_started = True
        if self.speed is not None:
            job.done = set()
        return httpx.Response(202, json=self._answer(job))

    def _answer(self, job: FakeJob) -> dict[str, Any]:
        if job.done is not None:
            job.done |= set(range(len(job.done), min(len(job.done) + (self.speed or 0), len(job.names))))
        images = self._images(job)["images"]
        counts = {
            state: sum(image["state"] == state for image in images) for state in ("succeeded", "failed")
        }
        pending = len(images) - sum(counts.values())
        return {
            "id": job.id,
            "state": job.state or self._state(job, pending),
            "created_at": "2026-01-02T03:04:05Z",
            "options": job.options,
            "counts": {"total": len(images), **counts, "pending": pending},
            "progress": 1 - pending / len(images),
        }

    def _state(self, job: FakeJob, pending: int) -> str:
        if not job.is_started:
            return "uploading"
        if pending:
            return "processing"
        failed = sum(self.bad.get(data) is not None for data in job.stored.values())
        return "succeeded" if not failed else "partial" if failed < len(job.names) else "failed"

    def _images(self, job: FakeJob, state: str | None = None) -> dict[str, Any]:
        images = [self._image(job, index) for index in range(len(job.names))]
        return {"images": [i for i in images if state in (None, i["state"])], "next_cursor": None}

    def _image(self, job: FakeJob, index: int) -> dict[str, Any]:
        code = self.bad.get(job.stored.get(index, b"")) if job.ready(index) else None
        state = ("failed" if code else "succeeded") if job.ready(index) else "pending"
        return {
            "index": index,
            "name": job.names[index],
            "state": state,
            "error": {"code": code, "message": "It is bad."} if code else None,
            "outputs": {"heatmap": f"/v1/jobs/{job.id}/images/{index}/heatmap"}
            if state == "succeeded"
            else {},
        }


def _job_id(number: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[number] * 26


def during(method: str, path: str, act: Callable[[], None]) -> Fault:
    """Call a function at the first such request, and let the request pass."""
    done: list[bool] = []

    def fault(request: httpx.Request) -> None:
        if not done and request.method == method and path in str(request.url):
            done.append(True)
            act()

    return fault
