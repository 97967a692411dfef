"""HTTP with patience for asyncio: the same tries as in `fathom.transport`, with `await`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from fathom.proxies import AsyncRoutes
from fathom.transport import (
    BodyLost,
    Patience,
    RequestFactory,
    Tries,
    client_settings,
    describe_loss,
    raise_for_problem,
)

_CHUNK = 2**16


class AsyncTransport:
    """One API over one connection pool. `sleep` is what a pause is made of, so that tests need not wait."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        patience: Patience | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.base_url = httpx.URL(base_url)
        self.sleep = sleep
        self._patience = patience or Patience()
        #: Whether anything ever answered here.
        self._reached = False
        self._http = httpx.AsyncClient(
            transport=transport or AsyncRoutes(), **client_settings(self.base_url, api_key)
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def json(self, method: str, path: str, *, repeatable: bool | None = None, **build: Any) -> Any:
        """Send a request and return the decoded answer, None if it is empty."""
        if repeatable is None:
            repeatable = method in ("GET", "PUT", "DELETE")
        url = self.base_url.join(path)
        response = await self.send(lambda: self._http.build_request(method, url, **build), repeatable)
        return response.json() if response.content else None

    async def send(self, build: RequestFactory, repeatable: bool, *, stream: bool = False) -> httpx.Response:
        """Send a request, again where that is safe and may help."""
        tries = Tries(self._patience, repeatable=repeatable, reached=self._reached)
        while True:
            request = build()
            try:
                response = await self._http.send(request, stream=stream)
            except httpx.TransportError as exc:
                pause = tries.after_error(request, exc)
            else:
                self._reached = True
                again = tries.after_answer(response)
                if again is None:
                    return await _checked(response)
                await response.aclose()
                pause = again
            await self.sleep(pause)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[httpx.Response]:
        """Open a download; its body is read by the caller, piece by piece.

        Raises BodyLost, also inside the block, if the connection breaks there.
        """
        url = self.base_url.join(path)
        response = await self.send(lambda: self._http.build_request("GET", url), True, stream=True)
        try:
            yield response
        except httpx.TransportError as exc:
            raise BodyLost(describe_loss(response.request, exc)) from exc
        finally:
            await response.aclose()

    async def put(self, url: str, path: Path) -> None:
        """Send a file's bytes to an address the API gave."""
        # Without the size the body would be sent in chunks, which S3 does not take.
        size = {"Content-Length": str(path.stat().st_size)}
        target = self.base_url.join(url)
        await self.send(
            lambda: self._http.build_request("PUT", target, content=_read(path), headers=size), True
        )

    async def pages(
        self, path: str, field: str, params: Mapping[str, Any]
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the items of a list of the API, however many pages it has."""
        page = await self.json("GET", path, params=params)
        while True:
            for item in page[field]:
                yield item
            if (cursor := page.get("next_cursor")) is None:
                return
            page = await self.json("GET", path, params={**params, "cursor": cursor})


async def _checked(response: httpx.Response) -> httpx.Response:
    """Return an answer that is no error."""
    if response.is_error:
        await response.aread()
    raise_for_problem(response)
    return response


async def _read(path: Path) -> AsyncIterator[bytes]:
    # Opened here and not in a thread: one that is called off meanwhile would leave the file open.
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
