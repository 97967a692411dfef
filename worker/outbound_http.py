"""HTTP requests to addresses that users give us, restricted by `shared.net.url_policy` and bounded in time.

Every connection goes to an address that was resolved and checked just before; the name still goes into
the Host header and into TLS. A whole request has one deadline, so a server that sends a byte now and
then gains nothing. Proxies of the environment are not used.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urljoin

import httpcore

from shared.errors import AddressRefused
from shared.net.url_policy import AllowedHosts, Resolver, Target, look_up, parse_url, resolve

#: Redirects followed from one URL.
MAX_REDIRECTS = 5
#: Seconds to connect, and between two pieces of a response.
CONNECT_SECONDS, IDLE_SECONDS = 5.0, 10.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT = "Fathom"


class OutboundFailed(Exception):
    """The other server could not be reached, broke off, or took too long."""


@dataclass(frozen=True, kw_only=True)
class OutboundResponse:
    """The head of a response; read its body while the request is open."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class Outbound:
    """Sends requests; holds no connection."""

    allowed: AllowedHosts
    resolver: Resolver = look_up
    #: Seconds for a request with all its redirects and its whole response.
    seconds: float = 30.0
    #: The context that verifies servers; None is the system's.
    tls: ssl.SSLContext | None = None

    @contextmanager
    def get(self, url: str) -> Iterator[OutboundResponse]:
        """Open a URL and follow redirects; each is checked as the first address was.

        Raises AddressRefused and OutboundFailed, also while the pieces are read.
        """
        deadline = Deadline.after(self.seconds)
        for _ in range(MAX_REDIRECTS + 1):
            target = parse_url(url, self.allowed)
            with self._open("GET", target, deadline, headers=(("Accept-Encoding", "identity"),)) as answer:
                location = answer.headers.get("location")
                if answer.status not in _REDIRECTS or location is None:
                    yield answer
                    return
            url = _joined(target, location)
        raise OutboundFailed("It was redirected too often.")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a body and return the response's status; do not read its body or follow redirects.

        Raises AddressRefused and OutboundFailed.
        """
        target = parse_url(url, self.allowed)
        with self._open(
            "POST", target, Deadline.after(self.seconds), headers=tuple(headers.items()), body=body
        ) as answer:
            return answer.status

    @contextmanager
    def _open(
        self,
        method: str,
        target: Target,
        deadline: Deadline,
        *,
        headers: Iterable[tuple[str, str]],
        body: bytes | None = None,
    ) -> Iterator[OutboundResponse]:
        backend = _PinnedBackend(self.allowed, self.resolver, deadline)
        sent = [("Host", _authority(target)), ("User-Agent", _USER_AGENT), ("Accept", "*/*"), *headers]
        with (
            _translated(),
            httpcore.ConnectionPool(
                ssl_context=self.tls or _system_tls(), network_backend=backend, max_keepalive_connections=0
            ) as pool,
            pool.stream(
                method, target.url, headers=sent, content=body, extensions={"timeout": _TIMEOUTS}
            ) as response,
        ):
            yield OutboundResponse(
                status=response.status, headers=_decoded(response.headers), pieces=response.iter_stream()
            )


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """A moment by which a request must be over."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(at=time.monotonic() + seconds)

    def bound(self, seconds: float | None) -> float:
        """Return how many seconds one step may take; raises ReadTimeout if none is left."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("The deadline is over.")
        return left if seconds is None else min(seconds, left)


@cache
def _system_tls() -> ssl.SSLContext:
    """Return the context that verifies servers by the system's authorities. Making it takes 20 ms."""
    return ssl.create_default_context()


_TIMEOUTS = {
    "connect": CONNECT_SECONDS,
    "read": IDLE_SECONDS,
    "write": IDLE_SECONDS,
    "pool": CONNECT_SECONDS,
}


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects only to addresses that were checked."""

    def __init__(self, allowed: AllowedHosts, resolver: Resolver, deadline: Deadline) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = resolve(host, port, self._allowed, self._resolver)
        except (OSError, UnicodeError) as exc:
            raise httpcore.ConnectError("The name is not known.") from exc
        return _BoundedStream(self._connect_first(addresses, port, timeout), self._deadline)

    def _connect_first(
        self, addresses: tuple[str, ...], port: int, timeout: float | None
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; try at most two."""
        *others, last = addresses[:2]
        for address in others:
            try:
                return self._sockets.connect_tcp(address, port, timeout=self._deadline.bound(timeout))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._sockets.connect_tcp(last, port, timeout=self._deadline.bound(timeout))


class _BoundedStream(httpcore.NetworkStream):
    """A connection that ends at a deadline, whatever the other side does."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.bound(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.bound(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, self._deadline.bound(timeout))
        return _BoundedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _authority(target: Target) -> str:
    return target.url.removeprefix(f"{target.scheme}://").removesuffix(target.path)


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _joined(target: Target, location: str) -> str:
    try:
        return urljoin(target.url, location)
    except ValueError as exc:
        raise AddressRefused from exc


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (httpcore.TimeoutException, TimeoutError) as exc:
        raise OutboundFailed("It took too long.") from exc
    except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raise OutboundFailed("It could not be reached, or broke off.") from exc
