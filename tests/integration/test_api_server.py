"""The API in real server processes: memory, slow and broken connections, and real stores."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fathom.stack.servers import HOST, SeaweedServer, free_ports
from shared.errors import InputChanged
from shared.jobs import object_keys
from shared.jobs.job import ImageFailure
from shared.jobstore.redis_store import RedisJobStore
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from shared.settings import Settings
from tests.fetching import make_fetcher
from tests.integration.api_servers import ApiServer, Start
from tests.waiting import eventually

MIB = 2**20
#: The megabytes by which a server may grow: far fewer than pass through it.
MOST_MB = 96


@pytest.fixture
def jobs(valkey_url: str) -> Iterator[RedisJobStore]:
    with connect_redis(valkey_url) as client:
        yield RedisJobStore(client)


def photo(index: int, size: int) -> bytes:
    """Return bytes quickly that do not repeat within or between photos."""
    return (index.to_bytes(4, "big") * (size // 4 + 1))[:size]


def form_of(sizes: list[int], closing: bytes = b"--sep--\r\n") -> Iterator[bytes]:
    """Yield a form with photos, which are made while it is sent."""
    for index, size in enumerate(sizes):
        name = f"album/写真 {index}.jpg"
        yield f'--sep\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n\r\n'.encode()
        for at in range(0, size, MIB):
            yield photo(index, min(MIB, size - at))
        yield b"\r\n"
    yield closing


FORM = {"Content-Type": "multipart/form-data; boundary=sep"}


def length_of(sizes: list[int]) -> str:
    return str(sum(len(piece) for piece in form_of(sizes)))


def peak_during(server: ApiServer, work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the peak of the resident memory in MB during a call, and the result of the call."""
    done, peak = threading.Event(), [0.0]

    def follow() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], server.rss_mb())

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        result = work()
    finally:
        done.set()
        follower.join()
    return peak[0], result


@pytest.mark.parametrize("announced", [True, False], ids=["length", "chunked"])
def test_an_upload_of_an_album_needs_little_memory(
    server: ApiServer,
    object_store: S3ObjectStore,
    announced: bool,
) -> None:
    sizes = [2 * MIB] * 40 + [30 * MIB] * 2 + [0, 1]
    headers = {**FORM, "Content-Length": length_of(sizes)} if announced else FORM
    before = server.rss_mb()
    peak, response = peak_during(
        server, lambda: server.http.post("/v1/jobs", content=form_of(sizes), headers=headers)
    )

    assert response.status_code == 202, response.text
    assert peak - before < MOST_MB
    job_id = response.json()["id"]
    stored = {
        int(i.key.rsplit("/")[-1]): i.size for i in object_store.list(object_keys.inputs_prefix(job_id))
    }
    assert stored == dict(enumerate(sizes))
    assert object_store.get(object_keys.input_image(job_id, 37)) == photo(37, MIB) * 2


