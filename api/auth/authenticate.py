"""Find out who sent a request: anybody while no key was ever made, else the holder of a key."""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast
from urllib.parse import urlsplit

from flask import Flask, request

from api.auth import cookie
from api.auth.key_cache import FOR_UNKNOWN, KeyCache
from shared.api_keys import ApiKey, Scope, split_key
from shared.errors import InvalidKey, RequestError, Unauthenticated
from shared.jobs.job import ANYONE
from shared.objectstore.port import ObjectStore
from shared.settings import Settings

_GATE = "fathom-gate"
#: Methods that change nothing.
READING = frozenset({"GET", "HEAD"})
#: Sec-Fetch-Site of requests that the page's own origin, or the user, started.
_OWN_PAGES = frozenset({None, "same-origin", "none"})


class WrongHost(RequestError):
    """This service does not answer to this host name."""

    code = "wrong_host"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who sent the current request."""

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
        self.keys = KeyCache(objects)
        self.exposed = True
        self._settings = settings

    @property
    def may_open(self) -> bool:
        """Whether the API may serve without keys."""
        return not self.exposed or self._settings.allow_anonymous

    def find_caller(self) -> Caller:
        """Return who sent the current request.

        Raises Unauthenticated, InvalidKey, WrongHost, and ObjectStoreUnavailable while the keys
        cannot be read.
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
        """Return whether a key still exists and is not revoked."""
        found = self.keys.find(key.id)
        return found is not None and not found.is_revoked

    def _is_open(self, *, with_key: bool) -> bool:
        if not self.keys.is_empty() or not self.may_open:
            return False
        # The first key may have been made just now, and this may be it.
        return not with_key or self.keys.is_empty(at_most=FOR_UNKNOWN)

    def _find_by_text(self, text: str) -> ApiKey | None:
        parts = split_key(text)
        if parts is None:
            return None
        key_id, secret = parts
        return self.keys.find(key_id, accept=lambda key: key.is_proved_by(secret))

    def _find_by_cookie(self, text: str) -> ApiKey | None:
        parts = cookie.split(text)
        if parts is None or parts[1] < time.time():
            return None
        key = self.keys.find(parts[0])
        return key if key is not None and cookie.is_signed_by(key, text, parts[1]) else None

    def _caller_of(self, key: ApiKey | None) -> Caller:
        if key is None or key.is_revoked:
            raise InvalidKey
        return Caller(scopes=key.scopes, key=key)


def attach_gate(app: Flask, gate: Gate) -> None:
    """Attach a gate to an app."""
    app.extensions[_GATE] = gate


def gate_of(app: Flask) -> Gate:
    """Return the gate of an app."""
    return cast(Gate, app.extensions[_GATE])


def presented_key() -> str | None:
    """Return the key that came with the current request, valid or not."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("X-API-Key")


def _may_use_cookie() -> bool:
    return request.method in READING and request.headers.get("Sec-Fetch-Site") in _OWN_PAGES


def _check_host(host: str, allowed: tuple[str, ...]) -> None:
    """Refuse host names that a foreign page may have pointed at this address (DNS rebinding).

    Without keys, everyone who reaches the service may use it, so a page of any site could use it through a
    visitor's browser under a host name of its own. Such a name has a dot and is not an address. With keys
    in force such a page lacks the key.
    """
    name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    if "." not in name or name in allowed or name.endswith(".localhost") or _is_address(name):
        return
    raise WrongHost(
        f"Without API keys this service does not answer to the name {name[:100]}; see FATHOM_ALLOWED_HOSTS."
    )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
