"""Limit the requests of each API key, or of each address that sends no key.

The counts are in Redis, for all server processes together. While Redis is away each process counts by
itself, so that no request fails for lack of a count.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from limits.errors import StorageError

from api.auth import authorize
from api.services.backend import backend

logger = logging.getLogger(__name__)

#: The name of the policy in the answers (draft-ietf-httpapi-ratelimit-headers-10).
_POLICY = "requests"
#: A subscriber has a whole IPv6 network of this prefix length, not one address.
_IPV6_PREFIX = 64


def make_limiter(uri: str, options: Mapping[str, Any]) -> Limiter:
    """Return a limiter whose counts are in a store of the package `limits`, made with `options`."""
    limiter = Limiter(
        _counted_as,
        application_limits=[_rate],
        strategy="fixed-window",
        storage_uri=uri,
        storage_options={**options, "key_prefix": "fathom-limits", "wrap_exceptions": True},
        in_memory_fallback_enabled=True,
        # A request without a count is served, not refused.
        swallow_errors=True,
    )
    limiter.request_filter(authorize.is_open_route)
    return limiter


def tell_limits(limiter: Limiter, response: Response) -> Response:
    """Say in every answer how many requests are left, and in a refusal when to try again."""
    limit = limiter.current_limit
    if limit is None:
        return response
    try:
        seconds = max(1, round(limit.reset_at - time.time()))
        remaining = limit.remaining
    except StorageError as exc:
        logger.debug("The rate limit was not read: %s", exc, extra={"action": "tell_limits"})
        return response
    response.headers["RateLimit-Policy"] = f'"{_POLICY}";q={limit.limit.amount};w={limit.limit.get_expiry()}'
    response.headers["RateLimit"] = f'"{_POLICY}";r={remaining};t={seconds}'
    if limit.breached:
        response.headers["Retry-After"] = str(seconds)
    return response


def register_limits(app: Flask, limiter: Limiter) -> None:
    """Count every request to a route that is not public, once the caller is known."""
    limiter.init_app(app)
    app.after_request(lambda response: tell_limits(limiter, response))


def _rate() -> str:
    key = g.caller.key if g.caller is not None else None
    return backend().settings.rate_limit if key is None or key.rate is None else key.rate


def _counted_as() -> str:
    if g.caller is not None and g.caller.key is not None:
        return f"key:{g.caller.key.id}"
    return f"address:{_network(request.remote_addr or '')}"


def _network(address: str) -> str:
    """Return an IPv4 address as it is, and for IPv6 the network of the subscriber."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, IPv6Address):
        return f"{IPv6Address(int(parsed) >> (128 - _IPV6_PREFIX) << (128 - _IPV6_PREFIX))}/{_IPV6_PREFIX}"
    return str(parsed)
