"""What `fathom doctor` checks in S3: a round trip, the public address, browsers, the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from secrets import token_hex
from urllib.parse import urlsplit

import httpx

from fathom.doctor.findings import Finding, error, judge_clock, ok, warning
from fathom.proxies import ProxyTransport
from shared.errors import BucketNotFound, ObjectStoreDenied, Unavailable
from shared.objectstore.s3 import S3ObjectStore
from shared.settings import Settings

_SECONDS = 10.0


#: What to do about a public address below a path.
NO_PATH = (
    "Give S3 a host name or a port of its own, such as https://s3.example.org, and set "
    "FATHOM_S3_PUBLIC_URL to that; or unset it, and the API passes all files on itself."
)


def has_path(url: str | None) -> bool:
    """Return whether an address has a path."""
    return url is not None and urlsplit(url).path not in ("", "/")


def check_object_store(settings: Settings, api_url: str) -> Iterator[Finding]:
    """Write, read, list and delete an object, and fetch one as a client would."""
    store = S3ObjectStore.from_settings(settings, attempts=1)
    where = f"{settings.s3_endpoint_url or 'AWS S3'}, bucket {settings.s3_bucket!r}"
    try:
        yield from _check_round_trip(store, where)
        yield from _check_public(store, settings, api_url)
    except BucketNotFound:
        yield error(
            "s3", f"{where}: there is no such bucket.", "Create it; the API does at its start, if it may."
        )
    except ObjectStoreDenied as exc:
        yield error(
            "s3",
            f"{where}: {exc.message}",
            "Correct FATHOM_S3_ACCESS_KEY and FATHOM_S3_SECRET_KEY, or what they may do.",
        )
    except Unavailable as exc:
        yield error("s3", f"{where}: {exc.message}", "Start it, or correct FATHOM_S3_ENDPOINT_URL.")
    finally:
        store.close()
    yield from _check_server_clock(settings)


def _check_round_trip(store: S3ObjectStore, where: str) -> Iterator[Finding]:
    key = f"doctor/{token_hex(8)}"
    store.put(key, b"hello")
    try:
        listed = [(entry.key, entry.tag) for entry in store.list(key)]
        content, tag = store.get_tagged(key)
        if content != b"hello" or listed != [(key, tag)]:
            yield error("s3", f"{where}: what was written is not what is read.", "Look at the server.")
            return
    finally:
        store.delete(key)
    yield ok("s3", f"{where}: objects can be written, read, listed and deleted.")


def _check_public(store: S3ObjectStore, settings: Settings, api_url: str) -> Iterator[Finding]:
    public = settings.s3_public_url
    if public is None:
        yield ok("s3", "No public address is set: the API passes all files on itself.")
        return
    key = f"doctor/{token_hex(8)}"
    store.put(key, b"hello")
    try:
        yield _check_presigned(store.presigned_get(key) or "", public)
        if _origin(public) != _origin(api_url):
            yield _check_cors(store.presigned_put(key) or "", _origin(api_url))
    finally:
        store.delete(key)


def _check_presigned(url: str, public: str) -> Finding:
    remedy = "FATHOM_S3_PUBLIC_URL must be the address at which clients reach the same S3."
    if has_path(public):
        remedy = f"Its path is part of what is signed. {NO_PATH}"
    try:
        response = _ask("GET", url)
    except httpx.HTTPError as exc:
        return error("s3", f"Its public address {public} does not answer ({type(exc).__name__}).", remedy)
    if response.status_code != 200 or response.content != b"hello":
        return error(
            "s3",
            f"A presigned URL at {public} is answered {response.status_code}, not with the file.",
            remedy,
        )
    return ok("s3", f"Presigned URLs at {public} work.")


def _check_cors(url: str, origin: str) -> Finding:
    """Ask as a browser does before a page of the API puts a photo straight into S3."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    try:
        allowed = _ask("OPTIONS", url, headers).headers.get("access-control-allow-origin")
    except httpx.HTTPError as exc:
        return warning("s3", f"Its public address did not answer a browser's question ({exc}).", "See above.")
    if allowed not in ("*", origin):
        return warning(
            "s3",
            f"Browsers may not reach S3 from a page of {origin} (no CORS).",
            f"Allow {origin} GET and PUT in the bucket's CORS rules, or unset FATHOM_S3_PUBLIC_URL.",
        )
    return ok("s3", f"Browsers may reach it from a page of {origin} (CORS).")


def _check_server_clock(settings: Settings) -> Iterator[Finding]:
    """Compare the clocks: S3 refuses what a clock signed that is fifteen minutes off."""
    if settings.s3_endpoint_url is None:
        return
    try:
        date = _ask("HEAD", settings.s3_endpoint_url).headers.get("date")
    except httpx.HTTPError:
        # An earlier check has said that it cannot be reached.
        return
    if date:
        yield judge_clock("s3", "S3", parsedate_to_datetime(date).timestamp() - time.time())


def _ask(method: str, url: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """Send a request as Fathom's client does, through a proxy if one is set."""
    with httpx.Client(transport=ProxyTransport(), timeout=_SECONDS) as http:
        return http.request(method, url, headers=headers)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
