from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from fathom.async_client import AsyncFathom, AsyncJob
from fathom.errors import ApiError, ClientError, ConnectionLost
from fathom.models import JobStatus, ModelInfo
from fathom.transport import Patience
from tests.unit.fathom.conftest import (
    JOB_ID,
    LARGE,
    FakeServer,
    lose,
    on,
    problem,
    refuse_connection,
    times,
)

T = TypeVar("T")


@pytest.fixture
def play(server: FakeServer, pauses: list[float]) -> Callable[[Callable[[AsyncFathom], Awaitable[T]]], T]:
    """Run a coroutine with a client to its end; pauses are recorded and do not wait."""

    async def rest(seconds: float) -> None:
        pauses.append(seconds)

    def run(act: Callable[[AsyncFathom], Awaitable[T]]) -> T:
        async def main() -> T:
            transport, patience = httpx.MockTransport(server), Patience(total=10.0)
            async with AsyncFathom(
                "http://fathom.test", api_key="key", patience=patience, transport=transport, sleep=rest
            ) as fathom:
                return await act(fathom)

        return asyncio.run(main())

    return run


Play = Callable[[Callable[[AsyncFathom], Awaitable[Any]]], Any]


def album(folder: Path, count: int = 7) -> Path:
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(f"bytes of {number}".encode())
    return folder


def test_an_album_is_announced_uploaded_and_started(play: Play, server: FakeServer, tmp_path: Path) -> None:
    job = play(lambda fathom: fathom.submit([album(tmp_path)], {"colormap": "gray"}))

    assert (job.id, job.status.total) == (JOB_ID, 7)
    assert server.stored == {number: f"bytes of {number}".encode() for number in range(7)}
    assert server.options == {"colormap": "gray"}
    assert server.started == 1


def test_a_preset_is_sent_among_the_options(play: Play, server: FakeServer, tmp_path: Path) -> None:
    play(lambda fathom: fathom.submit([album(tmp_path)], {"normals": {"bits": 8}}, preset="blender"))

    assert server.options == {"normals": {"bits": 8}, "preset": "blender"}


def test_the_key_is_sent_to_the_api_only(play: Play, server: FakeServer, tmp_path: Path) -> None:
    play(lambda fathom: fathom.submit([album(tmp_path)]))

    shown = {request.url.host: request.headers.get("Authorization") for request in server.requests}
    assert shown == {"fathom.test": "Bearer key", "s3.test": None}


@pytest.mark.parametrize("path", ["/v1/jobs", "/start", "/uploads", "/inputs/"])
@pytest.mark.parametrize("fault", [lose, refuse_connection, lambda _: problem(503, "unavailable", "Later.")])
def test_a_submission_survives_temporary_errors(
    play: Play,
    server: FakeServer,
    tmp_path: Path,
    path: str,
    fault: Callable[[httpx.Request], httpx.Response],
) -> None:
    for method in ("POST", "GET", "PUT"):
        server.faults.append(times(2, on(method, path, fault)))

    play(lambda fathom: fathom.submit([album(tmp_path)]))

    assert len(server.stored) == 7
    keys = {r.headers.get("Idempotency-Key") for r in server.requests if r.url.path == "/v1/jobs"}
    assert len(keys) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(play: Play, server: FakeServer, pauses: list[float], status: int) -> None:
    later = problem(status, "later", "Not now.", **{"Retry-After": "7"})
    server.faults.append(times(1, on("GET", "/v1/jobs", lambda _: later)))

    play(lambda fathom: fathom.job(JOB_ID))

    assert pauses == [7.0]


def test_a_server_that_once_responded_is_retried_longer_than_one_that_never_did(
    play: Play, server: FakeServer, pauses: list[float]
) -> None:
    async def act(fathom: AsyncFathom) -> None:
        job = await fathom.job(JOB_ID)
        server.faults.append(on("GET", "", refuse_connection))
        with pytest.raises(ConnectionLost):
            await job.refresh()

    play(act)
    waited = sum(pauses)
    pauses.clear()
    with pytest.raises(ConnectionLost, match="fathom up"):
        play(lambda fathom: fathom.job(JOB_ID))

    assert sum(pauses) < waited
    assert waited > 4


def test_a_permanently_refused_upload_raises_its_reason_and_leaves_no_job(
    play: Play, server: FakeServer, tmp_path: Path
) -> None:
    server.faults.append(on("PUT", "/inputs/", lambda _: problem(403, "denied", "No entry.")))

    with pytest.raises(ApiError, match="No entry"):
        play(lambda fathom: fathom.submit([album(tmp_path)]))

    assert server.deleted


def test_expired_upload_urls_are_replaced_by_fresh_ones(
    play: Play, server: FakeServer, tmp_path: Path
) -> None:
    expired = httpx.Response(403, content="<Error><Code>AccessDenied</Code></Error>")
    server.faults.append(times(4, on("PUT", "/inputs/", lambda _: expired)))

    play(lambda fathom: fathom.submit([album(tmp_path)]))

    assert len(server.stored) == 7
    assert server.started == 1