def test_an_upload_of_an_archive_needs_little_memory(
    server: ApiServer, object_store: S3ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "album.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(60):
            archive.writestr(f"写真/{index}.jpg", os.urandom(2 * MIB))
    before = server.rss_mb()
    with path.open("rb") as file:
        peak, response = peak_during(
            server, lambda: server.http.post("/v1/jobs", files={"archive": ("album.zip", file)})
        )

    assert response.status_code == 202, response.text
    assert response.json()["counts"]["total"] == 60
    assert peak - before < MOST_MB


def test_a_download_of_results_needs_little_memory(
    server: ApiServer, object_store: S3ObjectStore, jobs: RedisJobStore
) -> None:
    job_id = server.http.post("/v1/jobs", content=form_of([1] * 40), headers=FORM).json()["id"]
    data = os.urandom(3 * MIB)
    while lease := jobs.lease("w", limit=40):
        for index in lease.indices:
            object_store.put(object_keys.output(job_id, index, "heatmap.png"), data, content_type="image/png")
            failure = ImageFailure(code="image_empty", message="The file is empty.") if index == 7 else None
            jobs.done(lease, index, failure=failure)
    before = server.rss_mb()
    path = f"/v1/jobs/{job_id}/archive?outputs=heatmap"
    peak, response = peak_during(server, lambda: server.http.get(path))

    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert len(archive.namelist()) == 40
    assert archive.read("album/写真 39.png") == data
    assert "写真 7.jpg: The file is empty." in archive.read("failures.txt").decode()
    assert peak - before < MOST_MB


def test_an_interrupted_submission_leaves_nothing(
    server: ApiServer, object_store: S3ObjectStore, jobs: RedisJobStore
) -> None:
    sizes = [MIB] * 20
    with server.connect() as connection:
        connection.sendall(
            f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
            f"Content-Length: {length_of(sizes)}\r\n\r\n".encode()
        )
        for piece, _ in zip(form_of(sizes), range(30), strict=False):
            connection.sendall(piece)
        eventually(lambda: any(object_store.list("jobs/")))

    eventually(lambda: not any(object_store.list("jobs/")))
    assert jobs.list().items == ()


def test_a_slow_client_can_finish(server: ApiServer) -> None:
    body = b"".join(form_of([5000]))
    step = len(body) // 20 + 1
    with server.connect() as connection:
        connection.sendall(
            f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
        )
        for at in range(0, len(body), step):
            connection.sendall(body[at : at + step])
            time.sleep(0.05)
        answer = http.client.HTTPResponse(connection)
        answer.begin()

        assert answer.status == 202


@pytest.mark.parametrize(
    "chunked",
    [b"zz\r\nnonsense\r\n", b"5\r\n--sepXX0\r\n\r\n", b"5\r\n--sep\r\n"],
    ids=["size", "end", "cut_off"],
)
def test_a_broken_chunked_body_never_becomes_a_job(
    server: ApiServer, object_store: S3ObjectStore, chunked: bytes
) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=sep\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunked
        )
        connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        answer.begin()

        assert answer.status == 400
    assert not any(object_store.list("jobs/"))


def test_a_refusal_reaches_a_client_that_is_still_sending(start_server: Start) -> None:
    server = start_server(FATHOM_MAX_REQUEST_BYTES=str(MIB))
    sizes = [MIB] * 20
    response = server.http.post(
        "/v1/jobs", content=form_of(sizes), headers={**FORM, "Content-Length": length_of(sizes)}
    )

    assert response.status_code == 413
    assert response.json()["code"] == "too_large"


def test_an_announced_album_is_uploaded_directly_to_the_object_store(
    server: ApiServer, object_store: S3ObjectStore, jobs: RedisJobStore
) -> None:
    names = ["a/ü.jpg", "写真.jpg", "empty.jpg"]
    photos = [b"one", b"two!", b""]
    uploads = [{"name": name, "size": len(data)} for name, data in zip(names, photos, strict=True)]
    job = server.http.post("/v1/jobs", json={"uploads": uploads}).json()
    path = f"/v1/jobs/{job['id']}"
    refused = server.http.post(f"{path}/start")
    for upload in job["uploads"]:
        httpx.put(upload["url"], content=photos[upload["index"]]).raise_for_status()
    started = server.http.post(f"{path}/start")

    assert (refused.status_code, refused.json()["missing"]) == (409, names)
    assert (started.status_code, started.json()["state"]) == (202, "queued")
    assert server.http.get(f"{path}/uploads").json()["uploads"] == []
    lease = jobs.lease("w", limit=10)
    assert lease is not None
    assert lease.indices == (0, 1, 2)
    assert object_store.get(object_keys.input_image(job["id"], 1)) == b"two!"


def test_an_address_used_after_the_start_changes_nothing_that_was_accepted(
    server: ApiServer, object_store: S3ObjectStore
) -> None:
    uploads = [{"name": f"{index}.jpg", "size": 3} for index in range(3)]
    job = server.http.post("/v1/jobs", json={"uploads": uploads}).json()
    urls = [upload["url"] for upload in job["uploads"]]
    for url in urls:
        httpx.put(url, content=b"one").raise_for_status()
    server.http.post(f"/v1/jobs/{job['id']}/start").raise_for_status()
    again = [
        httpx.put(url, content=body).status_code
        for url, body in zip(urls, [b"one", b"two", b"more"], strict=True)
    ]
    fetcher = make_fetcher(object_store, most_bytes=100)

    # The store accepts only objects of the signed size.
    assert again == [200, 200, 403]
    assert fetcher.fetch(job["id"], 0) == b"one"
    with pytest.raises(InputChanged):
        fetcher.fetch(job["id"], 1)
    assert fetcher.fetch(job["id"], 2) == b"one"


