"""How jobs, images and leases are written in the job store, and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import RequestError
from shared.jobs import Counts, ImageFailure, ImageState, Job, JobState, Lease, Phase, Range, is_job_id
from shared.options import Normalize, Options

#: Ended images are counted into buckets of so many seconds, and the rate is that of the last
#: `WINDOW` seconds. `tally` of the scripts' prelude knows the same numbers.
BUCKET, WINDOW = 5, 30

_ENTRY = re.compile(r"[0-9]{17}:(.*)")
_SET_BYTE = re.compile(rb"[^\0]", re.DOTALL)


# --- jobs -----------------------------------------------------------------------


def to_fields(job: Job) -> dict[str, str | int]:
    """Return what the hash of a new job holds; its counters and cursor start at 0."""
    two_passes = job.options.normalize is Normalize.JOB
    return {
        "state": job.state,
        "phase": Phase.MEASURE if two_passes else Phase.RENDER,
        "options": json.dumps(job.options.to_json()),
        "total": job.counts.total,
        "created_at": repr(job.created_at),
        "weight": repr(job.weight),
    }


def to_job(row: Sequence[Any]) -> Job:
    """Make a job of a script's snapshot: id, its hash, its rate's buckets, the server's time."""
    fields = _text_pairs(row[1])
    state = JobState(fields["state"])
    started = _seconds(fields.get("started_at"))
    return Job(
        id=row[0].decode(),
        state=state,
        options=_to_options(fields["options"]),
        counts=_to_counts(fields),
        created_at=float(fields["created_at"]),
        phase=Phase(fields["phase"]),
        started_at=started,
        ended_at=_seconds(fields.get("ended_at")),
        images_per_second=None if state.ended else rate(_buckets(row[2]), row[3] / 1000, started),
        weight=float(fields["weight"]),
    )


def rate(buckets: Mapping[int, int], now: float, started: float | None) -> float | None:
    """Return images ended per second of late; None if none ended.

    `buckets` counts them by the number of the five seconds they ended in. The time counts
    from the first of them, and from the job's start at the earliest, so that neither a job
    that just began nor one that was paused looks slow; less than a second counts as one.
    """
    recent = {bucket: count for bucket, count in buckets.items() if bucket * BUCKET > now - WINDOW - BUCKET}
    if not recent:
        return None
    since = max(min(recent) * BUCKET, started or 0.0)
    return sum(recent.values()) / max(now - since, 1.0)


def _to_counts(fields: Mapping[str, str]) -> Counts:
    return Counts(
        total=int(fields["total"]),
        succeeded=int(fields["ok"]),
        failed=int(fields["bad"]),
        measured=int(fields["measured"]),
    )


def _to_options(text: str | bytes) -> Options:
    return Options.parse(json.loads(text))


def _text_pairs(flat: Sequence[bytes]) -> dict[str, str]:
    return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}


def _buckets(flat: Sequence[bytes]) -> dict[int, int]:
    return {int(flat[i]): int(flat[i + 1]) for i in range(0, len(flat), 2)}


def _seconds(milliseconds: str | None) -> float | None:
    return None if milliseconds is None else int(milliseconds) / 1000


# --- the list of jobs -------------------------------------------------------------


def to_entry(job: Job) -> str:
    """Return a job's entry in the list: entries sort by creation and never tie."""
    return f"{int(job.created_at * 1_000_000):017d}:{job.id}"


def checked_entry(cursor: str) -> str:
    """Return a cursor of the list if it is one; raises RequestError otherwise."""
    match = _ENTRY.fullmatch(cursor)
    if match is None or not is_job_id(match[1]):
        raise RequestError("The cursor is not one that a list of jobs gave out.")
    return cursor


# --- leases and failures ------------------------------------------------------------


def to_lease(row: Sequence[Any]) -> Lease:
    """Make a lease of what the lease script returns."""
    lease, job, phase, options, low, high, images = row
    rendering = phase.decode() == Phase.RENDER
    return Lease(
        id=lease.decode(),
        job_id=job.decode(),
        indices=tuple(int(image) for image in images),
        options=_to_options(options),
        phase=Phase(phase.decode()),
        range=Range(low=float(low), high=float(high)) if rendering and low else None,
    )


def to_state(answer: bytes | None) -> JobState | None:
    return None if answer is None else JobState(answer.decode())


def failure_json(failure: ImageFailure) -> str:
    return json.dumps({"code": failure.code, "message": failure.message}, ensure_ascii=False)


def to_failure(text: bytes | None) -> ImageFailure | None:
    return None if text is None else ImageFailure(**json.loads(text))


# --- bitmaps ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ImageBits:
    """The bitmaps of a job's images from index `first` (a multiple of 8) up to `stop`.

    Bytes beyond the end of a bitmap are zeros; the first image of a byte is its highest bit.
    """

    first: int
    stop: int
    #: Whether the job has ended, so that what has no outcome never will have one.
    job_ended: bool
    succeeded: bytes
    failed: bytes
    #: Images that are in a lease.
    held: frozenset[int]

    def state_of(self, index: int) -> ImageState:
        byte, mask = (index - self.first) // 8, 128 >> index % 8
        if self.succeeded[byte : byte + 1] and self.succeeded[byte] & mask:
            return ImageState.SUCCEEDED
        if self.failed[byte : byte + 1] and self.failed[byte] & mask:
            return ImageState.FAILED
        if self.job_ended:
            return ImageState.CANCELED
        return ImageState.PROCESSING if index in self.held else ImageState.PENDING

    def indices(self, state: ImageState) -> Iterator[int]:
        """Yield the images in a state, in order, without a look at each of the others."""
        bits = self._bits(state).to_bytes(self._length, "big")
        for match in _SET_BYTE.finditer(bits):
            start, byte = self.first + 8 * match.start(), match[0][0]
            yield from (start + bit for bit in range(8) if byte & 128 >> bit)

    @property
    def _length(self) -> int:
        return max(self.stop - self.first + 7, 0) // 8

    def _bits(self, state: ImageState) -> int:
        """Return the images in a state as one number, the first image being the highest bit."""
        succeeded, failed = self._number(self.succeeded), self._number(self.failed)
        if state is ImageState.SUCCEEDED:
            return succeeded
        if state is ImageState.FAILED:
            return failed
        spare = 8 * self._length - max(self.stop - self.first, 0)
        rest = ((1 << 8 * self._length) - 1) >> spare << spare & ~succeeded & ~failed
        if self.job_ended:
            return rest if state is ImageState.CANCELED else 0
        held = self._held_number() & rest
        return {ImageState.PROCESSING: held, ImageState.PENDING: rest & ~held}.get(state, 0)

    def _number(self, bitmap: bytes) -> int:
        return int.from_bytes(bitmap[: self._length].ljust(self._length, b"\0"), "big")

    def _held_number(self) -> int:
        bitmap = bytearray(self._length)
        for index in self.held:
            if self.first <= index < self.stop:
                bitmap[(index - self.first) // 8] |= 128 >> index % 8
        return int.from_bytes(bitmap, "big")
