"""Models of the API's answers: the one source of their shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self

from pydantic import BaseModel, ConfigDict

from api.schema.job_options import ShownOptions
from shared.jobs.job import ImageFailure, ImageState, Job, JobState, WebhookEvent
from shared.networks import Tier
from shared.webhook_messages import Delivery, DeliveryState

#: The most missing uploads that an error names.
MISSING_NAMED = 100


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


class FieldError(_Response):
    """What is wrong with one field of a request."""

    field: str
    message: str


class Problem(BaseModel):
    """An error (RFC 9457). `code` is stable, `detail` is for people. There may be more members."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    request_id: str


class FailureOut(_Response):
    """Why an image failed, or a whole job."""

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
    options: ShownOptions
    counts: CountsOut
    progress: float
    images_per_second: float | None
    eta_seconds: float | None
    #: Why the whole job failed, if it failed before it had images.
    error: FailureOut | None
    links: dict[str, str]

    @classmethod
    def of(cls, job: Job, links: dict[str, str]) -> Self:
        """Return a job as clients see it, with its links."""
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
    """A job just accepted from a form. `skipped` names files in its archives that are not photos."""

    skipped: tuple[str, ...] = ()


class ModelOut(_Response):
    """A network. `relative_cost` is how many times as long a prediction takes as one of `midas_small`."""

    name: str
    title: str
    tier: Tier | None
    description: str
    relative_cost: float
    megabytes: int | None
    parameters: int | None
    code_licence: str | None
    weights_licence: str | None
    #: What else to know before using results, empty for nothing.
    licence_note: str
    #: Whether living workers serve it, and have its weights.
    available: bool
    slots: int
    #: Whether jobs that name no model get it.
    default: bool


class ModelsOut(_Response):
    """The networks that jobs may name."""

    models: tuple[ModelOut, ...]


class ModelLoadOut(_Response):
    """What is left to do for the jobs of one network, and the children of workers that serve it."""

    images: int
    work: float
    slots: int


class LoadOut(_Response):
    """What is left to do for jobs that run, or will once their images are gathered.

    `images` have not ended, those in hand included. `work` is what they cost, where a plain heatmap costs 1.
    `slots` are the children of all living workers. `by_model` has every official network, all that are
    served, and all that have work.
    """

    images: int
    work: float
    slots: int
    by_model: dict[str, ModelLoadOut]


class SkippedOut(_Response):
    """Files that came with a job and are not photos. `videos` and `sidecars` are present if there are any."""

    count: int
    videos: int | None = None
    sidecars: int | None = None
    #: The first hundred.
    names: tuple[str, ...]


class TryOut(_Response):
    """One try to deliver a message: the `status` of the answer, or the `error` if there was none."""

    at: datetime
    status: int | None
    error: str | None


class DeliveryOut(_Response):
    """A message to a webhook. `id` is its `webhook-id`."""

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
    """The messages to a job's webhook, sent and pending."""

    deliveries: tuple[DeliveryOut, ...]


class WebhookSecretsOut(_Response):
    """Secrets in the form of Standard Webhooks: `whsec_` and Base64."""

    secrets: tuple[str, ...]


class UploadOut(_Response):
    """Where and how to send one announced photo."""

    index: int
    name: str
    #: Bytes as announced. A client finds the file again by its name and size.
    size: int | None
    url: str
    method: str = "PUT"


class UploadsOut(_Response):
    """A page of the uploads that are not stored yet."""

    uploads: tuple[UploadOut, ...]
    next_cursor: str | None


class AnnouncedJobOut(JobOut):
    """A job that waits for its uploads, and the first page of them."""

    uploads: tuple[UploadOut, ...]
    next_cursor: str | None


class ImageOut(_Response):
    """An image of a job. Once it has succeeded, `outputs` holds the address of each output."""

    index: int
    name: str
    state: ImageState
    error: FailureOut | None
    outputs: dict[str, str]


class ImageEventOut(_Response):
    """An `image` event of a stream: an image has ended or will be tried again."""

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
    """Whether requests can be served. `slots` is the number of live children of all workers.

    `degraded` names faults that do not keep the API from serving, each with a sentence for people.
    """

    ready: bool
    degraded: dict[str, str]
    parts: dict[str, PartOut]
    slots: int | None


class SessionOut(_Response):
    """The caller: an API key, or `anonymous` while no keys are in force."""

    anonymous: bool
    key_id: str | None
    name: str | None
    scopes: tuple[str, ...]


class IndexOut(_Response):
    """Where to start."""

    name: str = "Fathom"
    links: dict[str, str]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
