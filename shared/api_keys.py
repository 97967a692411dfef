"""API keys: what a key may do, and where it is kept.

A key's text is `fathom_<id>_<secret>`. It is shown once, when the key is made; Fathom keeps only a
SHA-256 of the secret. A plain hash is right here, where for a password it would be wrong: the secret
is 160 random bits, which nobody can try through, so a slow hash would only slow down every
request. Keys lie in the object store, as `keys/<id>.json`, so that losing Redis loses no key.

An object of its own, `keys/revoked/<id>`, revokes a key while it exists, whatever the key's record says.
So if a rotation overlaps a revocation and writes back an older record, the key stays revoked, even on a
server that ignores conditional writes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from shared.errors import FathomError, ObjectNotFound, RequestError
from shared.jobs import object_keys
from shared.objectstore.port import ObjectInfo, ObjectStore
from shared.settings import is_rate

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
#: Characters of 5 bits each: 12 name a key, and 32 prove it.
_ID_LENGTH, _SECRET_LENGTH = 12, 32
#: A record is young for so many seconds. Two clocks measure them, and may differ by nearly as much.
_YOUNG = 10.0
_FORM = re.compile(rf"fathom_([a-z2-7]{{{_ID_LENGTH}}})_([a-z2-7]{{{_SECRET_LENGTH}}})\Z")


class InvalidKeySettings(RequestError):
    """The key cannot have these properties."""

    code = "invalid_key_settings"


class KeyNotFound(FathomError):
    """There is no API key of this id."""

    code = "key_not_found"


class KeyRevoked(FathomError):
    """The API key was revoked, which is for good."""

    code = "key_revoked"


class KeyUnreadable(FathomError):
    """The record of an API key is damaged."""

    code = "key_unreadable"


class Scope(StrEnum):
    """What a key may do; no scope includes another."""

    #: Look at jobs and fetch their results.
    READ = "read"
    #: Make jobs, control them and delete them.
    SUBMIT = "submit"
    #: Do so with the jobs of all keys, and read the metrics.
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key as it is kept. Where a bound is None, the key has none of its own."""

    id: str
    name: str
    scopes: frozenset[Scope]
    #: SHA-256 of the secret.
    hash: bytes = field(repr=False)
    created_at: float
    revoked_at: float | None = None
    #: The hash of the previous secret, and until when that still counts.
    former_hash: bytes | None = field(default=None, repr=False)
    former_until: float | None = None
    #: Most requests, such as `600/minute`.
    rate: str | None = None
    #: Most unfinished images of all its jobs.
    max_images: int | None = None
    #: Most bytes of the photos of all its jobs.
    max_bytes: int | None = None

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The hashes that count now: that of the secret, and for a while that of the previous one."""
        if self.former_hash is None or time.time() >= (self.former_until or 0.0):
            return (self.hash,)
        return (self.hash, self.former_hash)

    def is_proved_by(self, secret: str) -> bool:
        """Compare a secret with the hashes, in a time that reveals nothing about them."""
        given = _hash(secret)
        return any([hmac.compare_digest(given, known) for known in self.hashes])

    def to_json(self) -> dict[str, Any]:
        """Return what may be shown of a key: everything but the hashes."""
        return {
            "id": self.id,
            "name": self.name,
            "scopes": sorted(self.scopes),
            "created_at": self.created_at,
            "revoked_at": self.revoked_at,
            "former_until": self.former_until,
            "rate": self.rate,
            "max_images": self.max_images,
            "max_bytes": self.max_bytes,
        }


def make_key(
    name: str,
    scopes: Sequence[str],
    *,
    rate: str | None = None,
    max_images: int | None = None,
    max_bytes: int | None = None,
) -> tuple[ApiKey, str]:
    """Return a new key and its text, which cannot be recovered later.

    Raises InvalidKeySettings for a name, scope, rate or bound that no key can have.
    """
    secret = _random(_SECRET_LENGTH)
    key = ApiKey(
        id=_random(_ID_LENGTH),
        name=_checked_name(name),
        scopes=parse_scopes(scopes),
        hash=_hash(secret),
        created_at=time.time(),
        rate=None if rate is None else parse_rate(rate),
        max_images=_checked_bound("images", max_images),
        max_bytes=_checked_bound("bytes", max_bytes),
    )
    return key, _text(key, secret)


def rotate_key(key: ApiKey, *, keep: float) -> tuple[ApiKey, str]:
    """Return a key with a new secret, and its text; the old secret counts for `keep` seconds more.

    The key's holder stays the same owner. Even older secrets no longer count. Raises KeyRevoked, and
    InvalidKeySettings for a negative time.
    """
    if key.is_revoked:
        raise KeyRevoked(f"The API key {key.id} was revoked; make another.")
    if keep < 0:
        raise InvalidKeySettings("A secret is kept for a time that is not negative.")
    secret = _random(_SECRET_LENGTH)
    until = time.time() + keep
    return replace(key, hash=_hash(secret), former_hash=key.hash, former_until=until), _text(key, secret)


def split_key(text: str) -> tuple[str, str] | None:
    """Return the id and the secret of a key's text; None if it is no key."""
    match = _FORM.match(text)
    return (match[1], match[2]) if match else None


