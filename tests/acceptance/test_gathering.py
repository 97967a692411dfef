"""Archives, photos in other places, and webhooks, with real processes and real servers."""

from __future__ import annotations

import base64
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import standardwebhooks

from bench.faults import Mode
from bench.http_exchange import Exchange
from bench.proxy import Proxy
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from tests.acceptance.albums import plain_album
from tests.acceptance.conftest import WITHOUT_NETWORK
from tests.acceptance.fleet import worker_beside
from tests.acceptance.stacks import LaunchedStack, check_exactly_once
from tests.origins import Origin, answer, origin
from tests.rewind import RewindChores
from tests.waiting import eventually

SECRETS = tuple("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
SETTINGS = {
    "FATHOM_SOURCE_BUCKETS": "album",
    "FATHOM_SOURCE_HOSTS": "127.0.0.1",
    "FATHOM_WEBHOOK_SECRETS": ",".join(SECRETS),
    "FATHOM_LEASE_SECONDS": "2",
}
#: Photos in the archive whose expansion is interrupted, and how many of them are stored before.
MANY, FIRST = 30, 3


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = plain_album(tmp_path_factory.mktemp("gathering"), 3, size=(64, 48))
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def gathering(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedStack]:
    data = tmp_path_factory.mktemp("gathering") / "data"
    with LaunchedStack(data, environ | WITHOUT_NETWORK | SETTINGS, "--concurrency", "2").running() as stack:
        yield stack


@pytest.fixture(scope="module")
def bucket(gathering: LaunchedStack) -> Iterator[S3ObjectStore]:
    with gathering.objects() as objects:
        bucket = objects.in_bucket("album")
        bucket.ensure_bucket()
        yield bucket


@pytest.fixture
def photo_origin() -> Iterator[Origin]:
    with origin() as served:
        yield served


def post(stack: LaunchedStack, **body: Any) -> dict[str, Any]:
    response = httpx.post(f"{stack.api}/v1/jobs", json=body)
    assert response.status_code == 202, response.text
    return dict(response.json())


def ended(stack: LaunchedStack, job_id: str) -> dict[str, Any]:
    with stack.client() as fathom:
        return dict(fathom.job(job_id).wait().status.raw)


def images(stack: LaunchedStack, job_id: str) -> dict[str, str]:
    """Return the outcome of each image by name: its state, or the code of its failure."""
    with stack.client() as fathom:
        return {image.name: image.error_code or image.state for image in fathom.job(job_id).images()}


def test_photos_are_read_in_place_and_the_webhook_gets_the_end(
    gathering: LaunchedStack, bucket: S3ObjectStore, photo_origin: Origin, photos: list[bytes]
) -> None:
    bucket.put("2024/a.jpg", photos[0])
    bucket.put("2024/walk/写真.jpg", photos[1])
    bucket.put("2024/notes.txt", b"hello")
    bucket.put("2025/b.jpg", photos[2])
    hook = photo_origin.serve("/hook", answer("204 No Content"))
    job = post(
        gathering,
        sources=[
            {"s3_prefix": "s3://album/2024/"},
            {"s3": "s3://album/2025/b.jpg"},
            {"s3": "s3://album/2025/gone.jpg"},
            {"url": photo_origin.serve("/moved.jpg", answer("302 Found", Location="/c.jpg"))},
            {"url": photo_origin.serve("/c.jpg", answer("200 OK", photos[2])), "name": "c.jpg"},
            {"url": photo_origin.url("/gone.jpg"), "name": "nowhere.jpg"},
            {"url": photo_origin.serve("/evil.jpg", answer("302 Found", Location="http://127.0.0.2/"))},
            {"url": photo_origin.serve("/page.jpg", answer("200 OK", b"<html>" * 100))},
        ],
        webhook={"url": hook},
    )
    assert (job["state"], job["counts"]["total"]) == ("uploading", 0)

    assert ended(gathering, job["id"])["state"] == "partial"
    assert images(gathering, job["id"]) == {
        "a.jpg": "succeeded",
        "walk/写真.jpg": "succeeded",
        "b.jpg": "succeeded",
        "gone.jpg": "source_missing",
        "moved.jpg": "succeeded",
        "c.jpg": "succeeded",
        "nowhere.jpg": "source_missing",
        "evil.jpg": "source_refused",
        "page.jpg": "unsupported_format",
    }
    check_exactly_once(gathering, job["id"], 9, failed=4)
    skipped = httpx.get(f"{gathering.api}/v1/jobs/{job['id']}/skipped").json()
    assert skipped == {"count": 1, "names": ["notes.txt"]}
    check_webhook(gathering, photo_origin, job["id"])


def check_webhook(stack: LaunchedStack, receiver: Origin, job_id: str) -> None:
    path = f"{stack.api}/v1/jobs/{job_id}/deliveries"
    (delivery,) = eventually(lambda: delivered(httpx.get(path).json()["deliveries"]))
    (request,) = [request for request in receiver.requests if request.path == "/hook"]
    assert request.headers["webhook-id"] == delivery["id"]
    for secret in httpx.get(f"{stack.api}/v1/webhook-secrets").json()["secrets"]:
        message = standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))
        assert (message["type"], message["data"]["id"]) == ("job.ended", job_id)
        assert message["data"]["counts"] == {"total": 9, "succeeded": 5, "failed": 4, "pending": 0}


