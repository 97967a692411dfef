"""`Idempotency-Key`: a submission that is sent again gives the job that it gave before.

After draft-ietf-httpapi-idempotency-key-header. What makes two submissions the same is their
content, not their bytes: a form sent again has another boundary. Of a form the content is known
only at its end, so one that comes under a used key is read and compared, and nothing of it is stored.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from flask import request
from werkzeug.http import unquote_header_value

from api.middleware.errors import InvalidRequest
from api.submit.multipart import FormField, FormPart, Read
from shared.errors import IdempotencyKeyInUse, IdempotencyKeyReused, Unavailable
from shared.idempotency.durable_store import DurableIdempotency
from shared.idempotency.port import Claim, Standing
from shared.jobs.job import Job

logger = logging.getLogger(__name__)

_LONGEST = 255
#: Seconds between two signs of life while a body is being received.
_RENEW = 20.0


class Fingerprint:
    """What a submission holds, in one hash."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, *items: str | bytes) -> None:
        """Take in some items; where one ends and the next begins counts too."""
        for item in items:
            data = item.encode() if isinstance(item, str) else item
            self._hash.update(len(data).to_bytes(8, "big") + data)

    def follow(self, parts: Iterator[FormPart]) -> Iterator[FormPart]:
        """Pass the parts of a form on, and take in each: its names and the hash of its bytes."""
        for part in parts:
            if isinstance(part, FormField):
                self.add("field", part.name, part.value)
            else:
                self.add("file", part.name, part.file_name, part.spool.sha256())
            yield part

    def text(self) -> str:
        return self._hash.hexdigest()


class Attempt:
    """A submission under a key; without a key, one that always begins anew.

    Use it in a `with` block: what ends with an error frees the key at once. A client or a
    process that dies half-way frees it by its silence.
    """

    def __init__(self, durable: DurableIdempotency, owner: str, key: str | None) -> None:
        self._durable = durable
        self._keys = durable.keys
        self._owner = owner
        self._key = key
        self._token = secrets.token_hex(12)
        self._renewed = time.monotonic()
        self._before: Claim | None = None
        self.fingerprint = Fingerprint()

    @property
    def has_key(self) -> bool:
        return self._key is not None

    @contextmanager
    def begun(self, is_recorded: Callable[[str], bool]) -> Iterator[None]:
        """Take the key, or see that it was used; `is_recorded` says whether a job came to be.

        Raises IdempotencyKeyInUse while another submission is under way.
        """
        if self._key is None:
            yield
            return
        self._before = self._take(self._key, is_recorded)
        try:
            yield
        except BaseException:
            self._release(self._key)
            raise
        self._keys.finish(self._owner, self._key, self._token)

    @property
    def is_repeated(self) -> bool:
        """Whether the key was used: then nothing is to be stored, and `job_before` is the answer."""
        return self._before is not None

    def job_before(self, find: Callable[[str], Job]) -> Job:
        """Return the job that the key gave before.

        Raises IdempotencyKeyReused for another payload, and JobNotFound if the job was deleted.
        """
        assert self._before is not None
        if self._before.fingerprint != self.fingerprint.text():
            raise IdempotencyKeyReused
        return find(self._before.job_id)

    def seal(self, job_id: str) -> None:
        """Say which job is about to be recorded.

        Raises IdempotencyKeyInUse if the key went to another meanwhile.
        """
        self._hold(
            lambda owner, key: self._durable.seal(
                owner, key, self._token, fingerprint=self.fingerprint.text(), job_id=job_id
            )
        )

    def watch(self, stream: IO[bytes]) -> Read:
        """Return the `read` of a stream that gives signs of life while the body comes in."""

        def read(size: int) -> bytes:
            if time.monotonic() - self._renewed > _RENEW:
                self._renewed = time.monotonic()
                self._hold(lambda owner, key: self._keys.renew(owner, key, self._token))
            return stream.read(size)

        return read

    def _hold(self, change: Callable[[str, str], bool]) -> None:
        if self._key is not None and not self.is_repeated and not change(self._owner, self._key):
            raise IdempotencyKeyInUse(retry_after=1.0)

    def _take(self, key: str, is_recorded: Callable[[str], bool]) -> Claim | None:
        claim = self._durable.claim(self._owner, key, self._token)
        if claim.standing is Standing.RUNNING:
            raise IdempotencyKeyInUse(retry_after=min(max(claim.seconds_left, 1.0), 10.0))
        if claim.standing is Standing.SEALED and is_recorded(claim.job_id):
            # Whoever died had recorded the job: it is the answer, whatever becomes of this request.
            self._keys.finish(self._owner, key, self._token)
            return claim
        return claim if claim.standing is Standing.DONE else None

    def _release(self, key: str) -> None:
        try:
            self._keys.release(self._owner, key, self._token)
        except Unavailable as exc:
            logger.warning("A key stays in use for a while: %s", exc.message, extra={"action": "release_key"})


def given_key() -> str | None:
    """Return the Idempotency-Key of the present request: a string, in quotes or without them.

    Raises InvalidRequest for one that is empty, too long or not printable ASCII.
    """
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return None
    key = unquote_header_value(header.strip())
    if not 0 < len(key) <= _LONGEST or not all("!" <= char <= "~" for char in key):
        raise InvalidRequest(f"An Idempotency-Key has 1 to {_LONGEST} printable ASCII characters, no space.")
    return key
