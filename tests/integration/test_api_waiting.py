"""Waiting for jobs in real server processes: streams of events, long polls, repeated requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from fathom.stack.servers import HOST
from shared.jobs.job import ImageFailure, JobState
from shared.jobstore.redis_store import RedisJobStore
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from tests.finalizing import finish_as
from tests.integration.api_servers import ApiServer, Start
from tests.waiting import eventually

CORRUPT = ImageFailure(code="image_corrupt", message="The file is damaged.")


@pytest.fixture
def jobs(valkey_url: str) -> Iterator[RedisJobStore]:
    with connect_redis(valkey_url) as client:
        yield RedisJobStore(client)


def submit(server: ApiServer, count: int, **headers: str) -> httpx.Response:
    files = [("images", (f"{n}.jpg", b"x")) for n in range(count)]
    response = server.http.post("/v1/jobs", files=files, headers=headers)
    assert response.status_code == 202, response.text
    return response


def work(jobs: RedisJobStore, limit: int) -> None:
    lease = jobs.lease("w", limit=limit)
    assert lease is not None
    for index in lease.indices:
        jobs.done(lease, index, failure=CORRUPT if index % 10 == 3 else None)


def finish(jobs: RedisJobStore, job_id: str) -> None:
    finish_as(jobs, job_id, JobState.PARTIAL)


@dataclass
class Listener:
    """A client of a stream that reconnects with the id of its last event, as browsers do."""

    url: str
    last_id: str | None = None
    images: list[int] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    connections: int = 0
    over: bool = False

    def listen(self) -> None:
        """Follow the stream until the server tells it not to reconnect."""
        eventually(self._connect)

    def _connect(self) -> bool:
        headers = {} if self.last_id is None else {"Last-Event-ID": self.last_id}
        # Nothing responds while the server restarts.
        with (
            suppress(httpx.TransportError),
            httpx.stream("GET", self.url, headers=headers, timeout=60) as response,
        ):
            self.over = response.status_code == 204
            if response.status_code == 200:
                self.connections += 1
                self._read(response)
        return self.over

    def _read(self, response: httpx.Response) -> None:
        event: dict[str, str] = {}
        for line in response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
                continue
            if "data" in event:
                self._take(event["event"], json.loads(event["data"]))
                self.last_id = event.get("id", self.last_id)
            event = {}

    def _take(self, name: str, data: dict[str, Any]) -> None:
        self.names.append(name)
        if name == "image":
            self.images.append(data["index"])
        elif name == "job":
            self.states.append(data["state"])


@contextmanager
def listening(server: ApiServer, job_id: str, count: int = 1) -> Iterator[list[Listener]]:
    """Follow a job with several clients; at the end of the block, all have seen its end."""
    url = f"http://{HOST}:{server.port}/v1/jobs/{job_id}/events"
    listeners = [Listener(url) for _ in range(count)]
    threads = [threading.Thread(target=listener.listen) for listener in listeners]
    for thread in threads:
        thread.start()
    eventually(lambda: all(listener.last_id for listener in listeners))
    try:
        yield listeners
    finally:
        for thread in threads:
            thread.join(60)
    assert all(listener.over for listener in listeners)


def test_a_restart_during_a_stream_loses_no_event(
    start_server: Start, jobs: RedisJobStore, tmp_path: Path
) -> None:
    """A stream does not prevent its process from stopping, however long that would wait."""
    patient = tmp_path / "patient.py"
    patient.write_text("from api.server.gunicorn_conf import *\ngraceful_timeout = 600\n")
    server = start_server(config=str(patient))
    job_id = submit(server, 30).json()["id"]
    with listening(server, job_id) as (listener,):
        work(jobs, 10)
        eventually(lambda: len(listener.images) == 10)
        server.stop()
        work(jobs, 10)
        start_server(port=server.port)
        eventually(lambda: len(listener.images) == 20)
        work(jobs, 10)
        finish(jobs, job_id)

    assert listener.images == list(range(30))
    assert listener.connections == 2
    assert listener.states[-1] == "partial"
    assert set(listener.names) == {"image", "job"}


def test_many_streams_get_the_same_events(server: ApiServer, jobs: RedisJobStore) -> None:
    job_id = submit(server, 40).json()["id"]
    with listening(server, job_id, count=8) as listeners:
        for _ in range(4):
            work(jobs, 10)
        finish(jobs, job_id)

    assert [listener.images for listener in listeners] == [list(range(40))] * 8
    assert {listener.states[-1] for listener in listeners} == {"partial"}


def test_a_disconnected_client_frees_its_place(start_server: Start) -> None:
    server = start_server(FATHOM_MAX_STREAMS="1")
    url = f"/v1/jobs/{submit(server, 1).json()['id']}/events"
    with server.http.stream("GET", url) as response:
        # Keep a reference, because a stream that is garbage-collected is closed.
        pieces = response.iter_raw()
        next(pieces)
        refused = server.http.get(url)

    assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
    assert int(refused.headers["Retry-After"]) >= 1
    eventually(lambda: _is_admitted(server, url))


def _is_admitted(server: ApiServer, url: str) -> bool:
    with server.http.stream("GET", url) as response:
        return response.status_code == 200


def test_a_long_poll_ends_with_the_job(start_server: Start, jobs: RedisJobStore) -> None:
    """If it waited for anything else, it would take longer than its client waits."""
    server = start_server(FATHOM_MAX_WAIT_SECONDS="300")
    job_id = submit(server, 10).json()["id"]

    def do_all() -> None:
        work(jobs, 10)
        finish(jobs, job_id)

    # Either the end comes after the request, or the request finds an ended job and does not wait.
    timer = threading.Timer(0.2, do_all)
    timer.start()
    response = server.http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=300"})
    timer.join()

    assert response.json()["state"] == "partial"
    again = server.http.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_submission_sent_again_gives_the_same_job_from_another_process(
    server: ApiServer, start_server: Start, object_store: S3ObjectStore
) -> None:
    first = submit(server, 3, **{"Idempotency-Key": "k"})
    stored = {info.key: info.modified_at for info in object_store.list("jobs/")}
    second = submit(start_server(), 3, **{"Idempotency-Key": "k"})

    assert second.headers["Location"] == first.headers["Location"]
    assert {info.key: info.modified_at for info in object_store.list("jobs/")} == stored


def test_a_client_that_dies_during_its_submission_does_not_lock_its_key(
    server: ApiServer, valkey_url: str
) -> None:
    body = b'--sep\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\nhalf'
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=sep\r\n\r\n" + body
        )
        with connect_redis(valkey_url) as client:
            eventually(lambda: any(client.scan_iter("{fathom}:idempotency:*")))
        assert _status_under(server, "k") == 409

    eventually(lambda: _status_under(server, "k") == 202)


def _status_under(server: ApiServer, key: str) -> int:
    files = [("images", ("a.jpg", b"x"))]
    return server.http.post("/v1/jobs", files=files, headers={"Idempotency-Key": key}).status_code
