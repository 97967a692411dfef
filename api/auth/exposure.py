"""Decide by where the API listens whether it may serve without keys: on loopback it may."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TypeAlias

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from api.auth.authenticate import gate_of
from api.auth.key_cache import KeyCache
from api.services.backend import backend_of
from shared.errors import ObjectStoreUnavailable

logger = logging.getLogger(__name__)

#: The exit code on which gunicorn ends the whole server.
BOOT_ERROR = 3
#: Seconds that a starting server waits to read the keys.
PATIENCE = 15.0
_PAUSE = 0.2

#: Host and port, or the path of a Unix socket.
Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str

_REFUSAL = (
    "Other machines can reach this address (%s), and there is no API key. Make one with "
    "`fathom keys create`, or set FATHOM_ALLOW_ANONYMOUS=1 to let everybody in. The API does not start."
)


def settle_exposure(
    app: Flask, addresses: Sequence[Address], *, pause: Callable[[float], None] = time.sleep
) -> None:
    """Decide by the addresses that it listens on whether the API may serve without keys.

    Raises SystemExit if it may not and no key was ever made. If the keys cannot be read, it starts, and
    lets nobody in without a key.
    """
    gate, settings = gate_of(app), backend_of(app).settings
    gate.keys.prepare()
    # Behind a proxy the address says nothing, because anyone may be on its other side.
    gate.exposed = settings.trusted_proxies > 0 or not all(map(is_loopback, addresses))
    if not gate.may_open and _is_empty(gate.keys, pause):
        where = ", ".join(map(str, addresses))
        logger.critical(_REFUSAL, where, extra={"action": "refuse_start"})
        raise SystemExit(BOOT_ERROR)


def is_loopback(address: Address) -> bool:
    """Return whether only programs on this machine can reach an address.

    A Unix socket does not count, because a proxy listens on its behalf.
    """
    if isinstance(address, str):
        return False
    host = address[0]
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def believe_proxies(app: Flask, count: int) -> None:
    """Take the client's address, scheme and host from the headers of the last `count` proxies."""
    if count:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]


def _is_empty(keys: KeyCache, pause: Callable[[float], None]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return keys.is_empty()
        except ObjectStoreUnavailable as exc:
            if time.monotonic() > deadline:
                logger.warning(
                    "%s Nobody is let in without a key.", exc.message, extra={"action": "refuse_start"}
                )
                return False
        pause(_PAUSE)
