"""`Idempotency-Key`: a request that is sent again gets the job that it made the first time.

After draft-ietf-httpapi-idempotency-key-header. Two requests are the same if their content is, not their
bytes: a form sent again has another boundary. The content of a form is known only at its end, so a form
under a used key is read to the end and compared, and nothing of it is stored.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import request
from werkzeug.http import unquote_header_value

from api.middleware.errors import InvalidRequest
from api.submit.multipart import FormField, FormPart
from shared.errors import IdempotencyKeyInUse, IdempotencyKeyReused, Unavailable
from shared.idempotency.durable_store import DurableIdempotency
from shared.idempotency.port import Claim, Standing
from shared.jobs.job import Job

logger = logging.getLogger(__name__)

_LONGEST = 255
#: Seconds between two renewals of a key while a body is being received.
_RENEW = 20.0


class Fingerprint:
    """The content of a request in one hash."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, *items: str | bytes) -> None:
        """Add some items; the borders between them count too."""
        for item in items:
            data = item.encode() if isinstance(item, str) else item
            self._hash.update(len(data).to_bytes(8, "big") + data)

    def add_part(self, part: FormPart) -> None:
        """Add a part of a form: its names, and the value of a field or the hash of a file."""
        if isinstance(part, FormField):
            self.add("field", part.name, part.value)
        else:
            self.add("file", part.name, part.file_name, part.spool.sha256())

    def text(self) -> str:
        return self._hash.hexdigest()


class Attempt:
    """A request under a key. Without a key, every attempt is the first.

    Work inside `with attempt.begun(...)`: an error frees the key at once. If the client or the process
    dies, the key becomes free because it is no longer renewed.
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
        """Claim the key, or find that it was used. `is_recorded` tells whether a job was recorded.

        Raises IdempotencyKeyInUse while another request under the key is being handled.
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
        """Whether the key was used before: then nothing must be stored, and `job_before` is the answer."""
        return self._before is not None

    def job_before(self, find: Callable[[str], Job]) -> Job:
        """Return the job that the first request under the key made.

        Raises IdempotencyKeyReused for another payload, and JobNotFound if the job was deleted.
        """
        assert self._before is not None
        if self._before.fingerprint != self.fingerprint.text():
            raise IdempotencyKeyReused
        return find(self._before.job_id)

    def seal(self, job_id: str) -> None:
        """Tie the key to the job that is about to be recorded.

        Raises IdempotencyKeyInUse if the key went to another meanwhile.
        """
        self._hold(
            lambda owner, key: self._durable.seal(
                owner, key, self._token, fingerprint=self.fingerprint.text(), job_id=job_id
            )
        )

    def renew(self) -> None:
        """Keep the key while the body is being received; call it with every read.

        Raises IdempotencyKeyInUse if the key went to another request meanwhile.
        """
        if time.monotonic() - self._renewed > _RENEW:
            self._renewed = time.monotonic()
            self._hold(lambda owner, key: self._keys.renew(owner, key, self._token))

    def _hold(self, change: Callable[[str, str], bool]) -> None:
        if self._key is not None and not self.is_repeated and not change(self._owner, self._key):
            raise IdempotencyKeyInUse(retry_after=1.0)

    def _take(self, key: str, is_recorded: Callable[[str], bool]) -> Claim | None:
        claim = self._durable.claim(self._owner, key, self._token)
        if claim.standing is Standing.RUNNING:
            raise IdempotencyKeyInUse(retry_after=min(max(claim.seconds_left, 1.0), 10.0))
        if claim.standing is Standing.SEALED and is_recorded(claim.job_id):
            # A process recorded the job and died. The job is the answer, even if this request fails.
            self._keys.finish(self._owner, key, self._token)
            return claim
        return claim if claim.standing is Standing.DONE else None

    def _release(self, key: str) -> None:
        try:
            self._keys.release(self._owner, key, self._token)
        except Unavailable as exc:
            logger.warning(
                "An Idempotency-Key stays in use for a while: %s",
                exc.message,
                extra={"action": "release_key"},
            )


def given_key() -> str | None:
    """Return the Idempotency-Key of the current request, with its quotes removed.

    Raises InvalidRequest for one that is empty, too long or not printable ASCII.
    """
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return None
    key = unquote_header_value(header.strip())
    if not 0 < len(key) <= _LONGEST or not all("!" <= char <= "~" for char in key):
        raise InvalidRequest(f"An Idempotency-Key has 1 to {_LONGEST} printable ASCII characters, no space.")
    return key
