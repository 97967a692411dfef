"""Answers of the API, as models: the one source of their shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, ConfigDict

from fathom.options import Options
from shared.jobs.job import ImageFailure, ImageState, Job, JobState, WebhookEvent
from shared.webhook_messages import Delivery, DeliveryState

#: Missing uploads named at once.
MISSING_NAMED = 100


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


class FieldError(_Response):
    """What is wrong with one field of a request."""

    field: str
    message: str


class Problem(BaseModel):
    """An error (RFC 9457); `code` is stable, `detail` is for a person. More members may follow."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    request_id: str


class FailureOut(_Response):
    """Why an image failed, or a job as a whole."""

    code: str
    message: str

    @classmethod
    def of(cls, failure: ImageFailure | None) -> FailureOut | None:
        return None if failure is None else cls(code=failure.code, message=failure.message)


class CountsOut(_Response):
    """Images of a job by outcome."""

    total: int
    succeeded: int
    failed: int
    pending: int


class JobOut(_Response):
    """A job, as every client sees it. Times are RFC 3339, in UTC."""

    id: str
    state: JobState
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    title: str
    weight: float
    options: Options
    counts: CountsOut
    progress: float
    images_per_second: float | None
    eta_seconds: float | None
    #: Why the job as a whole failed, if it did before it had images.
    error: FailureOut | None
    links: dict[str, str]

    @classmethod
    def of(cls, job: Job, links: dict[str, str]) -> Self:
        """Return a job as clients see it; `links` are addresses by name."""
        counts = job.counts
        return cls(
            id=job.id,
            state=job.state,
            created_at=_moment(job.created_at),
            started_at=None if job.started_at is None else _moment(job.started_at),
            ended_at=None if job.ended_at is None else _moment(job.ended_at),
            title=job.title,
            weight=job.weight,
            options=job.options,
            counts=CountsOut(
                total=counts.total, succeeded=counts.succeeded, failed=counts.failed, pending=counts.pending
            ),
            progress=round(job.progress, 6),
            images_per_second=_rounded(job.images_per_second),
            eta_seconds=_rounded(job.eta_seconds),
            error=FailureOut.of(job.error),
            links=links,
        )


class JobsOut(_Response):
    """A page of jobs, the newest first."""

    jobs: tuple[JobOut, ...]
    next_cursor: str | None


class AcceptedJobOut(JobOut):
    """A job just accepted from a form; `skipped` names entries of archives that are no photos."""

    skipped: tuple[str, ...] = ()


class SkippedOut(_Response):
    """Files that came with a job's photos and are none; `videos` and `sidecars` are there if any are."""

    count: int
    videos: int | None = None
    sidecars: int | None = None
    #: The first hundred.
    names: tuple[str, ...]


class TryOut(_Response):
    """One try to deliver a message; `status` is that of the answer, `error` says why there was none."""

    at: datetime
    status: int | None
    error: str | None


class DeliveryOut(_Response):
    """A message to a webhook; `id` is its `webhook-id`."""

    id: str
    event: WebhookEvent
    state: DeliveryState
    attempts: int
    next_at: datetime | None
    tries: tuple[TryOut, ...]

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        tries = (TryOut(at=_moment(t.at), status=t.status, error=t.error) for t in delivery.tries)
        return cls(
            id=delivery.id,
            event=delivery.event,
            state=delivery.state,
            attempts=delivery.attempts,
            next_at=None if delivery.next_at is None else _moment(delivery.next_at),
            tries=tuple(tries),
        )


class DeliveriesOut(_Response):
    """What a job's webhook was told, and is to be told."""

    deliveries: tuple[DeliveryOut, ...]


class WebhookSecretsOut(_Response):
    """Secrets as Standard Webhooks has them: `whsec_` and Base64."""

    secrets: tuple[str, ...]


class UploadOut(_Response):
    """Where one announced photo is to be sent, and how."""

    index: int
    name: str
    #: Bytes as announced; by name and size a client finds the file again.
    size: int | None
    url: str
    method: str = "PUT"


class UploadsOut(_Response):
    """A page of the uploads not yet stored."""

    uploads: tuple[UploadOut, ...]
    next_cursor: str | None


class AnnouncedJobOut(JobOut):
    """A job that waits for its uploads, and the first of them."""

    uploads: tuple[UploadOut, ...]
    next_cursor: str | None


class ImageOut(_Response):
    """An image of a job; `outputs` holds addresses by output, once it has succeeded."""

    index: int
    name: str
    state: ImageState
    error: FailureOut | None
    outputs: dict[str, str]


class ImageEventOut(_Response):
    """An event `image` of a stream: an image ended, or is to be processed again."""

    index: int
    state: ImageState
    name: str | None


class ImagesOut(_Response):
    """A page of images, by index."""

    images: tuple[ImageOut, ...]
    next_cursor: str | None


class PartOut(_Response):
    """Whether one part behind the API can be reached."""

    ok: bool
    detail: str


class ReadinessOut(_Response):
    """Whether requests can be served; `slots` are the workers' children alive now.

    `degraded` names what is amiss though they can, each with a sentence for a person.
    """

    ready: bool
    degraded: dict[str, str]
    parts: dict[str, PartOut]
    slots: int | None


class SessionOut(_Response):
    """Who asks: an API key, or nobody in particular while no keys are in force."""

    anonymous: bool
    key_id: str | None
    name: str | None
    scopes: tuple[str, ...]


class IndexOut(_Response):
    """Where to go from here."""

    name: str = "Fathom"
    links: dict[str, str]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
