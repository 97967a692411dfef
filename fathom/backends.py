"""How a client waits: on asyncio, or by blocking the calling thread.

The protocol is written once, with `await`. A coroutine suspends only where something that it awaits does.
Over a blocking backend and a blocking transport nothing does, so `run` takes such a coroutine to its end in
one step, in the caller's own thread, with no event loop. To Ctrl-C, to threads, and to a program that has an
event loop of its own, it is an ordinary blocking call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator
from typing import Any, ParamSpec, Protocol, TypeVar

import httpx

from fathom.parallel import map_unordered

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T], Coroutine[Any, Any, R]]


class ClientBackend(Protocol):
    """What the two clients do in different ways, beside the HTTP itself."""

    async def sleep(self, seconds: float) -> None:
        """Pause."""

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `function(...)`, which works on files and may take a while."""

    async def gather(self, work: Work[T, R], items: AsyncGenerator[T], *, limit: int) -> list[R]:
        """Return the results of `work(item)` in any order, `limit` at once; raises the first error."""

    async def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work to its end even if the caller is cancelled meanwhile."""


class AsyncioBackend:
    """Waits on asyncio."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep

    async def sleep(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    async def gather(self, work: Work[T, R], items: AsyncGenerator[T], *, limit: int) -> list[R]:
        free, results = asyncio.Semaphore(limit), list[R]()

        async def do(item: T) -> None:
            try:
                results.append(await work(item))
            finally:
                free.release()

        try:
            async with asyncio.TaskGroup() as group:
                async for item in items:
                    await free.acquire()
                    group.create_task(do(item))
        except ExceptionGroup as failed:
            # A caller can name the first error in an `except`, but not a group.
            raise failed.exceptions[0] from None
        return results

    async def finish(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.shield(work)


class BlockingBackend:
    """Blocks the calling thread; no coroutine ever suspends here."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep

    async def sleep(self, seconds: float) -> None:
        self._sleep(seconds)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    async def gather(self, work: Work[T, R], items: AsyncGenerator[T], *, limit: int) -> list[R]:
        return list(map_unordered(lambda item: run(work(item)), iterate(items), threads=limit))

    async def finish(self, work: Coroutine[Any, Any, None]) -> None:
        await work


class BlockingTransport(httpx.AsyncBaseTransport):
    """Lets httpx's asynchronous client send through a synchronous transport, in the calling thread."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = self._transport.handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_BlockingStream(response.stream),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        self._transport.close()


class _BlockingStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._stream:
            yield part

    async def aclose(self) -> None:
        self._stream.close()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result. Raises RuntimeError if it does suspend."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("The coroutine waits for an event loop; it was not given a blocking backend.")


def iterate(items: AsyncGenerator[T]) -> Generator[T]:
    """Yield the items of an asynchronous generator that never suspends."""
    try:
        while True:
            try:
                item = run(anext(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())
