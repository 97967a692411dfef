"""The API keys in a server process: read from the object store, and cached for seconds.

A request waits for the object store only if the cache is too old. While the object store is away, the
cache stays in use for a while: known keys keep working, and nothing can be said about an unknown key.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.api_keys import ApiKey, KeyNotFound, KeyStore, KeyUnreadable
from shared.errors import FathomError, ObjectStoreUnavailable
from shared.objectstore.port import ObjectStore

logger = logging.getLogger(__name__)

#: Seconds after which the keys are read again in the background, and after which requests wait for them,
#: so that a revoked key is refused within five seconds.
SOON, FRESH = 2.0, 4.0
#: An unknown key or secret may have been made just now. For it, keys older than this are read again, so
#: guessing costs the object store at most four listings a second.
FOR_UNKNOWN = 0.25
#: Requests with an unknown key that may wait for the next reading at the same time. That is enough for a
#: person with a new key, and a flood of guesses does not hold all threads.
WAITING = 2
#: Seconds that cached keys are used while they cannot be read.
LONGEST = 600.0
#: Seconds that a request waits for a reading: while some keys are cached, and while none are.
PATIENCE, FIRST_PATIENCE = 1.0, 5.0
#: Seconds between failed attempts.
PAUSE = 2.0


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    """All keys at one moment."""

    keys: Mapping[str, ApiKey]
    #: The version of each record by id, damaged records included.
    versions: Mapping[str, str | None]
    read_at: float


class _Reading:
    """An attempt to read the keys, running or over."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.over = threading.Event()


def _accept_any(key: ApiKey) -> bool:
    return True


class KeyCache:
    """All keys of the object store, safe to use from several threads."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._store = KeyStore(objects)
        self._clock = clock
        self._pause = pause
        self._waiting = threading.BoundedSemaphore(WAITING)
        self._lock = threading.Lock()
        self._snapshot: _Snapshot | None = None
        self._reading: _Reading | None = None

    def is_empty(self, *, at_most: float = FRESH) -> bool:
        """Return whether no key existed `at_most` seconds ago. Revoked and damaged keys exist.

        Raises ObjectStoreUnavailable if that cannot be known.
        """
        return not self._at_most(at_most).versions

    def find(self, key_id: str, *, accept: Callable[[ApiKey], bool] = _accept_any) -> ApiKey | None:
        """Return a key, revoked or not, or None if there is none that `accept` accepts.

        A key that is not accepted may have been made or rotated just now, so the keys are read again.
        Raises ObjectStoreUnavailable if that is impossible.
        """
        asked = self._clock()
        key = self._at_most(FRESH).keys.get(key_id)
        if key is not None and accept(key):
            return key
        snapshot = self._read_since(asked)
        key = snapshot.keys.get(key_id)
        if key is None and self._age(snapshot) > FRESH:
            raise ObjectStoreUnavailable("The API keys cannot be read: the object store (S3) is away.")
        return key if key is not None and accept(key) else None

    def prepare(self) -> None:
        """Begin to read the keys, so that the first request need not wait."""
        self._begin_reading()

    def forget(self) -> None:
        """Forget all keys; the next request waits until they are read."""
        with self._lock:
            self._snapshot = self._reading = None

    def _at_most(self, age: float) -> _Snapshot:
        """Return the keys as they were at most `age` seconds ago, or older ones while they cannot be read."""
        snapshot = self._snapshot
        if snapshot is None or self._age(snapshot) > min(age, SOON):
            reading = self._begin_reading()
            if snapshot is None or self._age(snapshot) > age:
                patience = FIRST_PATIENCE if snapshot is None else PATIENCE
                reading.over.wait(max(0.0, reading.began + patience - self._clock()))
                snapshot = self._snapshot
        if snapshot is None or self._age(snapshot) > LONGEST:
            raise ObjectStoreUnavailable("The API keys cannot be read: the object store (S3) is away.")
        return snapshot

    def _read_since(self, moment: float) -> _Snapshot:
        """Return the keys as they were at `moment` or later, if they can be read in time.

        If too many requests wait for that already, return them as they were FOR_UNKNOWN seconds ago.
        """
        snapshot = self._at_most(FOR_UNKNOWN)
        if snapshot.read_at >= moment or not self._waiting.acquire(blocking=False):
            return snapshot
        try:
            self._pause(max(0.0, snapshot.read_at + FOR_UNKNOWN - self._clock()) + 0.01)
            return self._at_most(FOR_UNKNOWN)
        finally:
            self._waiting.release()

    def _age(self, snapshot: _Snapshot) -> float:
        return self._clock() - snapshot.read_at

    def _begin_reading(self) -> _Reading:
        """Return the running attempt or one that failed a moment ago, or begin a new one."""
        with self._lock:
            last, now = self._reading, self._clock()
            failed = last is not None and (self._snapshot is None or self._snapshot.read_at < last.began)
            if last is not None and (not last.over.is_set() or (failed and now < last.began + PAUSE)):
                return last
            reading = self._reading = _Reading(now)
        threading.Thread(target=self._read, args=(reading,), name="keys", daemon=True).start()
        return reading

    def _read(self, reading: _Reading) -> None:
        try:
            self._snapshot = self._take_snapshot(reading.began)
        except FathomError as exc:
            extra = {"action": "read_keys", "code": exc.code}
            logger.warning("The API keys were not read: %s", exc.message, extra=extra)
        except Exception:
            # The cached keys stay in use until the next attempt.
            logger.exception("The API keys were not read.", extra={"action": "read_keys"})
        finally:
            reading.over.set()

    def _take_snapshot(self, began: float) -> _Snapshot:
        """Read the records that are new or have changed, and keep the others."""
        known = self._snapshot or _Snapshot(keys={}, versions={}, read_at=began)
        versions = dict(self._store.versions())
        keys = {}
        for key_id, version in versions.items():
            same = version is not None and version == known.versions.get(key_id)
            key = known.keys.get(key_id) if same else self._read_key(key_id)
            if key is not None:
                keys[key_id] = key
        return _Snapshot(keys=keys, versions=versions, read_at=began)

    def _read_key(self, key_id: str) -> ApiKey | None:
        try:
            return self._store.read(key_id)
        except (KeyNotFound, KeyUnreadable) as exc:
            extra = {"action": "read_keys", "key": key_id}
            logger.error("An API key was left out: %s", exc.message, extra=extra)
            return None
