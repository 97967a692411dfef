"""Models of requests: the one source of their validation and of their description."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.dataclasses import dataclass

from api.schema.clean_name import clean_name
from api.schema.job_options import ReadOptions, query_fields, read_query_options
from fathom.options import HeatmapFormat, Options, Output
from shared.jobs.job import ImageState, WebhookEvent

#: Uploads listed at once.
UPLOADS_PAGE = 1000


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# --- queries ----------------------------------------------------------------


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
    """A request without a query."""


class EventsQuery(_Request):
    """`GET /v1/jobs/{id}/events`"""

    after: str | None = Field(
        default=None, max_length=40, description="As `Last-Event-ID`, for clients that cannot send it."
    )


class OnePhotoQuery(_Request):
    """`POST /v1/depth`: the output to answer with, and the options of a job for one photo."""

    output: Output = Field(default=Output.HEATMAP, description="The output to answer with.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_options(cls, given: dict[str, str]) -> dict[str, str]:
        """Refuse an unknown option of a group with the names of the known ones, as a job does."""
        known = {str(each.alias) for each in cls.model_fields.values()}
        groups = {group for group, dot, _ in (name.partition(".") for name in known) if dot}
        unknown = {name: value for name, value in given.items() if name not in known and "." in name}
        asked = {name.partition(".")[0] for name in unknown} & groups
        if asked:
            read_query_options(unknown, outputs=sorted(asked))
        return given

    def options(self, heatmap_format: HeatmapFormat) -> Options:
        """Return the options for the output, with a format of the heatmap if none was given.

        Raises InvalidOptions.
        """
        given = self.model_dump(by_alias=True, exclude_unset=True, exclude={"output"})
        return read_query_options({"heatmap_format": heatmap_format} | given, outputs=[self.output])


#: With each option of a job as a parameter of its name.
DepthQuery = create_model(
    "DepthQuery", __base__=OnePhotoQuery, __doc__=OnePhotoQuery.__doc__, **query_fields()
)


class DepthForm(_Request):
    """The form of `POST /v1/depth`, which has no fields beside its file."""


# --- bodies -----------------------------------------------------------------


class GivenWebhook(_Request):
    """The address that gets signed messages about a job (Standard Webhooks)."""

    url: str = Field(min_length=1, max_length=4096, description="http or https, at a public address.")
    events: tuple[WebhookEvent, ...] = Field(
        default=(WebhookEvent.ENDED,), min_length=1, max_length=10, description="The events to send."
    )


class JobRequest(_Request):
    """The fields of every new job, however its photos come. In a form, each is a part of its own."""

    # Pydantic would describe the default with the groups of all outputs, which no request may hold.
    options: ReadOptions = Field(default=Options(), json_schema_extra={"default": {}})
    title: Annotated[str, Field(max_length=200), AfterValidator(clean_name)] = Field(
        default="", description="A name for the job, such as the album's."
    )
    weight: float = Field(
        default=1.0,
        ge=0.1,
        le=10.0,
        allow_inf_nan=False,
        description="The job's share of its owner's part of the workers, beside that of other jobs.",
    )
    webhook: GivenWebhook | None = None


# A million models would take ten times the memory of a million dataclasses.
@dataclass(
    frozen=True,
    slots=True,
    kw_only=True,
    config=ConfigDict(extra="forbid", json_schema_extra={"required": ["name", "size"]}),
)
class AnnouncedUpload:
    """A photo that will be uploaded separately."""

    name: Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(clean_name)]
    #: Required; without it, the error has a code of its own.
    size: Annotated[
        int | None,
        Field(ge=0, lt=2**63, description="Bytes: the upload must have exactly this size."),
    ] = None
    content_type: Annotated[str | None, Field(max_length=200)] = None


class Announcement(JobRequest):
    """`POST /v1/jobs` as JSON: photos that will be uploaded one by one."""

    uploads: tuple[AnnouncedUpload, ...]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GivenSource:
    """The address of a photo, or a prefix that stands for all photos below it: `url`, `s3` or `s3_prefix`."""

    url: Annotated[str | None, Field(min_length=1, max_length=4096)] = None
    s3: Annotated[str | None, Field(min_length=1, max_length=4096, description="s3://bucket/key")] = None
    s3_prefix: Annotated[
        str | None, Field(min_length=1, max_length=4096, description="s3://bucket/prefix/")
    ] = None
    name: Annotated[
        Annotated[str, AfterValidator(clean_name)] | None,
        Field(min_length=1, max_length=4096, description="By default the last part of the address."),
    ] = None


class Sourcing(JobRequest):
    """`POST /v1/jobs` as JSON: photos that the workers read from where they are."""

    sources: tuple[GivenSource, ...]
