"""Accepting jobs: from a form with photos and archives, or announced for uploads one by one.

A job is accepted in an order that makes the answer 202 a promise: photos, manifest and
`job.json` are in the object store before the job is recorded, and it is recorded before
anybody is told. What fails on the way leaves nothing behind.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from api.backend import Backend
from api.errors import InvalidRequest
from api.idempotency import Attempt
from api.intake import Intake
from api.multipart import FormField, FormFile, FormPart, FormShape
from api.requests import Announcement, Submission
from api.spool import Spool
from api.subscription import check_webhook
from shared import layout
from shared.archives import ArchiveLimits, SkippedEntry, survey
from shared.chore_needs import add_chores
from shared.errors import InvalidOptions, JobNotFound, NoImages, ObjectStoreDenied, TooLarge, Unavailable
from shared.job_record import encode_job, new_job
from shared.jobs import Job, JobState, Quota, Source, new_job_id
from shared.manifest import ManifestWriter
from shared.settings import Settings
from shared.skipped import Skipped

logger = logging.getLogger(__name__)

#: Archives in one form.
MAX_ARCHIVES = 16
_MAX_FIELD_BYTES = 64 * 2**10
#: Parts of a form that are no files.
_FIELDS = ("options", "title", "weight", "webhook")
#: How archives within archives are called, which nobody opens.
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")


@dataclass(frozen=True, kw_only=True)
class Account:
    """On whose account a job is accepted, and within which bounds."""

    owner: str
    quota: Quota


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A job just accepted, and names in its archives that are no photos."""

    job: Job
    skipped: tuple[str, ...] = ()


def form_shape(settings: Settings, attempt: Attempt) -> FormShape:
    """Return what the form of a submission may hold.

    Of a photo that is too large one byte too many is kept: enough for the worker to
    fail that image alone as too large, as it does however the photo came in. Of a form that
    was sent before, nothing is kept.
    """
    files = {"images": image_cap(settings), "archive": settings.max_request_bytes}
    if attempt.is_repeated:
        files = dict.fromkeys(files, 0)
    return FormShape(files=files, fields=dict.fromkeys(_FIELDS, _MAX_FIELD_BYTES), hashed=attempt.has_key)


def image_cap(settings: Settings) -> int:
    """Return how many bytes of one photo are stored."""
    return settings.max_image_bytes + 1


def submit_form(backend: Backend, parts: Iterable[FormPart], account: Account, attempt: Attempt) -> Accepted:
    """Store the photos of a form as they come and queue the job.

    Raises NoImages, InvalidOptions, InvalidArchive, TooLarge, InvalidRequest, QuotaExceeded,
    IdempotencyKeyInUse, and what the stores raise; then nothing of the job is left.
    """
    backend.jobs.admit(account.owner, 1, quota=account.quota)
    job_id = new_job_id()
    with undone_on_failure(backend, job_id):
        with Intake(
            backend.objects, job_id, backend.senders, max_images=backend.settings.max_job_images
        ) as intake:
            form = _Form(intake=intake, settings=backend.settings)
            for part in parts:
                form.take(part)
            sources = intake.finish()
        if not sources:
            raise form.no_images()
        state = JobState.UPLOADING if form.has_archives else JobState.QUEUED
        job = describe(
            backend,
            job_id,
            account,
            form.submission(),
            state=state,
            total=len(sources),
            bytes=sum(source.size or 0 for source in sources),
            gathered=form.has_archives,
        )
        with ManifestWriter() as manifest:
            for source in sources:
                manifest.add(source)
            if form.skipped.count:
                backend.objects.put(layout.skipped(job_id), form.skipped.to_json())
            attempt.seal(job_id)
            record(backend, job, manifest, account.quota)
    if not job.gathered:
        wake_workers(backend, job)
    return Accepted(job=job, skipped=tuple(form.skipped.names))


def announce(backend: Backend, announcement: Announcement, account: Account, attempt: Attempt) -> Accepted:
    """Record a job that waits for its uploads.

    Raises NoImages, TooLarge, QuotaExceeded, IdempotencyKeyInUse, and what the stores raise.
    """
    uploads = announcement.uploads
    if len(uploads) > backend.settings.max_job_images:
        raise TooLarge(f"A job holds at most {backend.settings.max_job_images} images.")
    backend.jobs.admit(account.owner, len(uploads), quota=account.quota)
    job_id = new_job_id()
    if not uploads:
        raise NoImages
    job = describe(
        backend,
        job_id,
        account,
        announcement,
        state=JobState.UPLOADING,
        total=len(uploads),
        bytes=sum(upload.size or 0 for upload in uploads),
    )
    with undone_on_failure(backend, job_id), ManifestWriter() as manifest:
        for index, upload in enumerate(uploads):
            manifest.add(Source(index=index, name=upload.name, size=upload.size))
        attempt.seal(job_id)
        record(backend, job, manifest, account.quota)
    return Accepted(job=job)


def record(backend: Backend, job: Job, manifest: ManifestWriter | None, quota: Quota) -> None:
    """Make a job whose photos are stored, or will be, durable: its manifest, `job.json`, its record.

    What is to be done for it is noted before it is recorded, so that no recorded job is forgotten; who
    takes it up earlier than that waits for the record. Without a manifest a worker will write it.
    """
    if manifest is not None:
        manifest.store(backend.objects, job.id)
    backend.objects.put(layout.job_record(job.id), encode_job(job), content_type="application/json")
    add_chores(job, backend.objects, backend.chores)
    backend.jobs.create(job, quota=quota)
    logger.info(
        "A job of %s images was accepted.", job.counts.total, extra={"action": "accept_job", "job": job.id}
    )