def delivered(deliveries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [delivery for delivery in deliveries if delivery["state"] == "delivered"]


def test_a_prefix_without_photos_ends_its_job_with_the_reason(
    gathering: LaunchedStack, bucket: S3ObjectStore
) -> None:
    job = ended(gathering, post(gathering, sources=[{"s3_prefix": "s3://album/empty/"}])["id"])

    assert (job["state"], job["error"]["code"]) == ("failed", "no_images")


def test_an_archive_whose_worker_is_killed_while_it_is_expanded_loses_nothing(
    gathering: LaunchedStack, photos: list[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "album.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(MANY):
            archive.writestr(f"{number}.jpg", photos[number % 3])
    with gathering.workers_stopped(), held_worker(gathering, tmp_path) as held:
        with path.open("rb") as file:
            job = httpx.post(f"{gathering.api}/v1/jobs", files={"archive": file}, timeout=60).json()
        assert (job["state"], job["counts"]["total"]) == ("uploading", MANY)
        eventually(lambda: len(held.stored), lambda stored: stored >= FIRST)
        held.worker.end()
        with gathering.objects() as objects:
            assert FIRST <= sum(1 for _ in objects.list(f"jobs/{job['id']}/inputs/")) < MANY
    with connect_redis(gathering.info["redis"]) as client:
        # Another worker gets the claim of the dead one at once, not only when it expires.
        RewindChores(client)(60)

    assert ended(gathering, job["id"])["state"] == "succeeded"
    check_exactly_once(gathering, job["id"], MANY)
    with gathering.objects() as objects:
        assert list(objects.list(f"jobs/{job['id']}/archives/")) == []
        assert objects.get(f"jobs/{job['id']}/inputs/{MANY - 1}") == photos[(MANY - 1) % 3]


class HeldWorker:
    """A worker of its own beside a stack, whose S3 takes the first inputs and then answers no more."""

    def __init__(self, stack: LaunchedStack, folder: Path) -> None:
        #: The paths of the inputs that it has stored.
        self.stored: list[str] = []
        port = urlsplit(stack.info["s3"]["endpoint"]).port or 0
        self.proxy = Proxy(("127.0.0.1", port), observe=self._see)
        self._start = partial(worker_beside, stack, "held", folder, FATHOM_S3_ENDPOINT_URL=self.proxy.url)

    def start(self) -> None:
        self.worker = self._start()

    def _see(self, exchange: Exchange) -> None:
        if exchange.method == "PUT" and "/inputs/" in exchange.path:
            self.stored.append(exchange.path)
            if len(self.stored) == FIRST:
                self.proxy.set(Mode.HANG, methods={"PUT"})


@contextmanager
def held_worker(stack: LaunchedStack, folder: Path) -> Iterator[HeldWorker]:
    held = HeldWorker(stack, folder)
    with held.proxy:
        held.start()
        try:
            yield held
        finally:
            held.worker.end()
