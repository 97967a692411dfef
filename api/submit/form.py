"""The form of `POST /v1/jobs`: photos, archives and fields, in any order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import IO, Any

from pydantic import ValidationError

from api.middleware.errors import InvalidRequest
from api.schema.job_options import read_options
from api.schema.request_models import JobRequest
from api.submit.idempotency import Attempt
from api.submit.input_writer import InputWriter
from api.submit.multipart import FormField, FormFile, FormPart, FormShape, boundary_of, parse_form
from api.submit.spool import Spool
from api.submit.webhook_check import check_webhook
from fathom.photos.labels import is_labels
from fathom.photos.skipped import Skipped
from shared.archive.zip_reader import ArchiveLimits, SkippedEntry, survey
from shared.errors import InvalidOptions, NoImages, TooLarge
from shared.settings import Settings

#: Archives in one form.
MAX_ARCHIVES = 16
_MAX_FIELD_BYTES = 64 * 2**10
#: Parts of a form that are fields, not files.
_FIELDS = ("options", "title", "weight", "webhook")
#: Suffixes of archives; one inside another is not opened.
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")


def read_form(
    stream: IO[bytes], content_type: str | None, settings: Settings, attempt: Attempt
) -> Iterator[FormPart]:
    """Yield the parts of a form as they arrive, each once.

    Meanwhile the attempt keeps its Idempotency-Key, and takes every part into its fingerprint. Raises what
    `parse_form` raises, and IdempotencyKeyInUse if the key is lost.
    """

    def read(size: int) -> bytes:
        attempt.renew()
        return stream.read(size)

    for part in parse_form(read, boundary_of(content_type), _form_shape(settings, attempt)):
        if attempt.has_key:
            attempt.fingerprint.add_part(_as_compared(part))
        yield part


def _as_compared(part: FormPart) -> FormPart:
    """Return a part as it is compared with that of an earlier form: options as they are recorded."""
    if isinstance(part, FormField) and part.name == "options":
        # Wrong options are refused later, or differ from those of the accepted form.
        with suppress(InvalidOptions):
            options = read_options(_json_object(part.value))
            return replace(part, value=json.dumps(options.to_json(), sort_keys=True).encode())
    return part


def _form_shape(settings: Settings, attempt: Attempt) -> FormShape:
    """Return what a form may hold.

    Of a photo that is too large, one byte too many is kept, so that the worker fails that image
    alone as too large, as it does however the photo came in. Of a form that was sent before,
    nothing is kept.
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
    """Takes the parts of a form in any order and collects what they say."""

    inputs: InputWriter
    settings: Settings
    fields: dict[str, Any] = field(default_factory=dict)
    skipped: Skipped = field(default_factory=Skipped)
    archives: int = 0
    #: Whether an archive holds photos, so that a worker must expand it.
    has_archives: bool = False

    def take(self, part: FormPart) -> None:
        """Take in a field, a photo or an archive; a file is stored, or its spool is closed."""
        if isinstance(part, FormField):
            self._take_field(part)
        # A browser sends an empty file without a name for a field nobody filled in.
        elif not part.file_name and not part.spool.size:
            part.spool.close()
        else:
            self._take_file(part)

    def no_images(self) -> NoImages:
        """Return the error for a form without photos; it names an archive that was not opened."""
        inner = next((name for name in self.skipped.names if name.lower().endswith(_ARCHIVES)), None)
        if inner is None:
            return NoImages()
        return NoImages(
            f"The archive holds no photo; archives in it, such as {inner[:200]!r}, are not opened."
        )

    def job_request(self) -> JobRequest:
        """Return what the fields say about the job. Each field was validated when it arrived."""
        return JobRequest.model_validate(self.fields)

    def _take_field(self, part: FormField) -> None:
        if part.name in self.fields:
            raise InvalidRequest(f"The form holds more than one part {part.name!r}.")
        value = self.fields[part.name] = _field_value(part)
        try:
            # Validate now, not after gigabytes of photos.
            request = JobRequest.model_validate({part.name: value})
        except ValidationError as exc:
            raise InvalidRequest.from_validation(exc) from exc
        check_webhook(self.settings, request.webhook)

    def _take_file(self, part: FormFile) -> None:
        try:
            if part.name == "archive":
                self._take_archive(part.spool)
            elif is_labels(part.file_name or ""):
                self.inputs.add_labels(part.file_name or "", part.spool)
            else:
                self.inputs.add(part.file_name or "unnamed", part.spool)
        except BaseException:
            part.spool.close()
            raise

    def _take_archive(self, archive: Spool) -> None:
        self.archives += 1
        if self.archives > MAX_ARCHIVES:
            raise TooLarge(f"A form holds at most {MAX_ARCHIVES} archives.")
        first = self.inputs.count
        self._look_into(archive)
        if self.inputs.count == first:
            archive.close()
        else:
            self.has_archives = True
            self.inputs.add_archive(first, archive)

    def _look_into(self, archive: Spool) -> None:
        """Number the photos of an archive, which a worker will expand.

        Everything wrong with the archive itself shows here, before the job is accepted. Only damage
        within an entry shows later.
        """
        for entry in survey(archive.rewound(), ArchiveLimits.from_settings(self.settings)):
            if isinstance(entry, SkippedEntry):
                self.skipped.add(entry.name, entry.kind)
            elif is_labels(entry.name):
                self.inputs.label_bytes += entry.size
            else:
                self.inputs.reserve(entry.name, entry.size)


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