def test_an_output_comes_from_the_object_store_or_through_the_api(
    server: ApiServer, object_store: S3ObjectStore, jobs: RedisJobStore
) -> None:
    job = server.http.post("/v1/jobs", content=form_of([1]), headers=FORM).json()
    lease = jobs.lease("w", limit=1)
    assert lease is not None
    object_store.put(object_keys.output(job["id"], 0, "heatmap.png"), b"PNG", content_type="image/png")
    jobs.done(lease, 0)
    (image,) = server.http.get(job["links"]["images"]).json()["images"]
    redirected = server.http.get(image["outputs"]["heatmap"])
    followed = httpx.get(redirected.headers["Location"])
    streamed = server.http.get(image["outputs"]["heatmap"], params={"stream": 1})

    assert redirected.status_code == 307
    assert (followed.content, followed.headers["Content-Type"]) == (b"PNG", "image/png")
    assert (streamed.content, streamed.headers["Content-Type"]) == (b"PNG", "image/png")
    assert "0.png" in streamed.headers["Content-Disposition"]


def test_a_deleted_job_leaves_nothing_in_either_store(server: ApiServer, object_store: S3ObjectStore) -> None:
    path = server.http.post("/v1/jobs", content=form_of([10] * 30), headers=FORM).headers["Location"]

    assert server.http.delete(path).status_code == 204
    assert not any(object_store.list("jobs/"))
    assert server.http.get(path).status_code == 404
    assert server.http.get("/v1/jobs").json() == {"jobs": [], "next_cursor": None}


def test_the_bucket_of_a_new_object_store_is_made(start_server: Start) -> None:
    # Ready means that the bucket exists.
    server = start_server(FATHOM_S3_BUCKET="not-made-yet")

    assert server.http.get("/readyz").json()["parts"]["object_store"]["ok"] is True


def test_without_a_job_store_the_api_is_alive_and_names_what_is_missing(start_server: Start) -> None:
    nowhere = f"redis://{HOST}:{free_ports(1)[0]}/0"
    server = start_server(ready_at="/livez", FATHOM_REDIS_URL=nowhere)
    ready = server.http.get("/readyz")
    refused = server.http.post("/v1/jobs", content=form_of([1]), headers=FORM)

    assert (ready.status_code, ready.json()["parts"]["job_store"]["ok"]) == (503, False)
    assert ready.json()["parts"]["object_store"]["ok"] is True
    assert (refused.status_code, refused.json()["code"]) == (503, "job_store_unavailable")


def test_an_object_store_that_dies_aborts_the_download(
    start_server: Start, jobs: RedisJobStore, tmp_path: Path
) -> None:
    with SeaweedServer(tmp_path / "s3", bucket="mortal", access_key="key", secret_key="secret-key") as mortal:
        server = start_server(**mortal.environ())
        store = S3ObjectStore.from_settings(Settings.from_environ(mortal.environ()))
        job_id = server.http.post("/v1/jobs", content=form_of([1] * 16), headers=FORM).json()["id"]
        lease = jobs.lease("w", limit=16)
        assert lease is not None
        for index in lease.indices:
            store.put(object_keys.output(job_id, index, "heatmap.png"), bytes(5 * MIB))
            jobs.done(lease, index)
        store.close()
        with server.http.stream("GET", f"/v1/jobs/{job_id}/archive?outputs=heatmap") as response:
            pieces = response.iter_bytes()
            assert next(pieces).startswith(b"PK")
            mortal.stop()

            with pytest.raises(httpx.RemoteProtocolError):
                list(pieces)
    assert server.http.get("/livez").status_code == 200


def test_a_stopped_server_finishes_the_upload_it_is_receiving(
    start_server: Start, jobs: RedisJobStore, valkey_url: str
) -> None:
    server = start_server()
    body = b"".join(form_of([5000]))
    with server.connect() as connection, server.connect() as idle, connect_redis(valkey_url) as client:
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_on(idle)[0] == 200
        connection.sendall(
            f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
            f"Idempotency-Key: k\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body[:1000]
        )
        eventually(lambda: any(client.scan_iter("{fathom}:idempotency:*")))
        server.process.send_signal(signal.SIGTERM)
        # A stopping process closes idle connections.
        assert idle.recv(1) == b""
        connection.sendall(body[1000:])
        status, answer = answer_on(connection)

    assert status == 202
    assert jobs.get(json.loads(answer)["id"]).counts.total == 1


def answer_on(connection: socket.socket) -> tuple[int, bytes]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()
