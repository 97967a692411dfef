"""The way of a request: through the proxy that the environment names, but never to this machine itself.

`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count as they do for the object store's
client, in either case. The way is chosen per request: the API may lie on this machine and S3 elsewhere.
"""

from __future__ import annotations

from ipaddress import ip_address
from threading import Lock
from urllib.request import getproxies, proxy_bypass

import httpx


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy through which a URL is reached; None if that is no proxy."""
    if _is_loopback(url.host) or proxy_bypass(url.netloc.decode("ascii")):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


class Routes(httpx.BaseTransport):
    """Sends each request its own way; may be used by several threads."""

    def __init__(self) -> None:
        self._ways: dict[str | None, httpx.HTTPTransport] = {}
        self._lock = Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._way(request).handle_request(request)

    def close(self) -> None:
        for way in self._ways.values():
            way.close()

    def _way(self, request: httpx.Request) -> httpx.HTTPTransport:
        proxy = proxy_for(request.url)
        with self._lock:
            if proxy not in self._ways:
                try:
                    self._ways[proxy] = httpx.HTTPTransport(proxy=proxy)
                except (ImportError, ValueError, httpx.InvalidURL) as exc:
                    raise _unusable(request) from exc
            return self._ways[proxy]


class AsyncRoutes(httpx.AsyncBaseTransport):
    """Sends each request its own way."""

    def __init__(self) -> None:
        self._ways: dict[str | None, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy = proxy_for(request.url)
        if proxy not in self._ways:
            try:
                self._ways[proxy] = httpx.AsyncHTTPTransport(proxy=proxy)
            except (ImportError, ValueError, httpx.InvalidURL) as exc:
                raise _unusable(request) from exc
        return await self._ways[proxy].handle_async_request(request)

    async def aclose(self) -> None:
        for way in self._ways.values():
            await way.aclose()


def _unusable(request: httpx.Request) -> httpx.ConnectError:
    # The proxy's address may hold a password and is therefore not repeated.
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
