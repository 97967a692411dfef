"""A job in the object store, from which an empty Redis can be filled again.

`job.json` is the job as it was accepted, and `result.json` is its end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Self

from fathom.options import Options
from shared.jobs.cost import cost_of
from shared.jobs.job import ANYONE, Cost, Counts, ImageFailure, Job, JobState, Phase, Webhook
from shared.observability.tracing import read_traceparent


def encode_job(job: Job) -> bytes:
    """Return as JSON what never changes about a job, and the state it was accepted in."""
    record = {
        "id": job.id,
        "state": job.state,
        "total": job.counts.total,
        "options": job.options.to_json(),
        "created_at": job.created_at,
        "weight": job.weight,
        "cost": {"measure": job.cost.measure, "render": job.cost.render},
        "owner": job.owner,
        "bytes": job.bytes,
        "urgent": job.urgent,
        "title": job.title,
        "gathered": job.gathered,
        "webhook": job.webhook.to_json() if job.webhook else None,
        "traceparent": job.traceparent,
    }
    return json.dumps(record).encode()


def decode_job(data: bytes) -> Job:
    """Return the job as it was accepted. Records of earlier versions lack some fields.

    Raises KeyError, TypeError or ValueError if the data is no record of a job; OptionsRefused, a ValueError,
    if its options are no longer known.
    """
    record = json.loads(data)
    return new_job(
        record["id"],
        total=record["total"],
        options=Options.from_record(record["options"]),
        state=JobState(record.get("state", JobState.QUEUED)),
        created_at=record["created_at"],
        weight=record.get("weight", 1.0),
        cost=_decode_cost(record.get("cost")),
        owner=record.get("owner", ANYONE),
        bytes=record.get("bytes", 0),
        urgent=record.get("urgent", False),
        title=record.get("title", ""),
        gathered=record.get("gathered", False),
        webhook=Webhook.from_json(record["webhook"]) if record.get("webhook") else None,
        traceparent=read_traceparent(record.get("traceparent")),
    )


def _decode_cost(record: dict[str, float] | None) -> Cost:
    return Cost() if record is None else Cost(measure=record["measure"], render=record["render"])


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """How a job ended. Times are seconds since the epoch, by the job store's clock."""

    job_id: str
    state: JobState
    counts: Counts
    created_at: float
    started_at: float | None
    ended_at: float | None
    error: ImageFailure | None = None
    #: How often the job was retried before it came to this end.
    retries: int = 0

    @classmethod
    def of(
        cls,
        job: Job,
        state: JobState,
        *,
        ended_at: float,
        error: ImageFailure | None = None,
        retries: int = 0,
    ) -> Self:
        return cls(
            job_id=job.id,
            state=state,
            counts=job.counts,
            created_at=job.created_at,
            started_at=job.started_at,
            ended_at=ended_at,
            error=error,
            retries=retries,
        )

    def applied_to(self, job: Job) -> Job:
        """Return a job as it was accepted, with this end."""
        return replace(
            job,
            state=self.state,
            counts=replace(job.counts, total=self.counts.total),
            phase=Phase.RENDER,
            started_at=self.started_at,
            ended_at=self.ended_at,
            error=self.error,
        )


def encode_result(result: JobResult) -> bytes:
    """Return `result.json`: the job's commit point."""
    counts, error = result.counts, result.error
    record: dict[str, Any] = {
        "id": result.job_id,
        "state": result.state,
        "created_at": result.created_at,
        "started_at": result.started_at,
        "ended_at": result.ended_at,
        "counts": {"total": counts.total, "succeeded": counts.succeeded, "failed": counts.failed},
        "error": {"code": error.code, "message": error.message} if error else None,
        "retries": result.retries,
    }
    return json.dumps(record).encode()


def decode_result(data: bytes) -> JobResult:
    """Read what `encode_result` wrote; results of earlier versions lack some fields."""
    record = json.loads(data)
    error = record.get("error")
    return JobResult(
        job_id=record["id"],
        state=JobState(record["state"]),
        counts=Counts(**record["counts"]),
        created_at=record["created_at"],
        started_at=record.get("started_at"),
        ended_at=record.get("ended_at"),
        error=ImageFailure(**error) if error else None,
        retries=record.get("retries", 0),
    )


def new_job(
    job_id: str,
    *,
    total: int,
    options: Options,
    state: JobState,
    created_at: float,
    weight: float = 1.0,
    cost: Cost | None = None,
    model_cost: float = 1.0,
    owner: str = ANYONE,
    bytes: int = 0,
    urgent: bool = False,
    title: str = "",
    gathered: bool = False,
    webhook: Webhook | None = None,
    traceparent: str | None = None,
) -> Job:
    """Return a job of which nothing is done. If it is normalised as a whole, it is measured first.

    Its images cost what its options and its network do, if `cost` says nothing else.
    """
    return Job(
        id=job_id,
        state=state,
        options=options,
        counts=Counts(total=total),
        created_at=created_at,
        phase=Phase.MEASURE if options.normalize == "job" else Phase.RENDER,
        weight=weight,
        cost=cost or cost_of(options, model_cost),
        owner=owner,
        bytes=bytes,
        urgent=urgent,
        title=title,
        gathered=gathered,
        webhook=webhook,
        traceparent=traceparent,
    )
