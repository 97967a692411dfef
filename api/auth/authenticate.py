"""Who sent a request: nobody in particular while no key was ever made, else whoever shows a key."""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast
from urllib.parse import urlsplit

from flask import Flask, request

from api.auth import cookie
from api.auth.key_cache import FOR_UNKNOWN, KeyRing
from shared.api_keys import ApiKey, Scope, split_key
from shared.errors import InvalidKey, RequestError, Unauthenticated
from shared.jobs.job import ANYONE
from shared.objectstore.port import ObjectStore
from shared.settings import Settings

_GATE = "fathom-gate"
#: Methods that change nothing.
READING = frozenset({"GET", "HEAD"})
#: What a browser says of requests that the page's own origin, or the user, began.
_OWN_PAGES = frozenset({None, "same-origin", "none"})


class WrongHost(RequestError):
    """The service is not reached under this name."""

    code = "wrong_host"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whoever sent the present request."""

    scopes: frozenset[Scope]
    #: None while no keys are in force.
    key: ApiKey | None = None

    @property
    def owner(self) -> str:
        return ANYONE if self.key is None else self.key.id


ANYBODY = Caller(scopes=frozenset(Scope))


class Gate:
    """Decides who the caller is.

    While no key was ever made, it lets everybody in, unless it is `exposed`: reachable from other machines.
    Until the server knows where it listens, it counts as exposed.
    """

    def __init__(self, objects: ObjectStore, settings: Settings) -> None:
        self.ring = KeyRing(objects)
        self.exposed = True
        self._settings = settings

    @property
    def may_open(self) -> bool:
        """Whether it may serve without keys."""
        return not self.exposed or self._settings.allow_anonymous

    def find_caller(self) -> Caller:
        """Return who sent the present request.

        Raises Unauthenticated, InvalidKey, WrongHost, and ObjectStoreUnavailable while the keys
        are not known.
        """
        text = presented_key()
        if self._is_open(with_key=text is not None):
            _check_host(request.host, self._settings.allowed_hosts)
            return ANYBODY
        if text is not None:
            return self._caller_of(self._find_by_text(text))
        sent = request.cookies.get(cookie.NAME)
        if sent is not None and _may_use_cookie():
            return self._caller_of(self._find_by_cookie(sent))
        raise Unauthenticated

    def is_in_force(self, key: ApiKey) -> bool:
        """Return whether a key has not been revoked by now."""
        found = self.ring.find(key.id)
        return found is not None and not found.is_revoked

    def _is_open(self, *, with_key: bool) -> bool:
        if not self.ring.is_empty() or not self.may_open:
            return False
        # Whoever sends a key means it: the first one may have been made just now.
        return not with_key or self.ring.is_empty(at_most=FOR_UNKNOWN)

    def _find_by_text(self, text: str) -> ApiKey | None:
        parts = split_key(text)
        if parts is None:
            return None
        key_id, secret = parts
        return self.ring.find(key_id, accept=lambda key: key.is_proved_by(secret))

    def _find_by_cookie(self, text: str) -> ApiKey | None:
        parts = cookie.split(text)
        if parts is None or parts[1] < time.time():
            return None
        key = self.ring.find(parts[0])
        return key if key is not None and cookie.is_signed_by(key, text, parts[1]) else None

    def _caller_of(self, key: ApiKey | None) -> Caller:
        if key is None or key.is_revoked:
            raise InvalidKey
        return Caller(scopes=key.scopes, key=key)


def attach_gate(app: Flask, gate: Gate) -> None:
    """Give an app its gate."""
    app.extensions[_GATE] = gate


def gate_of(app: Flask) -> Gate:
    """Return the gate of an app."""
    return cast(Gate, app.extensions[_GATE])


def presented_key() -> str | None:
    """Return the key that came with the present request, whatever it is worth."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("X-API-Key")


def _may_use_cookie() -> bool:
    return request.method in READING and request.headers.get("Sec-Fetch-Site") in _OWN_PAGES


def _check_host(host: str, allowed: tuple[str, ...]) -> None:
    """Refuse names that a foreign page may have pointed at this address (DNS rebinding).

    Without keys, who can reach the service may use it, and a page of any site could reach it through a
    visitor's browser under a name of its own. Such a name has a dot; addresses and local names cannot
    be had for that. With keys in force the page would lack the key.
    """
    name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    if "." not in name or name in allowed or name.endswith(".localhost") or _is_address(name):
        return
    raise WrongHost(
        f"Without API keys this service answers to no name such as {name[:100]}; see FATHOM_ALLOWED_HOSTS."
    )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
