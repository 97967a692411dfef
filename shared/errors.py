"""Every error Fathom raises on purpose.

An error is permanent (trying again gives the same answer) or transient (the
infrastructure was away); that alone decides whether a retry happens. A class's
docstring is its default message; `code` is stable and part of the API.
"""

from __future__ import annotations

from typing import ClassVar


class FathomError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    transient: ClassVar[bool] = False

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)


class SettingsError(FathomError):
    """A setting is missing or has a value that cannot be used."""

    code = "bad_setting"


# --- requests ---------------------------------------------------------------


class RequestError(FathomError):
    """The request cannot be carried out as it stands."""

    code = "bad_request"


class InvalidOptions(RequestError):
    """The job's options are not valid."""

    code = "invalid_options"


class InvalidArchive(RequestError):
    """The archive is not a ZIP file that can be read."""

    code = "invalid_archive"


class TooLarge(RequestError):
    """The request holds more than this server accepts."""

    code = "too_large"


class NoImages(RequestError):
    """The request holds no image."""

    code = "no_images"


class UploadsMissing(RequestError):
    """Some of the announced uploads have not arrived."""

    code = "uploads_missing"


class NotFound(RequestError):
    """There is no such thing."""

    code = "not_found"


class JobNotFound(NotFound):
    """There is no such job."""

    code = "job_not_found"


class OutputNotFound(NotFound):
    """The image has no such output, or not yet."""

    code = "output_not_found"


class InvalidTransition(RequestError):
    """The job's state does not allow this."""

    code = "invalid_transition"


# --- images -----------------------------------------------------------------


class ImageError(FathomError):
    """The image cannot be processed."""

    code = "image_error"


class ImageEmpty(ImageError):
    """The file is empty."""

    code = "image_empty"


class UnsupportedFormat(ImageError):
    """The file is not a picture in a format Fathom reads."""

    code = "unsupported_format"


class ImageCorrupt(ImageError):
    """The file is damaged or incomplete; no depth is made from part of a picture."""

    code = "image_corrupt"


class ImageTooLarge(ImageError):
    """The picture has more pixels or bytes than this server accepts."""

    code = "image_too_large"


class ImageTooSmall(ImageError):
    """The picture is too small to have a depth map."""

    code = "image_too_small"


class InputMissing(ImageError):
    """The picture's file is no longer in the object store."""

    code = "input_missing"


class WorkerCrashed(ImageError):
    """The picture crashed the worker three times and was given up."""

    code = "worker_crashed"


class TimedOut(ImageError):
    """The picture took too long three times and was given up."""

    code = "timed_out"


class InternalImageError(ImageError):
    """Processing this picture failed for a reason Fathom did not foresee."""

    code = "internal_error"


# --- model ------------------------------------------------------------------


class ModelError(FathomError):
    """The depth network cannot be used."""

    code = "model_error"


class WeightsUnavailable(ModelError):
    """No weights for the depth network were found."""

    code = "weights_unavailable"


class WeightsInvalid(ModelError):
    """The file does not hold weights of MiDaS_small."""

    code = "weights_invalid"


# --- infrastructure ---------------------------------------------------------


class Unavailable(FathomError):
    """A part Fathom depends on cannot be reached; it will be tried again."""

    code = "unavailable"
    transient = True


class JobStoreUnavailable(Unavailable):
    """The job store (Redis) cannot be reached."""

    code = "job_store_unavailable"


class JobStoreFull(JobStoreUnavailable):
    """The job store (Redis) is out of memory; jobs that end and are deleted free some."""

    code = "job_store_full"


class ObjectStoreUnavailable(Unavailable):
    """The object store (S3) cannot be reached."""

    code = "object_store_unavailable"


class ObjectStoreDenied(FathomError):
    """The object store (S3) refused these credentials."""

    code = "object_store_denied"


class ObjectNotFound(FathomError):
    """There is no object under this key."""

    code = "object_not_found"


class ObjectExists(FathomError):
    """There is an object under this key already."""

    code = "object_exists"
