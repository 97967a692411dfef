"""HTTP with patience: retries, `Retry-After`, and one exception for every refusal."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

#: Answers that say "not now": the request was not carried out.
_NOT_NOW = frozenset({429, 503})
#: Answers of a proxy whose server is away: the request may have been carried out.
_LOST = frozenset({502, 504})
#: Seconds for a server to answer at all; long enough for one that is just being started again.
_FIRST_CONTACT = 2.0
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")


class ClientError(Exception):
    """The request could not be carried out."""


class ApiError(ClientError):
    """The API refused; `code` is stable, and the text is a sentence for a person."""

    def __init__(self, *, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ConnectionLost(ClientError):
    """The server could not be reached, or the connection broke, and patience ran out."""


class BodyLost(ConnectionLost):
    """The connection broke in the middle of an answer; asking again may well help."""


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


#: How a request is built anew for every try, since a body can be read only once.
RequestFactory = Callable[[], httpx.Request]


class Transport:
    """One API over one connection pool; safe to use from several threads.

    `sleep` is what a pause is made of, so that tests need not wait.
    """

    def __init__(
        self,
        base_url: str,
        *,
        patience: Patience | None = None,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = httpx.URL(base_url)
        self._patience = patience or Patience()
        self._sleep = sleep
        #: Whether anything ever answered here.
        self._reached = False
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=10.0),
            headers={"User-Agent": "fathom"},
            follow_redirects=True,
            transport=transport,
            # A proxy of the environment cannot reach this machine's own services.
            mounts=dict.fromkeys(_LOOPBACK),
        )

    def close(self) -> None:
        self._http.close()

    def url(self, reference: str) -> httpx.URL:
        """Return an address the API gave, made absolute; a presigned URL is so already."""
        return self.base_url.join(reference)

    def json(self, method: str, path: str, *, repeatable: bool | None = None, **build: Any) -> Any:
        """Send a request and return the decoded answer, None if it is empty.

        `build` goes to `httpx.Client.build_request`. `repeatable` says that a
        second delivery does no harm, which GET, PUT and DELETE promise anyway.

        Raises ApiError and ConnectionLost.
        """
        if repeatable is None:
            repeatable = method in ("GET", "PUT", "DELETE")
        response = self.send(lambda: self._http.build_request(method, self.url(path), **build), repeatable)
        return response.json() if response.content else None

    def send(self, build: RequestFactory, repeatable: bool) -> httpx.Response:
        """Send a request, again where that is safe and may help; the answer is read in full."""
        response = self._open(build, repeatable, stream=False)
        _raise_for_problem(response)
        return response

    def build(self, method: str, url: httpx.URL | str, **build: Any) -> httpx.Request:
        return self._http.build_request(method, url, **build)

    @contextmanager
    def stream(self, url: str) -> Iterator[httpx.Response]:
        """Open a download; its body is read by the caller, piece by piece.

        Raises BodyLost, also inside the block, if the connection breaks there.
        """
        response = self._open(lambda: self.build("GET", self.url(url)), True, stream=True)
        try:
            if response.is_error:
                response.read()
            _raise_for_problem(response)
            yield response
        except httpx.TransportError as exc:
            raise BodyLost(_lost(response.request, exc)) from exc
        finally:
            response.close()

    def _open(self, build: RequestFactory, repeatable: bool, *, stream: bool) -> httpx.Response:
        pauses, waited = self._patience.pauses(), 0.0
        while True:
            request = build()
            try:
                response = self._http.send(request, stream=stream)
            except httpx.TransportError as exc:
                again = repeatable or _never_sent(exc)
                # A server that never answered is most likely not there at all: say so soon.
                patient = self._reached or waited < _FIRST_CONTACT
                pause = next(pauses, None) if again and patient else None
                if pause is None:
                    raise ConnectionLost(_lost(request, exc)) from exc
            else:
                self._reached = True
                again = response.status_code in _NOT_NOW or (repeatable and response.status_code in _LOST)
                pause = next(pauses, None) if again else None
                if pause is None:
                    return response
                pause = max(pause, _retry_after(response, at_most=self._patience.total))
                response.close()
            self._sleep(pause)
            waited += pause


def _never_sent(exc: httpx.TransportError) -> bool:
    return isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def _lost(request: httpx.Request, exc: httpx.TransportError) -> str:
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


def _raise_for_problem(response: httpx.Response) -> None:
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
