"""In-memory implementations of the ports for unit tests; contract tests compare them with the real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from threading import Lock
from time import time
from typing import BinaryIO
from urllib.parse import quote

from shared.errors import (
    BucketNotFound,
    JobStoreUnavailable,
    ObjectNotFound,
    ObjectStoreDenied,
    ObjectStoreUnavailable,
)
from shared.idempotency.port import Claim, Standing
from shared.metrics.model import BOUNDS, Histogram, MetricsBatch, Series, Summary
from shared.networks import MIDAS_SMALL
from shared.objectstore.port import ObjectInfo, Transfer, TransferObserver
from tests.fakes_hooks import Hooked
from tests.fakes_job_store import FakeJobStore as FakeJobStore
from tests.fakes_jobs import FakeClock as FakeClock


class FakeObjectStore(Hooked):
    """Keeps objects in a dictionary.

    While `away` is set, every call raises ObjectStoreUnavailable, as if S3 were down.
    """

    def __init__(self, *, public_url: str | None = None, clock: Callable[[], float] = time) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.modified_at: dict[str, float] = {}
        self.content_types: dict[str, str] = {}
        self.away = False
        #: Other buckets of the same server; None is a bucket that denies access.
        self.buckets: dict[str, FakeObjectStore | None] = {}
        self._public_url = public_url
        self._clock = clock
        self._lock = Lock()
        self._observe: TransferObserver | None = None

    def put(
        self, key: str, data: bytes | memoryview, *, content_type: str = "application/octet-stream"
    ) -> None:
        self.ping()
        with self._lock:
            self.objects[key] = bytes(data)
            self.content_types[key] = content_type
            self.modified_at[key] = self._clock()
        self._tell(Transfer.WRITE, key)

    def put_stream(
        self, key: str, stream: BinaryIO, *, content_type: str = "application/octet-stream"
    ) -> None:
        self.put(key, stream.read(), content_type=content_type)

    def get(self, key: str, *, start: int | None = None, stop: int | None = None) -> bytes:
        if min(start or 0, stop or 0) < 0:
            raise ValueError("A range of bytes cannot begin or end below zero.")
        data = self._read(key)[start:stop]
        self._tell(Transfer.READ, key)
        return data

    def get_tagged(self, key: str, *, stop: int | None = None) -> tuple[bytes, str]:
        data = self._read(key)
        self._tell(Transfer.READ, key)
        return data[:stop], _tag(data)

    def stream(
        self, key: str, *, start: int | None = None, stop: int | None = None, chunk_size: int = 256 * 1024
    ) -> Iterator[bytes]:
        data = self._read(key)[start:stop]
        return (data[at : at + chunk_size] for at in range(0, len(data), chunk_size))

    def size(self, key: str) -> int:
        return len(self._read(key))

    def exists(self, key: str) -> bool:
        self.ping()
        return key in self.objects

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self.ping()
        with self._lock:
            found = [
                ObjectInfo(
                    key=key, size=len(data), modified_at=self.modified_at.get(key, 0.0), tag=_tag(data)
                )
                for key, data in self.objects.items()
                if key.startswith(prefix) and key.encode() > after.encode()
            ]
        yield from sorted(found, key=lambda entry: entry.key.encode())

    def folders(self, prefix: str) -> Iterator[str]:
        rests = (entry.key.removeprefix(prefix) for entry in self.list(prefix))
        yield from dict.fromkeys(rest.partition("/")[0] for rest in rests if "/" in rest)

    def delete(self, key: str) -> None:
        self.ping()
        with self._lock:
            self.objects.pop(key, None)

    def delete_prefix(self, prefix: str) -> int:
        if not prefix:
            raise ValueError("An empty prefix would delete everything.")
        keys = [entry.key for entry in self.list(prefix)]
        for key in keys:
            self.delete(key)
        return len(keys)

    def presigned_get(
        self, key: str, *, file_name: str | None = None, content_type: str | None = None
    ) -> str | None:
        names = {"name": file_name, "type": content_type}
        query = "&".join(f"{name}={quote(value)}" for name, value in names.items() if value is not None)
        return self._public(key, f"{query}&signature=get")

    def presigned_put(self, key: str, *, size: int | None = None) -> str | None:
        return self._public(key, "signature=put" if size is None else f"size={size}&signature=put")

    def in_bucket(self, bucket: str) -> FakeObjectStore:
        return self.buckets.get(bucket, _MissingBucket()) or _DeniedBucket()

    def observed_by(self, observe: TransferObserver) -> FakeObjectStore:
        other = copy(self)
        other._observe = observe
        return other

    def ensure_bucket(self) -> None:
        self.ping()

    def ping(self) -> None:
        if self.away:
            raise ObjectStoreUnavailable

    def _tell(self, transfer: Transfer, key: str) -> None:
        if self._observe is not None:
            self._observe(transfer, key, 0.0)

    def _read(self, key: str) -> bytes:
        self.ping()
        with self._lock:
            if key not in self.objects:
                raise ObjectNotFound
            return self.objects[key]

    def _public(self, key: str, query: str) -> str | None:
        return f"{self._public_url}/{quote(key)}?{query}" if self._public_url else None


def _tag(data: bytes) -> str:
    # The same content has the same tag. Python caches this hash, while a digest of large photos would be slow.
    return f"{len(data)}-{hash(data)}"


class _MissingBucket(FakeObjectStore):
    """A bucket that does not exist."""

    def ping(self) -> None:
        raise BucketNotFound


class _DeniedBucket(FakeObjectStore):
    """A bucket that denies access."""

    def ping(self) -> None:
        raise ObjectStoreDenied


class FakeTickets:
    """Counts published tickets. While `away` is set, every call raises JobStoreUnavailable."""

    def __init__(self) -> None:
        self.by_model: Counter[str] = Counter()
        self.away = False

    @property
    def waiting(self) -> int:
        """The tickets of the default network."""
        return self.by_model[MIDAS_SMALL.name]

    @waiting.setter
    def waiting(self, count: int) -> None:
        self.by_model[MIDAS_SMALL.name] = count

    def publish(self, count: int, model: str = MIDAS_SMALL.name) -> None:
        if self.away:
            raise JobStoreUnavailable
        self.by_model[model] += count

    def depth(self, model: str = MIDAS_SMALL.name) -> int:
        if self.away:
            raise JobStoreUnavailable
        return self.by_model[model]


@dataclass(kw_only=True)
class _Submission:
    """The entry of an Idempotency-Key."""

    token: str
    until: float
    forgotten_at: float
    fingerprint: str = ""
    job_id: str = ""
    done: bool = False


class FakeIdempotency:
    """Keeps requests by key in a dictionary. While `away` is set, every call raises JobStoreUnavailable."""

    def __init__(
        self, clock: Callable[[], float] = time, *, hold: float = 90.0, keep: float = 86400.0
    ) -> None:
        self.away = False
        self._clock = clock
        self._hold = hold
        self._keep = keep
        self.entries: dict[tuple[str, str], _Submission] = {}
        self._lock = Lock()

    def claim(self, owner: str, key: str, token: str) -> Claim:
        with self._reached():
            now, entry = self._clock(), self._entry(owner, key)
            if entry and entry.done:
                return Claim(standing=Standing.DONE, fingerprint=entry.fingerprint, job_id=entry.job_id)
            if entry and entry.token != token and entry.until > now:
                return Claim(standing=Standing.RUNNING, seconds_left=entry.until - now)
            entry = entry or _Submission(token=token, until=0, forgotten_at=0)
            self.entries[owner, key] = entry
            entry.token = token
            self._hold_on(entry)
            standing = Standing.SEALED if entry.fingerprint else Standing.NEW
            return Claim(standing=standing, fingerprint=entry.fingerprint, job_id=entry.job_id)

    def renew(self, owner: str, key: str, token: str) -> bool:
        with self._reached():
            return self._carry_out(owner, key, token, self._hold_on)

    def seal(self, owner: str, key: str, token: str, *, fingerprint: str, job_id: str) -> bool:
        def seal(entry: _Submission) -> None:
            entry.fingerprint, entry.job_id = fingerprint, job_id
            self._hold_on(entry)

        with self._reached():
            return self._carry_out(owner, key, token, seal)

    def finish(self, owner: str, key: str, token: str) -> bool:
        def finish(entry: _Submission) -> None:
            entry.done, entry.forgotten_at = True, self._clock() + self._keep

        with self._reached():
            return self._carry_out(owner, key, token, finish)

    def release(self, owner: str, key: str, token: str) -> bool:
        def forget(entry: _Submission) -> None:
            if not entry.done:
                del self.entries[owner, key]

        with self._reached():
            return self._carry_out(owner, key, token, forget)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        if self.away:
            raise JobStoreUnavailable
        with self._lock:
            yield

    def _entry(self, owner: str, key: str) -> _Submission | None:
        entry = self.entries.get((owner, key))
        return entry if entry and entry.forgotten_at > self._clock() else None

    def _carry_out(self, owner: str, key: str, token: str, change: Callable[[_Submission], None]) -> bool:
        entry = self._entry(owner, key)
        if entry is None or entry.token != token:
            return False
        change(entry)
        return True

    def _hold_on(self, entry: _Submission) -> None:
        entry.until = self._clock() + self._hold
        entry.forgotten_at = self._clock() + (self._keep if entry.fingerprint else self._hold)


class FakeStatistics:
    """Keeps statistics in counters. While `away` is set, every call raises JobStoreUnavailable."""

    def __init__(self) -> None:
        self.away = False
        self.batches: dict[str, MetricsBatch] = {}

    def add(self, batch: MetricsBatch) -> None:
        self._reach()
        self.batches.setdefault(batch.id, batch)

    def read(self, workers: Iterable[str]) -> Summary:
        self._reach()
        names = list(workers)
        counts, sums, images = Counter[tuple[Series, int]](), Counter[Series](), Counter[str]()
        for batch in self.batches.values():
            counts.update(batch.counts)
            sums.update(batch.microseconds)
            images.update(batch.images)
        histograms = {
            series: Histogram(
                counts=tuple(counts[series, bucket] for bucket in range(len(BOUNDS) + 1)),
                seconds=sums[series] / 1_000_000,
            )
            for series, _ in counts
        }
        return Summary(histograms=histograms, images={name: images[name] for name in names})

    def _reach(self) -> None:
        if self.away:
            raise JobStoreUnavailable
