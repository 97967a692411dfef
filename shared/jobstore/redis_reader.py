"""Read jobs in Redis: one or many, their images, their failures and their events.

Reading costs the same for ten images and for a million, because of the images only a page is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from redis import Redis

from shared.errors import JobNotFound
from shared.jobs.job import (
    ImageFailure,
    ImageState,
    ImageStatus,
    Job,
    JobEvents,
    JobState,
    Page,
    Totals,
    is_job_id,
)
from shared.jobstore import rows
from shared.jobstore.bitmaps import ImageBits
from shared.redis.client import redis_errors
from shared.redis.scripts import ROOT, Scripts

T = TypeVar("T")

#: So many failures are read at once, so that 100,000 of them are never in memory together.
FAILURES_AT_ONCE = 1000

#: Preludes: the first comes before all scripts, the others before scripts that change jobs.
PRELUDES = ("prelude", "accounting", "fair_queue", "leases")
#: Makes scripts that share the constants of `rows`.
job_scripts = partial(Scripts, package=__package__, constants=rows.CONSTANTS)


class JobReader:
    """Reads jobs. The client must answer in bytes, as that of `connect_redis` does."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        names = ("get", "list", "bits", "events", "totals")
        self._read = job_scripts(client, names, preludes=PRELUDES[:1]).call

    def get(self, job_id: str) -> Job:
        return rows.to_job(found(self._read("get", checked(job_id))))

    def list(self, *, owner: str | None = None, cursor: str | None = None, limit: int = 50) -> Page[Job]:
        end = "+" if cursor is None else f"({rows.checked_entry(cursor)}"
        found_rows = self._read("list", end, limit + 1, owner or "")
        jobs = tuple(rows.to_job(snapshot) for _, snapshot in found_rows[:limit] if snapshot)
        next_cursor = found_rows[limit - 1][0].decode() if len(found_rows) > limit else None
        return Page(items=jobs, next_cursor=next_cursor)

    def images(
        self, job_id: str, *, state: ImageState | None = None, cursor: int = 0, limit: int = 100
    ) -> Page[ImageStatus]:
        bits = self._read_bits(job_id, cursor, most=None if state else limit + 1)
        candidates = bits.indices(state) if state else iter(range(cursor, bits.stop))
        indices = tuple(islice((i for i in candidates if i >= cursor), limit + 1))
        items = self._statuses(job_id, bits, indices[:limit])
        return Page(items=tuple(items), next_cursor=str(indices[limit]) if len(indices) > limit else None)

    def failures(self, job_id: str) -> Iterator[ImageStatus]:
        bits = self._read_bits(job_id, 0)
        failed = bits.indices(ImageState.FAILED)
        while indices := tuple(islice(failed, FAILURES_AT_ONCE)):
            yield from self._statuses(job_id, bits, indices)

    def failed_image(self, job_id: str, index: int) -> ImageStatus:
        """Return an image that is known to have failed, with its failure."""
        failure = self._read_failures(job_id, [index]).get(index)
        return ImageStatus(index=index, state=ImageState.FAILED, failure=failure)

    def events(self, job_id: str, *, after: str | None = None, limit: int = 1000) -> JobEvents:
        # An unknown id may be from before a loss of data, so all events that are left are returned.
        number = rows.event_number(after or "0") or 0
        return rows.to_events(found(self._read("events", checked(job_id), number, limit)), after)

    def last_event(self, job_id: str) -> str:
        with redis_errors():
            number: Any = self._client.hget(f"{ROOT}:job:{checked(job_id)}", "events")
        return str(int(found(number)))

    def expirable(self, *, before: float, limit: int) -> tuple[str, ...]:
        with redis_errors():
            ids: Any = self._client.zrangebyscore(
                f"{ROOT}:idle", "-inf", f"({round(before * 1000)}", start=0, num=limit
            )
        return tuple(job_id.decode() for job_id in ids)

    def totals(self) -> Totals:
        return rows.to_totals(self._read("totals"))

    def now(self) -> float:
        with redis_errors():
            seconds, microseconds = self._client.time()
        return int(seconds) + int(microseconds) / 1_000_000

    def ping(self) -> None:
        with redis_errors():
            self._client.ping()

    # --- steps ---

    def _read_bits(self, job_id: str, first: int, *, most: int | None = None) -> ImageBits:
        """Read the bitmaps from image `first` on; with `most`, only those of so many images."""
        start, end = first // 8, -1 if most is None else (first + most) // 8
        row = found(self._read("bits", checked(job_id), start, end))
        total, state, succeeded, failed, held = row
        # Of an expired job only the record remains.
        total = 0 if state == b"expired" else total
        return ImageBits(
            first=start * 8,
            stop=total if most is None else min(total, first + most),
            job_ended=JobState(state.decode()).ended,
            succeeded=succeeded,
            failed=failed,
            held=frozenset(int(index) for index in held),
        )

    def _statuses(self, job_id: str, bits: ImageBits, indices: Sequence[int]) -> Iterator[ImageStatus]:
        states = {index: bits.state_of(index) for index in indices}
        failures = self._read_failures(job_id, [i for i in indices if states[i] is ImageState.FAILED])
        for index in indices:
            yield ImageStatus(index=index, state=states[index], failure=failures.get(index))

    def _read_failures(self, job_id: str, indices: Sequence[int]) -> dict[int, ImageFailure | None]:
        """Read why images failed. Each image names its reason, and every reason is stored once."""
        chunks = sorted({index // rows.CHUNK for index in indices})
        reasons: dict[int, bytes] = {}
        for chunk in self._fields(job_id, "errors", [str(chunk) for chunk in chunks]):
            reasons |= rows.to_reasons(chunk)
        named = sorted({reasons[index] for index in indices if index in reasons})
        texts: dict[bytes, bytes | None] = dict(
            zip(named, self._fields(job_id, "reasons", named), strict=True)
        )
        return {index: rows.to_failure(texts.get(reasons.get(index, b""))) for index in indices}

    def _fields(self, job_id: str, name: str, fields: Sequence[str | bytes]) -> tuple[bytes | None, ...]:
        if not fields:
            return ()
        with redis_errors():
            values: Any = self._client.hmget(f"{ROOT}:job:{job_id}:{name}", [*fields])
        return tuple(values)


def checked(job_id: str) -> str:
    """Return a job id. Raises JobNotFound for any other text, so that none becomes part of a key."""
    if not is_job_id(job_id):
        raise JobNotFound
    return job_id


def found(answer: T | None) -> T:
    """Return an answer about a job. Raises JobNotFound if there is none."""
    if answer is None:
        raise JobNotFound
    return answer
