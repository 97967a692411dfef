"""Requests and responses of the API, as models: the one source of validation and shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.text import clean_name
from shared.jobs import ImageState, Job, JobState

#: Uploads listed at once, and missing ones named at once.
UPLOADS_PAGE = 1000
MISSING_NAMED = 100


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True)


# --- requests ---------------------------------------------------------------


class JobsQuery(_Request):
    """`GET /v1/jobs`"""

    cursor: str | None = Field(default=None, max_length=200)
    limit: int = Field(default=50, ge=1, le=100)


class ImagesQuery(_Request):
    """`GET /v1/jobs/{id}/images`"""

    state: ImageState | None = None
    cursor: int = Field(default=0, ge=0, lt=2**31)
    limit: int = Field(default=100, ge=1, le=1000)


class UploadsQuery(_Request):
    """`GET /v1/jobs/{id}/uploads`"""

    cursor: int = Field(default=0, ge=0, lt=2**31)
    limit: int = Field(default=UPLOADS_PAGE, ge=1, le=UPLOADS_PAGE)


class OutputQuery(_Request):
    """`GET /v1/jobs/{id}/images/{index}/{output}`"""

    stream: bool = Field(
        default=False, description="Send the file itself, never a redirect to the object store."
    )


class ArchiveQuery(_Request):
    """`GET /v1/jobs/{id}/archive`"""

    outputs: str | None = Field(default=None, max_length=200, description="Names, separated by commas.")


class EmptyQuery(_Request):
    """A request that takes no query."""


class AnnouncedUpload(_Request):
    """A photo that will be uploaded on its own."""

    name: Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(clean_name)]
    size: int | None = Field(
        default=None, ge=0, lt=2**63, description="Bytes; checked at the start if given."
    )
    content_type: str | None = Field(default=None, max_length=200)


class Announcement(_Request):
    """`POST /v1/jobs` as JSON: photos that follow one by one."""

    uploads: tuple[AnnouncedUpload, ...]
    options: dict[str, Any] = Field(default_factory=dict)


# --- responses --------------------------------------------------------------


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
    options: dict[str, Any]
    counts: CountsOut
    progress: float
    images_per_second: float | None
    eta_seconds: float | None
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
            options=job.options.to_json(),
            counts=CountsOut(
                total=counts.total, succeeded=counts.succeeded, failed=counts.failed, pending=counts.pending
            ),
            progress=round(job.progress, 6),
            images_per_second=_rounded(job.images_per_second),
            eta_seconds=_rounded(job.eta_seconds),
            links=links,
        )


class JobsOut(_Response):
    """A page of jobs, the newest first."""

    jobs: tuple[JobOut, ...]
    next_cursor: str | None


class AcceptedJobOut(JobOut):
    """A job just accepted from a form; `skipped` names entries of archives that are no photos."""

    skipped: tuple[str, ...] = ()


class UploadOut(_Response):
    """Where one announced photo is to be sent, and how."""

    index: int
    name: str
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


class FailureOut(_Response):
    """Why an image failed."""

    code: str
    message: str


class ImageOut(_Response):
    """An image of a job; `outputs` holds addresses by output, once it has succeeded."""

    index: int
    name: str
    state: ImageState
    error: FailureOut | None
    outputs: dict[str, str]


class ImagesOut(_Response):
    """A page of images, by index."""

    images: tuple[ImageOut, ...]
    next_cursor: str | None


class PartOut(_Response):
    """Whether one part behind the API can be reached."""

    ok: bool
    detail: str


class ReadinessOut(_Response):
    """Whether requests can be served; `slots` are the workers' children alive now."""

    ready: bool
    parts: dict[str, PartOut]
    slots: int | None


class IndexOut(_Response):
    """Where to go from here."""

    name: str = "Fathom"
    links: dict[str, str]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
