from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from fathom.backends import AsyncioBackend, BlockingBackend, ClientBackend, iterate, run
from fathom.sync_client import Fathom
from fathom.uploads import ONE_REQUEST_FILES
from tests.unit.fathom.conftest import JOB_ID, FakeServer
from tests.waiting import DEADLINE

T = TypeVar("T")
Play = Callable[[Callable[[ClientBackend], Coroutine[Any, Any, T]]], T]


@pytest.fixture(params=["asyncio", "blocking"])
def play(request: pytest.FixtureRequest) -> Play[Any]:
    """Run a coroutine over either backend."""
    if request.param == "blocking":
        return lambda act: run(act(BlockingBackend(lambda _: None)))
    return lambda act: asyncio.run(act(AsyncioBackend(asyncio.sleep)))


async def numbers(count: int, read: list[int] | None = None) -> AsyncGenerator[int]:
    for number in range(count):
        if read is not None:
            read.append(number)
        yield number


def test_all_items_are_processed(play: Play[Any]) -> None:
    async def square(number: int) -> int:
        return number * number

    results = play(lambda backend: backend.gather(square, numbers(50), limit=4))

    assert sorted(results) == [number * number for number in range(50)]


def test_items_are_read_only_as_fast_as_they_are_processed(play: Play[Any]) -> None:
    read: list[int] = []
    ahead: list[int] = []

    async def act(backend: ClientBackend) -> None:
        async def work(number: int) -> None:
            await backend.sleep(0)
            ahead.append(len(read) - number)

        await backend.gather(work, numbers(200, read), limit=2)

    play(act)

    assert len(ahead) == 200
    assert max(ahead) <= 6


def test_the_first_error_is_raised_unchanged_and_nothing_more_begins(play: Play[Any]) -> None:
    begun: list[int] = []

    async def fail(number: int) -> None:
        begun.append(number)
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        play(lambda backend: backend.gather(fail, numbers(1000), limit=2))

    assert len(begun) <= 6


def test_an_error_of_the_iterable_is_raised_unchanged(play: Play[Any]) -> None:
    async def broken() -> AsyncGenerator[int]:
        yield 1
        raise LookupError("no second page")

    async def work(_: int) -> None:
        return

    with pytest.raises(LookupError, match="no second page"):
        play(lambda backend: backend.gather(work, broken(), limit=2))


def test_a_coroutine_that_suspends_is_refused() -> None:
    with pytest.raises(RuntimeError, match="waits for an event loop"):
        run(asyncio.sleep(0))


def test_unused_items_are_closed() -> None:
    closed: list[bool] = []

    async def endless() -> AsyncGenerator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    items = iterate(endless())
    next(items)
    items.close()

    assert closed == [True]


def album(folder: Path) -> list[Path]:
    paths = [folder / f"{number}.jpg" for number in range(ONE_REQUEST_FILES + 1)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def test_the_blocking_client_works_beside_a_running_event_loop(
    fathom: Fathom, server: FakeServer, tmp_path: Path
) -> None:
    async def main() -> str:
        job = fathom.submit(album(tmp_path)).wait()
        assert [image.index for image in job.images()] == list(range(len(server.names)))
        return job.status.state

    assert asyncio.run(main()) == "succeeded"
    assert len(server.stored) == ONE_REQUEST_FILES + 1


def test_the_blocking_client_sends_from_several_threads_at_once(tmp_path: Path) -> None:
    server = FakeServer()
    together, uploads, names = threading.Barrier(4), itertools.count(), set[str]()

    def meet(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT" and next(uploads) < 4:
            names.add(threading.current_thread().name)
            # The first four uploads are answered only once all four are under way.
            together.wait(DEADLINE)
        return server(request)

    with Fathom("http://fathom.test", transport=httpx.MockTransport(meet)) as fathom:
        fathom.submit(album(tmp_path))

    assert len(names) == 4
    assert len(server.stored) == ONE_REQUEST_FILES + 1


def test_ctrl_c_ends_a_wait_at_once(server: FakeServer) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    server.states = ["processing"]
    transport = httpx.MockTransport(server)
    with Fathom("http://fathom.test", transport=transport, sleep=interrupt) as fathom:
        job = fathom.job(JOB_ID)
        with pytest.raises(KeyboardInterrupt):
            job.wait()
