"""HTTP with patience: retries, `Retry-After`, and one exception for every refusal."""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from fathom.backends import ClientBackend
from fathom.errors import ApiError, BodyLost, ClientError, ConnectionLost

#: Answers that say "not now": the request was not carried out.
_NOT_NOW = frozenset({429, 503})
#: Answers of a proxy whose server is away: the request may have been carried out.
_LOST = frozenset({502, 504})
#: Seconds to wait for the first answer ever; long enough for a server that is restarting.
_FIRST_CONTACT = 2.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to try again: pauses double from `first` to `longest` seconds, `total` in all."""

    first: float = 0.25
    longest: float = 5.0
    total: float = 60.0

    def pauses(self) -> Iterator[float]:
        """Yield the pauses before each new try, each shortened at random so that clients spread out."""
        pause, left = self.first, self.total
        while left > 0:
            yield min(left, pause * random.uniform(0.5, 1.0))
            left -= pause
            pause = min(pause * 2, self.longest)


class Transport:
    """One API over one connection pool; over a blocking backend, several threads may use it at once.

    `transport` sends, and waits in the same way as `backend`. Raises ClientError for an address that is
    not HTTP.
    """

    def __init__(
        self,
        base_url: str,
        *,
        backend: ClientBackend,
        transport: httpx.AsyncBaseTransport,
        api_key: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.base_url = httpx.URL(base_url)
        if self.base_url.scheme not in ("http", "https"):
            raise ClientError(f"The API's address must start with http:// or https://, not be {base_url!r}.")
        self.backend = backend
        self._patience = patience or Patience()
        #: Whether the server ever answered.
        self._reached = False
        self._http = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(60.0, connect=10.0),
            headers={"User-Agent": "fathom"},
            follow_redirects=True,
            auth=None if api_key is None else _ApiKey(api_key, self.base_url),
        )

    async def close(self) -> None:
        await self._http.aclose()

    def build(self, method: str, url: str, **build: Any) -> httpx.Request:
        """Build a request, as `httpx.Client.build_request` does; `url` may be relative to the API."""
        return self._http.build_request(method, self.base_url.join(url), **build)

    async def json(self, method: str, url: str, *, repeatable: bool | None = None, **build: Any) -> Any:
        """Send a request and return the decoded answer, None if it is empty.

        `build` is as in `build`. `repeatable` says that a second delivery does no harm; None means
        that the method decides: GET, PUT and DELETE are repeatable.

        Raises ApiError and ConnectionLost.
        """
        if repeatable is None:
            repeatable = method in ("GET", "PUT", "DELETE")
        response = await self.send(lambda: self.build(method, url, **build), repeatable=repeatable)
        return response.json() if response.content else None

    async def send(self, build: Callable[[], httpx.Request], *, repeatable: bool) -> httpx.Response:
        """Send a request and read the whole answer; send it again where that is safe and may help.

        `build` makes the request anew for every try, since a body can be read only once.
        """
        response = await self._open(build, repeatable=repeatable, stream=False)
        raise_for_problem(response)
        return response

    async def pages(
        self, url: str, field: str, *, first: Mapping[str, Any] | None = None, **params: Any
    ) -> AsyncGenerator[Mapping[str, Any]]:
        """Yield the items of a list of the API, however many pages it has; `first` is a page that is here."""
        page = first or await self.json("GET", url, params=params)
        while True:
            for item in page[field]:
                yield item
            if (cursor := page.get("next_cursor")) is None:
                return
            page = await self.json("GET", url, params={**params, "cursor": cursor})

    @asynccontextmanager
    async def stream(self, url: str) -> AsyncIterator[httpx.Response]:
        """Open a download; the caller reads its body, piece by piece.

        Raises BodyLost, also inside the block, if the connection breaks there.
        """
        response = await self._open(lambda: self.build("GET", url), repeatable=True, stream=True)
        try:
            if response.is_error:
                await response.aread()
            raise_for_problem(response)
            yield response
        except httpx.TransportError as exc:
            raise BodyLost(describe_loss(response.request, exc)) from exc
        finally:
            await response.aclose()

    async def _open(
        self, build: Callable[[], httpx.Request], *, repeatable: bool, stream: bool
    ) -> httpx.Response:
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
                    return response
                await response.aclose()
                pause = again
            await self.backend.sleep(pause)


class Tries:
    """The tries of one request: decide after each whether to try again, and after how many seconds."""

    def __init__(self, patience: Patience, *, repeatable: bool, reached: bool = False) -> None:
        """Begin; `reached` says that the server answered before."""
        self._longest = patience.total
        self._pauses = patience.pauses()
        self._repeatable = repeatable
        self._reached = reached
        self._waited = 0.0

    def after_error(self, request: httpx.Request, exc: httpx.TransportError) -> float:
        """Return the pause after a connection that failed; raises ConnectionLost at the last try."""
        again = self._repeatable or _never_sent(exc)
        # A server that never answered is probably not there: say so soon.
        patient = self._reached or self._waited < _FIRST_CONTACT
        pause = next(self._pauses, None) if again and patient else None
        if pause is None:
            raise ConnectionLost(describe_loss(request, exc)) from exc
        self._waited += pause
        return pause

    def after_answer(self, response: httpx.Response) -> float | None:
        """Return the pause after an answer; None if it is the one to be given to the caller."""
        self._reached = True
        again = _is_not_now(response) or (self._repeatable and response.status_code in _LOST)
        pause = next(self._pauses, None) if again else None
        return None if pause is None else max(pause, _retry_after(response, at_most=self._longest))


class _ApiKey(httpx.Auth):
    """Sends the API key to the API, and to no server it redirects to: an object store would refuse it."""

    def __init__(self, key: str, base_url: httpx.URL) -> None:
        self._header = f"Bearer {key}"
        self._origin = _origin(base_url)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if _origin(request.url) == self._origin:
            request.headers["Authorization"] = self._header
        yield request


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _is_not_now(response: httpx.Response) -> bool:
    # A conflict with `Retry-After` passes: the server is still handling an earlier try of this request.
    passing = response.status_code == 409 and "Retry-After" in response.headers
    return passing or response.status_code in _NOT_NOW


def _never_sent(exc: httpx.TransportError) -> bool:
    return isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def describe_loss(request: httpx.Request, exc: httpx.TransportError) -> str:
    """Say in a sentence which server could not be reached, or was lost."""
    where = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
    if _never_sent(exc):
        return (
            f"Cannot reach {where} ({exc or type(exc).__name__}). Is Fathom running? `fathom up` starts it."
        )
    return f"The connection to {where} was lost ({exc or type(exc).__name__})."


def _retry_after(response: httpx.Response, *, at_most: float) -> float:
    """Return the seconds a `Retry-After` asks for, given as a number or as a date; 0 without one."""
    value = response.headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    # Written so that NaN becomes 0.
    return min(seconds, at_most) if seconds > 0 else 0.0


def raise_for_problem(response: httpx.Response) -> None:
    """Raise ApiError for an answer that is an error; its body must have been read."""
    if not response.is_error:
        return
    problem = _problem(response)
    message = problem.get("detail") or problem.get("title") or _plain_reason(response)
    code = str(problem.get("code") or f"http_{response.status_code}")
    raise ApiError(status=response.status_code, code=code, message=str(message))


def _problem(response: httpx.Response) -> Mapping[str, Any]:
    """Return the problem+json of an answer; empty if it has none (S3 answers in XML)."""
    if "json" not in response.headers.get("Content-Type", ""):
        return {}
    try:
        problem = json.loads(response.content)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _plain_reason(response: httpx.Response) -> str:
    where = response.request.url.copy_with(query=None, fragment=None)
    return f"{where} answered {response.status_code} {response.reason_phrase}."
