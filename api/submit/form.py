"""The form of a submission: photos, archives, and what is said about the job, in any order."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from api.middleware.errors import InvalidRequest
from api.schema.request_models import Submission
from api.submit.idempotency import Attempt
from api.submit.input_writer import Intake
from api.submit.multipart import FormField, FormFile, FormPart, FormShape
from api.submit.spool import Spool
from api.submit.webhook_check import check_webhook
from fathom.photos.skipped import Skipped
from shared.archive.zip_reader import ArchiveLimits, SkippedEntry, survey
from shared.errors import InvalidOptions, NoImages, TooLarge
from shared.settings import Settings

#: Archives in one form.
MAX_ARCHIVES = 16
_MAX_FIELD_BYTES = 64 * 2**10
#: Parts of a form that are no files.
_FIELDS = ("options", "title", "weight", "webhook")
#: How archives within archives are called, which nobody opens.
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")


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


@dataclass(kw_only=True)
class Form:
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
        inner = next((name for name in self.skipped.names if name.lower().endswith(_ARCHIVES)), None)
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
                self.skipped.add(entry.name, entry.kind)
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