def parse_scopes(names: Sequence[str]) -> frozenset[Scope]:
    """Return scopes by their names. Raises InvalidKeySettings for an unknown name, or for none."""
    unknown = [name for name in names if name not in list(Scope)]
    if unknown or not names:
        raise InvalidKeySettings(
            f"Scopes are {', '.join(Scope)}; not {', '.join(unknown) or 'none of them'}."
        )
    return frozenset(map(Scope, names))


def parse_rate(text: str) -> str:
    """Return a rate such as `600/minute` if it is one. Raises InvalidKeySettings."""
    if not is_rate(text):
        raise InvalidKeySettings(f"A rate is like 600/minute (or second, hour, day), not {text!r}.")
    return text


class KeyStore:
    """Keys in the object store. Every method may raise what the object store raises."""

    def __init__(self, objects: ObjectStore, *, clock: Callable[[], float] = time.time) -> None:
        self._objects = objects
        self._clock = clock

    def save(self, key: ApiKey) -> None:
        self._objects.put(object_keys.api_key(key.id), encode_key(key), content_type="application/json")

    def read(self, key_id: str) -> ApiKey:
        """Return a key. Raises KeyNotFound, and KeyUnreadable for a damaged record."""
        try:
            key = decode_key(self._objects.get(object_keys.api_key(key_id)))
        except ObjectNotFound as exc:
            raise KeyNotFound(f"There is no API key {key_id}.") from exc
        # Keys of earlier versions were revoked in their records.
        return key if key.is_revoked else replace(key, revoked_at=self._revoked_at(key_id))

    def versions(self) -> Iterator[tuple[str, str | None]]:
        """Yield the id of every key, and a mark that changes when its record does.

        The mark is None while the record is young: S3 tells only whole seconds, so a second change
        within one could go unnoticed.
        """
        now, revoked, records = self._clock(), set[str](), list[ObjectInfo]()
        for info in self._objects.list(object_keys.KEYS):
            if info.key.startswith(object_keys.REVOKED_KEYS):
                revoked.add(info.key.removeprefix(object_keys.REVOKED_KEYS))
            else:
                records.append(info)
        for info in records:
            key_id = info.key.removeprefix(object_keys.KEYS).removesuffix(".json")
            is_young = abs(now - info.modified_at) < _YOUNG
            yield key_id, None if is_young else f"{info.size}:{info.modified_at}:{key_id in revoked}"

    def list(self) -> tuple[ApiKey, ...]:
        """Return all keys, revoked ones included, oldest first."""
        keys = (self.read(key_id) for key_id, _ in self.versions())
        return tuple(sorted(keys, key=lambda key: key.created_at))

    def rotate(self, key_id: str, *, keep: float) -> tuple[ApiKey, str]:
        """Give a key a new secret; return the key and its text, which cannot be recovered later.

        Raises KeyNotFound, KeyRevoked and InvalidKeySettings.
        """
        key, text = rotate_key(self.read(key_id), keep=keep)
        self.save(key)
        return key, text

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key for good; doing so again is no error. Its record and its jobs stay.

        Raises KeyNotFound.
        """
        key = self.read(key_id)
        if not key.is_revoked:
            key = replace(key, revoked_at=self._clock())
            self._objects.put(object_keys.revoked_key(key_id), repr(key.revoked_at).encode())
        return key

    def _revoked_at(self, key_id: str) -> float | None:
        try:
            since = self._objects.get(object_keys.revoked_key(key_id))
        except ObjectNotFound:
            return None
        try:
            return float(since)
        except ValueError:
            # Only the existence of the object counts.
            return 0.0


def encode_key(key: ApiKey) -> bytes:
    former = None if key.former_hash is None else key.former_hash.hex()
    return json.dumps(key.to_json() | {"hash": key.hash.hex(), "former_hash": former}, indent=1).encode()


def decode_key(data: bytes) -> ApiKey:
    """Read what `encode_key` wrote. Raises KeyUnreadable for anything else."""
    try:
        record = json.loads(data)
        record["scopes"] = frozenset(map(Scope, record["scopes"]))
        record["hash"] = bytes.fromhex(record["hash"])
        # Older records have none, from a time when keys could not be rotated.
        if (former := record.get("former_hash")) is not None:
            record["former_hash"] = bytes.fromhex(former)
        return ApiKey(**record)
    except (ValueError, TypeError, KeyError) as exc:
        raise KeyUnreadable from exc


def _text(key: ApiKey, secret: str) -> str:
    return f"fathom_{key.id}_{secret}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checked_name(name: str) -> str:
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise InvalidKeySettings("A key's name has 1 to 100 printable characters.")
    return name


def _checked_bound(what: str, value: int | None) -> int | None:
    if value is not None and value < 0:
        raise InvalidKeySettings(f"A bound on {what} is not negative.")
    return value
