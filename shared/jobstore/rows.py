"""Map jobs, images and leases to the rows of the job store, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from fathom.options import Normalize, Options
from shared.errors import FathomError, JobStoreFull, RequestError
from shared.jobs.failure import decode_failure, encode_failure
from shared.jobs.job import (
    ENDS,
    RUNNING,
    TRANSITIONS,
    UNFINISHED,
    Cost,
    Counts,
    ImageFailure,
    Job,
    JobEvent,
    JobEvents,
    JobState,
    Lease,
    Phase,
    Quota,
    Range,
    ServedModel,
    Totals,
    Webhook,
    Workload,
    is_job_id,
    quota_error,
)
from shared.networks import MIDAS_SMALL
from shared.redis.scripts import Constants

#: Ended images are counted in buckets of so many seconds, and the rate is taken over the last
#: `WINDOW` seconds.
BUCKET, WINDOW = 5, 30
#: Images whose failures share a field.
CHUNK = 64
#: The scripts share these constants, and the sets of states.
CONSTANTS: Constants = {
    "BUCKET_MS": BUCKET * 1000,
    "WINDOW_MS": WINDOW * 1000,
    "CHUNK": CHUNK,
    "DEFAULT_MODEL": MIDAS_SMALL.name,
    "RUNNING": RUNNING,
    "UNFINISHED": UNFINISHED,
    "ENDS": ENDS,
    "IDLE": frozenset(TRANSITIONS["expire"]),
}

_ENTRY = re.compile(r"[0-9]{17}:(.*)")
_EVENT = re.compile(r"[0-9]{1,18}", re.ASCII)


# --- jobs -----------------------------------------------------------------------


def to_fields(job: Job) -> dict[str, str | int]:
    """Return the fields of a new job's hash; its counters and cursor start at 0."""
    two_passes = job.options.normalize is Normalize.JOB
    error = {"error": failure_json(job.error)} if job.error else {}
    webhook = {"webhook": json.dumps(job.webhook.to_json())} if job.webhook else {}
    trace = {"traceparent": job.traceparent} if job.traceparent else {}
    return {
        **error,
        **webhook,
        **trace,
        "model": job.model,
        "state": job.state,
        "phase": Phase.MEASURE if two_passes else Phase.RENDER,
        "options": json.dumps(job.options.to_json()),
        "total": job.counts.total,
        "created_at": repr(job.created_at),
        "weight": repr(job.weight),
        "measure_cost": repr(job.cost.measure),
        "render_cost": repr(job.cost.render),
        "owner": job.owner,
        "bytes": job.bytes,
        "urgent": int(job.urgent),
        "title": job.title,
        "gathered": int(job.gathered),
    }


def flatten(fields: Mapping[str, str | int]) -> list[str | int]:
    """Return fields and values as one list, as a script takes them."""
    return [item for pair in fields.items() for item in pair]


def to_restored_fields(job: Job) -> dict[str, str | int]:
    """Return the fields of a restored job's hash; the job may have ended."""
    times = {"started_at": job.started_at, "ended_at": job.ended_at if job.state.ended else None}
    return to_fields(job) | {name: round(at * 1000) for name, at in times.items() if at is not None}


def to_job(row: Sequence[Any]) -> Job:
    """Make a job from a script's snapshot: its id, its hash, its rate's buckets and the server's time."""
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
        cost=_to_cost(fields),
        owner=fields["owner"],
        bytes=int(fields["bytes"]),
        urgent=fields["urgent"] == "1",
        error=to_failure(fields.get("error")),
        title=fields["title"],
        gathered=fields["gathered"] == "1",
        webhook=_to_webhook(fields.get("webhook")),
        traceparent=fields.get("traceparent"),
    )


def rate(buckets: Mapping[int, int], now: float, started: float | None) -> float | None:
    """Return how many images ended per second, of late; None if none did.

    `buckets` counts ended images by the number of their bucket. The time counts from the first bucket,
    or from the job's start if that is later, so that neither a new job nor one that was paused looks slow.
    Less than a second counts as one.
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


def _to_cost(fields: Mapping[str, str]) -> Cost:
    """Read what an image costs; rows of earlier versions do not say."""
    costs = {name: float(fields.get(f"{name}_cost", 1.0)) for name in ("measure", "render")}
    return Cost(**costs)


def _to_options(text: str | bytes) -> Options:
    return Options.from_record(json.loads(text))


def _to_webhook(text: str | None) -> Webhook | None:
    return None if text is None else Webhook.from_json(json.loads(text))


def _text_pairs(flat: Sequence[bytes]) -> dict[str, str]:
    return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}


def _buckets(flat: Sequence[bytes]) -> dict[int, int]:
    return {int(flat[i]): int(flat[i + 1]) for i in range(0, len(flat), 2)}


def _seconds(milliseconds: str | None) -> float | None:
    return None if milliseconds is None else int(milliseconds) / 1000


# --- the list of jobs -------------------------------------------------------------


def to_entry(job: Job) -> str:
    """Return a job's entry in the list. Entries sort by creation and are never equal."""
    return f"{int(job.created_at * 1_000_000):017d}:{job.id}"


