"""Send each request through the proxy that the environment names, but reach this machine without one.

`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are read as the object store's client reads them, in
upper or lower case. The proxy is chosen per request: the API may be on this machine and S3 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from threading import Lock
from typing import Generic, TypeVar
from urllib.request import getproxies, proxy_bypass

import httpx

T = TypeVar("T")


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy for a URL; None if it is reached directly."""
    if _is_loopback(url.host) or proxy_bypass(url.netloc.decode("ascii")):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


class _ByProxy(Generic[T]):
    """Transports by the proxy they go through, each made when first needed; several threads may ask."""

    def __init__(self, make: Callable[[str | None], T]) -> None:
        self.made: dict[str | None, T] = {}
        self._make = make
        self._lock = Lock()

    def choose(self, request: httpx.Request) -> T:
        """Return the transport for a request. Raises httpx.ConnectError if its proxy cannot be used."""
        proxy = proxy_for(request.url)
        with self._lock:
            if proxy not in self.made:
                try:
                    self.made[proxy] = self._make(proxy)
                except (ImportError, ValueError, httpx.InvalidURL) as exc:
                    raise _unusable(request) from exc
            return self.made[proxy]


class ProxyTransport(httpx.BaseTransport):
    """Sends each request through its own proxy, if any; several threads may use it."""

    def __init__(self) -> None:
        self._transports = _ByProxy(lambda proxy: httpx.HTTPTransport(proxy=proxy))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._transports.choose(request).handle_request(request)

    def close(self) -> None:
        for transport in self._transports.made.values():
            transport.close()


class AsyncProxyTransport(httpx.AsyncBaseTransport):
    """Sends each request through its own proxy, if any."""

    def __init__(self) -> None:
        self._transports = _ByProxy(lambda proxy: httpx.AsyncHTTPTransport(proxy=proxy))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transports.choose(request).handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._transports.made.values():
            await transport.aclose()


def _unusable(request: httpx.Request) -> httpx.ConnectError:
    # The proxy's address may hold a password, so the message does not repeat it.
    return httpx.ConnectError(
        "the proxy that the environment names is of a kind that cannot be used", request=request
    )


def _is_loopback(host: str) -> bool:
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
