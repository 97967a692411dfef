"""Accept a job: from a form with photos and archives, or announced, with its uploads to follow.

The order of the steps makes the answer 202 a promise: photos, manifest and `job.json` are in the
object store before the job is recorded, and it is recorded before the client gets the answer. If a step
fails, nothing of the job is left.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from api.middleware.tracing import note_job, traceparent
from api.schema.request_models import AnnouncedUpload, Announcement, JobRequest
from api.services.backend import Backend
from api.services.job_lookup import find_job
from api.services.models import choose_model
from api.submit.form import Form
from api.submit.idempotency import Attempt
from api.submit.input_writer import InputWriter
from api.submit.multipart import FormPart
from api.submit.webhook_check import check_webhook
from shared.chores.enqueue import add_chores
from shared.errors import (
    JobNotFound,
    JobRecovering,
    NoImages,
    ObjectStoreDenied,
    SizeMissing,
    TooLarge,
    Unavailable,
)
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState, Quota, Source, new_job_id
from shared.jobs.manifest import ManifestWriter
from shared.jobs.record import encode_job, new_job

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Submitter:
    """The owner of a new job, and the quota that it must fit."""

    owner: str
    quota: Quota


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A job just accepted, and the names of files in its archives that are no photos."""

    job: Job
    skipped: tuple[str, ...] = ()


def submit_form(
    backend: Backend, parts: Iterable[FormPart], submitter: Submitter, attempt: Attempt
) -> Accepted:
    """Store the photos of a form while they arrive, and queue the job.

    Raises NoImages, InvalidOptions, InvalidArchive, TooLarge, InvalidRequest, QuotaExceeded,
    IdempotencyKeyInUse, and what the stores raise; nothing of the job is left then.
    """
    backend.jobs.admit(submitter.owner, 1, quota=submitter.quota)
    job_id = new_job_id()
    with discard_on_failure(backend, job_id):
        form, sources = _store_form(backend, job_id, parts)
        size = form.inputs.label_bytes + sum(source.size or 0 for source in sources)
        state = JobState.UPLOADING if form.has_archives else JobState.QUEUED
        job = describe(
            backend,
            job_id,
            submitter,
            form.job_request(),
            state=state,
            total=len(sources),
            bytes=size,
            gathered=form.has_archives,
        )
        with ManifestWriter() as manifest:
            for source in sources:
                manifest.add(source)
            if form.skipped.count:
                backend.objects.put(object_keys.skipped(job_id), form.skipped.to_json())
            attempt.seal(job_id)
            record(backend, job, manifest, submitter.quota)
    if not job.gathered:
        wake_workers(backend, job)
    return Accepted(job=job, skipped=tuple(form.skipped.names))


def _store_form(backend: Backend, job_id: str, parts: Iterable[FormPart]) -> tuple[Form, tuple[Source, ...]]:
    """Store the files of a form while its parts arrive; return the form and the photos in it."""
    limit = backend.settings.max_job_images
    with InputWriter(backend.objects, job_id, backend.senders, max_images=limit) as inputs:
        form = Form(inputs=inputs, settings=backend.settings)
        for part in parts:
            form.take(part)
        sources = inputs.finish()
    if not sources:
        raise form.no_images()
    return form, sources


def announce(
    backend: Backend, announcement: Announcement, submitter: Submitter, attempt: Attempt
) -> Accepted:
    """Record a job that will wait for its uploads.

    Raises NoImages, SizeMissing, TooLarge, QuotaExceeded, IdempotencyKeyInUse, and what the stores raise.
    """
    uploads = announcement.uploads
    _check_sizes(uploads)
    if len(uploads) > backend.settings.max_job_images:
        raise TooLarge(f"A job holds at most {backend.settings.max_job_images} images.")
    backend.jobs.admit(submitter.owner, len(uploads), quota=submitter.quota)
    job_id = new_job_id()
    if not uploads:
        raise NoImages
    job = describe(
        backend,
        job_id,
        submitter,
        announcement,
        state=JobState.UPLOADING,
        total=len(uploads),
        bytes=sum(upload.size or 0 for upload in uploads),
    )
    with discard_on_failure(backend, job_id), ManifestWriter() as manifest:
        for index, upload in enumerate(uploads):
            manifest.add(Source(index=index, name=upload.name, size=upload.size))
        attempt.seal(job_id)
        record(backend, job, manifest, submitter.quota)
    return Accepted(job=job)


