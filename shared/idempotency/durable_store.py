"""Idempotency keys that outlive Redis: what came under a key is written to the object store as well.

Redis decides who holds a key. The object store is asked only about keys that Redis does not know, and
says which job a key may have made. So a submission that is sent again after a loss of Redis makes no
second job.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from shared.errors import ObjectNotFound
from shared.idempotency.port import KEEP, Claim, Idempotency, Standing, entry_name
from shared.jobs import object_keys
from shared.objectstore.port import ObjectStore

logger = logging.getLogger(__name__)


class DurableIdempotency:
    """Claims and seals keys so that they survive a loss of Redis; `keys` does the rest.

    Both methods may also raise what the object store raises when it is away.
    """

    def __init__(
        self, keys: Idempotency, objects: ObjectStore, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.keys = keys
        self._objects = objects
        self._clock = clock

    def claim(self, owner: str, key: str, token: str) -> Claim:
        """Take a key as `Idempotency.claim` does. If Redis has lost it, the object store still knows it."""
        claim = self.keys.claim(owner, key, token)
        if claim.standing is not Standing.NEW:
            return claim
        remembered = self._recall(owner, key)
        if remembered is None:
            return claim
        # The key looks as if its holder had died, so the caller finds out whether there is a job.
        self.keys.seal(owner, key, token, fingerprint=remembered.fingerprint, job_id=remembered.job_id)
        return remembered

    def seal(self, owner: str, key: str, token: str, *, fingerprint: str, job_id: str) -> bool:
        """Seal a key as `Idempotency.seal` does, and write the seal to the object store.

        It does no harm if the job is never recorded, since the next caller looks for the job.
        """
        # Redis comes first: a caller that has lost the key must not overwrite its new holder's record.
        if not self.keys.seal(owner, key, token, fingerprint=fingerprint, job_id=job_id):
            return False
        record = {"fingerprint": fingerprint, "job_id": job_id, "sealed_at": self._clock()}
        self._objects.put(_where(owner, key), json.dumps(record).encode(), content_type="application/json")
        return True

    def _recall(self, owner: str, key: str) -> Claim | None:
        try:
            record = json.loads(self._objects.get(_where(owner, key)))
            if record["sealed_at"] < self._clock() - KEEP:
                return None
            return Claim(standing=Standing.SEALED, fingerprint=record["fingerprint"], job_id=record["job_id"])
        except ObjectNotFound:
            return None
        except (ValueError, TypeError, KeyError):
            logger.error("The record of an Idempotency-Key is damaged.", extra={"action": "recall_key"})
            return None


def _where(owner: str, key: str) -> str:
    return object_keys.idempotency_record(entry_name(owner, key))
