"""Accepting jobs: from a form with photos and archives, or announced for uploads one by one.

A job is accepted in an order that makes the answer 202 a promise: photos, manifest and
`job.json` are in the object store before the job is recorded, and it is recorded before
anybody is told. What fails on the way leaves nothing behind.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from api.backend import Backend
from api.errors import InvalidRequest
from api.intake import Intake
from api.multipart import FormField, FormFile, FormPart, FormShape
from api.schemas import Announcement
from api.spool import Spool
from shared import layout
from shared.archives import ArchiveLimits, SkippedEntry, expand
from shared.errors import InvalidOptions, NoImages, ObjectStoreDenied, TooLarge, Unavailable
from shared.job_record import encode_job, new_job
from shared.jobs import Job, JobState, Source, new_job_id
from shared.manifest import encode_manifest
from shared.options import Options
from shared.settings import Settings

logger = logging.getLogger(__name__)

#: Archives in one form.
MAX_ARCHIVES = 16
_MAX_OPTIONS_BYTES = 64 * 2**10
#: Entries of archives that are no photos and are named in the answer.
_SKIPPED_NAMED = 100


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A job just accepted, and names in its archives that are no photos."""

    job: Job
    skipped: tuple[str, ...]


def form_shape(settings: Settings) -> FormShape:
    """Return what the form of a submission may hold.

    Of a photo that is too large one byte too many is kept: enough for the worker to
    fail that image alone as too large, as it does however the photo came in.
    """
    files = {"images": image_cap(settings), "archive": settings.max_request_bytes}
    return FormShape(files=files, fields={"options": _MAX_OPTIONS_BYTES})


def image_cap(settings: Settings) -> int:
    """Return how many bytes of one photo are stored."""
    return settings.max_image_bytes + 1


def submit_form(backend: Backend, parts: Iterable[FormPart]) -> Accepted:
    """Store the photos of a form as they come and queue the job.

    Raises NoImages, InvalidOptions, InvalidArchive, TooLarge, InvalidRequest, and what
    the stores raise; then nothing of the job is left.
    """
    job_id = new_job_id()
    with _undone_on_failure(backend, job_id):
        with Intake(
            backend.objects, job_id, backend.senders, max_images=backend.settings.max_job_images
        ) as intake:
            form = _Form(intake=intake, settings=backend.settings)
            for part in parts:
                form.take(part)
            sources = intake.finish()
        job = _record(backend, job_id, sources, form.options, JobState.QUEUED)
    wake_workers(backend, job)
    return Accepted(job=job, skipped=tuple(form.skipped))


def announce(backend: Backend, announcement: Announcement) -> Job:
    """Record a job that waits for its uploads.

    Raises NoImages, InvalidOptions, TooLarge, and what the stores raise.
    """
    options = Options.parse(announcement.options)
    if len(announcement.uploads) > backend.settings.max_job_images:
        raise TooLarge(f"A job holds at most {backend.settings.max_job_images} images.")
    sources = tuple(
        Source(index=index, name=upload.name, size=upload.size)
        for index, upload in enumerate(announcement.uploads)
    )
    job_id = new_job_id()
    with _undone_on_failure(backend, job_id):
        return _record(backend, job_id, sources, options, JobState.UPLOADING)


def wake_workers(backend: Backend, job: Job) -> None:
    """Publish tickets for a job; if that fails, the workers' own top-up does it within seconds."""
    chunks = math.ceil(job.counts.pending / backend.settings.lease_images)
    try:
        backend.tickets.publish(min(chunks, max(1, 2 * backend.jobs.slots())))
    except Unavailable as exc:
        logger.warning("No ticket was published: %s", exc.message, extra={"action": "wake_workers"})


def discard(backend: Backend, job_id: str) -> int:
    """Delete a job and all its objects; returns how many. May be repeated.

    The record goes first: as long as it may be there, so must be what it speaks of.
    """
    backend.jobs.delete(job_id)
    return backend.objects.delete_prefix(layout.job_prefix(job_id))


@dataclass(kw_only=True)
class _Form:
    """Takes the parts of a form in any order."""

    intake: Intake
    settings: Settings
    options: Options = field(default_factory=Options)
    skipped: list[str] = field(default_factory=list)
    has_options: bool = False
    archives: int = 0

    def take(self, part: FormPart) -> None:
        if isinstance(part, FormField):
            self._take_options(part)
        elif part.name == "archive":
            self._take_archive(part)
        else:
            self._take_image(part)

    def _take_options(self, part: FormField) -> None:
        if self.has_options:
            raise InvalidRequest("The form holds more than one part 'options'.")
        self.has_options = True
        self.options = Options.parse(_json_object(part.value))

    def _take_image(self, part: FormFile) -> None:
        # A browser sends an empty file without a name for a field nobody filled in.
        if not part.file_name and not part.spool.size:
            part.spool.close()
            return
        self.intake.add(part.file_name or "unnamed", part.spool)

    def _take_archive(self, part: FormFile) -> None:
        try:
            if not part.file_name and not part.spool.size:
                return
            self.archives += 1
            if self.archives > MAX_ARCHIVES:
                raise TooLarge(f"A form holds at most {MAX_ARCHIVES} archives.")
            self._expand(part.spool)
        finally:
            part.spool.close()

    def _expand(self, archive: Spool) -> None:
        for entry in expand(archive.rewound(), _archive_limits(self.settings)):
            if isinstance(entry, SkippedEntry):
                if len(self.skipped) < _SKIPPED_NAMED:
                    self.skipped.append(entry.name)
                continue
            spool = Spool(cap=image_cap(self.settings))
            try:
                spool.fill(entry.pieces)
            except BaseException:
                spool.close()
                raise
            self.intake.add(entry.name, spool)


def _archive_limits(settings: Settings) -> ArchiveLimits:
    return ArchiveLimits(
        # Every photo may come with a folder, a macOS companion and a note.
        entries=4 * settings.max_job_images,
        entry_bytes=settings.max_image_bytes,
        total_bytes=settings.max_request_bytes,
    )


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidOptions("options is not valid JSON.") from exc
    if not isinstance(value, dict):
        raise InvalidOptions("options must be a JSON object.")
    return value


def _record(
    backend: Backend, job_id: str, sources: tuple[Source, ...], options: Options, state: JobState
) -> Job:
    if not sources:
        raise NoImages
    job = new_job(job_id, total=len(sources), options=options, state=state, created_at=time.time())
    backend.objects.put(layout.manifest(job_id), encode_manifest(sources), content_type="application/jsonl")
    backend.objects.put(layout.job_record(job_id), encode_job(job), content_type="application/json")
    backend.jobs.create(job)
    logger.info(
        "A job of %s images was accepted.", len(sources), extra={"action": "accept_job", "job": job_id}
    )
    return job


@contextmanager
def _undone_on_failure(backend: Backend, job_id: str) -> Iterator[None]:
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