def _check_sizes(uploads: Sequence[AnnouncedUpload]) -> None:
    """Raise SizeMissing for the first upload without a size, which would have no bound."""
    for number, upload in enumerate(uploads):
        if upload.size is None:
            raise SizeMissing(
                f"uploads.{number} ({upload.name[:100]!r}): Its size in bytes is missing, and what may be "
                "stored is bounded."
            )


def record(backend: Backend, job: Job, manifest: ManifestWriter | None, quota: Quota) -> None:
    """Make a job durable: store its manifest and its `job.json`, add its chores, and record it.

    Chores are added before the record, so that no recorded job is forgotten; a worker that takes one
    up earlier waits for the record. If `manifest` is None, a worker will write it.
    """
    if manifest is not None:
        manifest.store(backend.objects, job.id)
    backend.objects.put(object_keys.job_record(job.id), encode_job(job), content_type="application/json")
    add_chores(job, backend.objects, backend.chores)
    backend.jobs.create(job, quota=quota)
    note_job(job)
    logger.info(
        "A job of %s images was accepted.", job.counts.total, extra={"action": "accept_job", "job": job.id}
    )


def is_recorded(backend: Backend, job_id: str) -> bool:
    """Return whether a job was accepted in full, even if its process died right afterwards.

    A job that was undone while the job store was away may have left its record, but no `job.json`.
    """
    try:
        find_job(backend, job_id)
    except JobRecovering:
        return True
    except JobNotFound:
        return False
    return backend.objects.exists(object_keys.job_record(job_id))


def wake_workers(backend: Backend, job: Job) -> None:
    """Publish tickets for a job. If that fails, the workers top the tickets up within seconds."""
    chunks = math.ceil(job.counts.pending / backend.settings.lease_images)
    try:
        served = backend.jobs.served_models().get(job.model)
        slots = 0 if served is None else served.slots
        backend.tickets.publish(min(chunks, max(1, 2 * slots)), job.model)
    except Unavailable as exc:
        logger.warning("No ticket was published: %s", exc.message, extra={"action": "wake_workers"})


def discard(backend: Backend, job_id: str) -> int:
    """Delete a job that was not accepted, and all its objects; return how many. May be repeated."""
    count = backend.controls.discard(job_id)
    backend.chores.forget(job_id)
    return count


def describe(
    backend: Backend,
    job_id: str,
    submitter: Submitter,
    request: JobRequest,
    *,
    state: JobState,
    total: int,
    bytes: int = 0,
    gathered: bool = False,
) -> Job:
    """Return the job that a request describes. Raises ModelUnavailable, WebhooksOff and InvalidWebhook."""
    chosen = choose_model(backend, request.options)
    return new_job(
        job_id,
        total=total,
        options=chosen.options,
        model_cost=chosen.cost,
        state=state,
        created_at=backend.jobs.now(),
        weight=request.weight,
        title=request.title,
        owner=submitter.owner,
        bytes=bytes,
        gathered=gathered,
        webhook=check_webhook(backend.settings, request.webhook),
        traceparent=traceparent(),
    )


@contextmanager
def discard_on_failure(backend: Backend, job_id: str) -> Iterator[None]:
    """Discard the job if the block fails, as far as the stores can be reached."""
    try:
        yield
    except BaseException:
        try:
            discard(backend, job_id)
        except (Unavailable, ObjectStoreDenied) as exc:
            logger.warning(
                "A job that was not accepted left objects behind: %s",
                exc.message,
                extra={"action": "discard_job", "job": job_id},
            )
        raise
