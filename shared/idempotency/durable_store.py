"""Idempotency keys that outlive Redis: what came under a key is written to the object store as well.

Redis decides who holds a key; the object store is asked only about keys that Redis does not know, and
says which job may have come of one. A lost Redis then makes no second job of a submission sent again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from shared.errors import ObjectNotFound
from shared.idempotency.port import Claim, Idempotency, Standing
from shared.idempotency.redis_store import KEEP, entry_name
from shared.jobs import object_keys
from shared.objectstore.port import ObjectStore

logger = logging.getLogger(__name__)


class DurableIdempotency(Idempotency):
    """Keys of another store, remembered for as long in the object store.

    Every method that the object store is needed for may raise what it raises when it is away.
    """

    def __init__(
        self, keys: Idempotency, objects: ObjectStore, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._objects = objects
        self._clock = clock

    def claim(self, owner: str, key: str, token: str) -> Claim:
        claim = self._keys.claim(owner, key, token)
        if claim.standing is not Standing.NEW:
            return claim
        remembered = self._recall(owner, key)
        if remembered is None:
            return claim
        # As if its holder had died: whether the job came to be, the caller finds out.
        self._keys.seal(owner, key, token, fingerprint=remembered.fingerprint, job_id=remembered.job_id)
        return remembered

    def renew(self, owner: str, key: str, token: str) -> bool:
        return self._keys.renew(owner, key, token)

    def seal(self, owner: str, key: str, token: str, *, fingerprint: str, job_id: str) -> bool:
        # In this order: who has lost the key overwrites nothing of whoever has it now.
        if not self._keys.seal(owner, key, token, fingerprint=fingerprint, job_id=job_id):
            return False
        record = {"fingerprint": fingerprint, "job_id": job_id, "sealed_at": self._clock()}
        self._objects.put(_where(owner, key), json.dumps(record).encode(), content_type="application/json")
        return True

    def finish(self, owner: str, key: str, token: str) -> bool:
        return self._keys.finish(owner, key, token)

    def release(self, owner: str, key: str, token: str) -> bool:
        # What is remembered names a job that was not recorded, and so says nothing any more.
        return self._keys.release(owner, key, token)

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