def test_a_result_is_saved_completely_and_an_existing_one_is_kept(
    play: Play, server: FakeServer, tmp_path: Path
) -> None:
    server.outputs = {0: {"heatmap": b"12345"}}
    server.faults.append(
        times(2, on("GET", "/heatmap", lambda _: httpx.Response(200, stream=BreakingAsyncBody())))
    )

    async def act(fathom: AsyncFathom) -> list[bool]:
        job = await fathom.job(JOB_ID)
        url = f"/v1/jobs/{JOB_ID}/images/0/heatmap"
        return [await job.save(url, tmp_path / "a.png") for _ in range(2)]

    assert play(act) == [True, False]
    assert (tmp_path / "a.png").read_bytes() == b"12345"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]


def test_a_file_that_vanished_is_named(play: Play, server: FakeServer, tmp_path: Path) -> None:
    album(tmp_path)
    server.faults.append(lambda _: (tmp_path / "3.jpg").unlink(missing_ok=True))

    with pytest.raises(ClientError, match=r"Cannot read .*3\.jpg"):
        play(lambda fathom: fathom.submit([tmp_path]))

    assert server.deleted


def test_a_cancelled_submission_leaves_no_job(play: Play, server: FakeServer, tmp_path: Path) -> None:
    async def act(fathom: AsyncFathom) -> None:
        task = asyncio.create_task(fathom.submit([album(tmp_path)]))
        while not any(request.method == "PUT" for request in server.requests):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    play(act)

    assert server.deleted


def test_sources_are_sent_by_their_kind(play: Play, server: FakeServer) -> None:
    bodies: list[bytes] = []

    def accept(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(202, json=server.job())

    server.faults.append(on("POST", "/v1/jobs", accept))

    play(lambda f: f.submit_sources(["https://a.test/x.jpg", "s3://b/k.jpg", "s3://b/p/", "s3://b"]))

    assert b'[{"url":"https://a.test/x.jpg"},{"s3":"s3://b/k.jpg"},' in bodies[0]
    assert b'{"s3_prefix":"s3://b/p/"},{"s3_prefix":"s3://b"}]' in bodies[0]


def test_a_wait_follows_the_job_and_survives_an_outage_of_the_server(play: Play, server: FakeServer) -> None:
    server.states = ["queued", "processing", "processing", "partial"]
    seen: list[str] = []
    lost: list[ConnectionLost] = []

    async def act(fathom: AsyncFathom) -> AsyncJob:
        job = await fathom.job(JOB_ID)
        server.faults.append(times(50, on("GET", "/v1/jobs", lose)))
        return await job.wait(lambda status: seen.append(status.state), on_lost=lost.append)

    assert play(act).status.state == "partial"
    assert seen == ["processing", "processing", "partial"]
    assert lost


def test_images_and_jobs_are_listed_over_all_pages(play: Play, server: FakeServer) -> None:
    server.names = [f"{number}.jpg" for number in range(8)]
    server.failed = {3: ("image_empty", "The file is empty.")}

    async def act(fathom: AsyncFathom) -> tuple[list[int], list[str | None], list[JobStatus]]:
        job = await fathom.job(JOB_ID)
        indexes = [image.index async for image in job.images()]
        codes = [image.error_code async for image in job.images("failed")]
        return indexes, codes, [each async for each in fathom.jobs()]

    indexes, codes, jobs = play(act)
    assert (indexes, codes) == (list(range(8)), ["image_empty"])
    assert [job.id for job in jobs] == [JOB_ID]


class BreakingAsyncBody(httpx.AsyncByteStream):
    """A body that ends with the connection."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"PK"
        raise httpx.ReadError("reset by peer")


def test_an_interrupted_download_is_fetched_again(play: Play, server: FakeServer, tmp_path: Path) -> None:
    server.names = ["假期/猫.png"]
    server.outputs = {0: {"heatmap": b"one"}}
    server.faults.append(
        times(2, on("GET", "/archive", lambda _: httpx.Response(200, stream=BreakingAsyncBody())))
    )

    async def act(fathom: AsyncFathom) -> list[Path]:
        return await (await fathom.job(JOB_ID)).download(tmp_path / "out")

    assert play(act) == [tmp_path / "out" / "假期" / "猫.png"]
    assert (tmp_path / "out" / "假期" / "猫.png").read_bytes() == b"one"


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry"])
def test_a_job_is_controlled_by_its_methods(play: Play, server: FakeServer, action: str) -> None:
    async def act(fathom: AsyncFathom) -> None:
        await getattr(await fathom.job(JOB_ID), action)()

    play(act)

    assert server.requests[-1].url.path == f"/v1/jobs/{JOB_ID}/{action}"


def test_a_job_is_deleted(play: Play, server: FakeServer) -> None:
    async def act(fathom: AsyncFathom) -> None:
        await (await fathom.job(JOB_ID)).delete()

    play(act)

    assert server.deleted


def test_models_are_listed(play: Play, server: FakeServer) -> None:
    server.models = [LARGE]

    assert play(lambda fathom: fathom.models()) == [ModelInfo.from_json(LARGE)]


@pytest.mark.parametrize("url", ["ftp://host", "localhost:8080", ""])
def test_an_address_that_is_no_http_address_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="http://"):
        AsyncFathom(url)