def is_recorded(backend: Backend, job_id: str) -> bool:
    """Return whether a job was accepted in full, by a process that may have died right after.

    Of one that was undone while the job store was away the record may be left, but no `job.json`.
    """
    try:
        backend.jobs.get(job_id)
    except JobNotFound:
        return False
    return backend.objects.exists(layout.job_record(job_id))


def wake_workers(backend: Backend, job: Job) -> None:
    """Publish tickets for a job; if that fails, the workers' own top-up does it within seconds."""
    chunks = math.ceil(job.counts.pending / backend.settings.lease_images)
    try:
        backend.tickets.publish(min(chunks, max(1, 2 * backend.jobs.slots())))
    except Unavailable as exc:
        logger.warning("No ticket was published: %s", exc.message, extra={"action": "wake_workers"})


def discard(backend: Backend, job_id: str) -> int:
    """Delete a job that was not accepted, and all its objects; returns how many. May be repeated."""
    count = backend.controls.discard(job_id)
    backend.chores.forget(job_id)
    return count


@dataclass(kw_only=True)
class _Form:
    """Takes the parts of a form in any order."""

    intake: Intake
    settings: Settings
    fields: dict[str, Any] = field(default_factory=dict)
    skipped: Skipped = field(default_factory=Skipped)
    archives: int = 0
    #: Whether there are archives with photos in them, which a worker is to expand.
    has_archives: bool = False

    def take(self, part: FormPart) -> None:
        if isinstance(part, FormField):
            self._take_field(part)
        elif part.name == "archive":
            self._take_archive(part)
        else:
            self._take_image(part)

    def no_images(self) -> NoImages:
        """Return the error for a form without photos, which says where there may be some."""
        inner = next((name for name in self.skipped.names if name.lower().endswith(ARCHIVES)), None)
        if inner is None:
            return NoImages()
        return NoImages(
            f"The archive holds no photo; archives in it, such as {inner[:200]!r}, are not opened."
        )

    def submission(self) -> Submission:
        """Return what the form says about the job; all of it was valid by itself."""
        return Submission.model_validate(self.fields)

    def _take_field(self, part: FormField) -> None:
        if part.name in self.fields:
            raise InvalidRequest(f"The form holds more than one part {part.name!r}.")
        value = self.fields[part.name] = _field_value(part)
        try:
            # Now, and not after gigabytes of photos.
            submission = Submission.model_validate({part.name: value})
        except ValidationError as exc:
            raise InvalidRequest.from_validation(exc) from exc
        check_webhook(self.settings, submission.webhook)

    def _take_image(self, part: FormFile) -> None:
        # A browser sends an empty file without a name for a field nobody filled in.
        if not part.file_name and not part.spool.size:
            part.spool.close()
            return
        self.intake.add(part.file_name or "unnamed", part.spool)

    def _take_archive(self, part: FormFile) -> None:
        if not part.file_name and not part.spool.size:
            part.spool.close()
            return
        try:
            self.archives += 1
            if self.archives > MAX_ARCHIVES:
                raise TooLarge(f"A form holds at most {MAX_ARCHIVES} archives.")
            first = self.intake.count
            self._look_into(part.spool)
        except BaseException:
            part.spool.close()
            raise
        if self.intake.count == first:
            part.spool.close()
            return
        self.has_archives = True
        self.intake.keep_archive(first, part.spool)

    def _look_into(self, archive: Spool) -> None:
        """Give the photos of an archive their indices; a worker expands them.

        What is wrong with an archive shows here, before the job is accepted, but for damage within
        its entries.
        """
        for entry in survey(archive.rewound(), ArchiveLimits.from_settings(self.settings)):
            if isinstance(entry, SkippedEntry):
                self.skipped.add(entry.name)
            else:
                self.intake.reserve(entry.name, entry.size)


def _field_value(part: FormField) -> Any:
    if part.name == "options":
        return _json_object(part.value)
    if part.name == "webhook":
        try:
            return json.loads(part.value)
        except (ValueError, RecursionError) as exc:
            raise InvalidRequest("webhook is not valid JSON.") from exc
    return part.value.decode(errors="replace")


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidOptions("options is not valid JSON.") from exc
    if not isinstance(value, dict):
        raise InvalidOptions("options must be a JSON object.")
    return value


def describe(
    backend: Backend,
    job_id: str,
    account: Account,
    submission: Submission,
    *,
    state: JobState,
    total: int,
    bytes: int = 0,
    gathered: bool = False,
) -> Job:
    """Return a job as it is accepted. Raises WebhooksOff and InvalidWebhook."""
    return new_job(
        job_id,
        total=total,
        options=submission.options,
        state=state,
        created_at=backend.jobs.now(),
        weight=submission.weight,
        title=submission.title,
        owner=account.owner,
        bytes=bytes,
        gathered=gathered,
        webhook=check_webhook(backend.settings, submission.webhook),
    )


@contextmanager
def undone_on_failure(backend: Backend, job_id: str) -> Iterator[None]:
    """Leave nothing of a job that was not accepted, as far as the stores can be reached."""
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