def checked_entry(cursor: str) -> str:
    """Return a cursor of the list. Raises RequestError if the text is none."""
    match = _ENTRY.fullmatch(cursor)
    if match is None or not is_job_id(match[1]):
        raise RequestError("The cursor is not one that a list of jobs gave out.")
    return cursor


# --- leases and failures ------------------------------------------------------------


def to_lease(row: Sequence[Any]) -> Lease:
    """Make a lease from the answer of the lease script."""
    lease, job, phase, options, low, high, images, traceparent, attempts, cost, owners = row
    rendering = phase.decode() == Phase.RENDER
    return Lease(
        id=lease.decode(),
        job_id=job.decode(),
        indices=tuple(int(image) for image in images),
        options=_to_options(options),
        phase=Phase(phase.decode()),
        range=Range(low=float(low), high=float(high)) if rendering and low else None,
        cost=float(cost),
        traceparent=traceparent.decode() or None,
        attempts=tuple(int(charged or 0) for charged in attempts),
        owners=max(1, int(owners)),
    )


def range_ends(common: Range | None) -> tuple[str, str]:
    """Return the ends of a range in full precision, as the scripts take them; '' without a range."""
    return (repr(float(common.low)), repr(float(common.high))) if common else ("", "")


def to_state(answer: bytes | None) -> JobState | None:
    return None if answer is None else JobState(answer.decode())


def failure_json(failure: ImageFailure) -> str:
    return encode_failure(failure).decode()


def to_failure(text: bytes | str | None) -> ImageFailure | None:
    return None if text is None else decode_failure(text)


def to_reasons(chunk: bytes | None) -> dict[int, bytes]:
    """Return by image the reasons that `write_error` stored for a chunk of images."""
    pairs = (pair.split(b":") for pair in (chunk or b"").split())
    return {int(index): reason for index, reason in pairs}


# --- what may be accepted, and all jobs together ----------------------------------


def quota_json(quota: Quota) -> str:
    return json.dumps({name: bound for name, bound in asdict(quota).items() if bound is not None})


def to_refusal(row: Sequence[Any]) -> FathomError:
    """Make the error for a refusal: `memory`, or a bound and what is used of it and added to it."""
    kind = row[0].decode()
    return JobStoreFull() if kind == "memory" else quota_error(kind, *map(int, row[1:]))


def to_totals(row: Sequence[Any]) -> Totals:
    """Make totals from a script's answer: counters, leases, workers and their slots."""
    counters = {name: int(value) for name, value in _text_pairs(row[0]).items()}
    return Totals(
        jobs={JobState(name): value for name, value in _below("state:", counters).items() if value},
        unfinished_images=counters.get("images", 0),
        leases=row[1],
        outcomes=_below("outcome:", counters),
        workers={name: int(slots) for name, slots in _text_pairs(row[2]).items()},
    )


def _below(prefix: str, counters: Mapping[str, int]) -> dict[str, int]:
    return {name[len(prefix) :]: value for name, value in counters.items() if name.startswith(prefix)}


# --- workers ------------------------------------------------------------------------


def models_text(models: Mapping[str, float]) -> str:
    """Return the networks that a worker serves, and their costs, as one text."""
    return " ".join(f"{name}={cost!r}" for name, cost in models.items())


def to_served(rows: Iterable[Sequence[Any]]) -> dict[str, ServedModel]:
    """Make what living workers serve, from each one's slots and networks."""
    served: dict[str, ServedModel] = {}
    for slots, text in rows:
        for entry in text.decode().split():
            name, _, cost = entry.rpartition("=")
            known = served.get(name, ServedModel(cost=float(cost)))
            served[name] = replace(known, slots=known.slots + slots)
    return served


def to_workload(row: Sequence[Any]) -> dict[str, Workload]:
    """Make the workload from jobs there are, jobs looked at, and a network, images and work for each network.

    If not all jobs were looked at, it is scaled up: they are in the order of their ids, which are random.
    """
    there, seen, *flat = row
    share = seen / there if seen < there else 1.0
    return {
        flat[i].decode(): Workload(
            images=round(flat[i + 1] / share), work=round(float(flat[i + 2]) / share, 6)
        )
        for i in range(0, len(flat), 3)
    }


# --- events -----------------------------------------------------------------------


def to_events(row: Sequence[Any], after: str | None) -> JobEvents:
    """Make events from a script's answer: the number before the first ever, the last number, and the entries.

    They are complete if `after` is an event's id and none after it is missing.
    """
    before, last = int(row[0]), int(row[1])
    given = before if after is None else event_number(after)
    events = tuple(_to_event(*entry) for entry in row[2])
    first = int(events[0].id) if events else last + 1
    return JobEvents(
        events=events, complete=given is not None and before <= given <= last and first == given + 1
    )


def event_number(text: str) -> int | None:
    """Return the number of an event, or None if no event can have this id."""
    return int(text) if _EVENT.fullmatch(text) else None


def _to_event(number: bytes, flat: Sequence[bytes]) -> JobEvent:
    fields = _text_pairs(flat)
    index = fields.get("i")
    return JobEvent(
        id=number.decode().partition("-")[0],
        state=fields["s"],
        index=None if index is None else int(index),
    )
