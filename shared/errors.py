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

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        #: Seconds after which trying again makes sense, where that is known.
        self.retry_after = retry_after
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


class InvalidSource(RequestError):
    """A source is not one that Fathom reads photos from."""

    code = "invalid_source"


class SourcesOff(RequestError):
    """This server reads no photos from that bucket."""

    code = "sources_off"


class InvalidWebhook(RequestError):
    """The webhook is not one that Fathom can call."""

    code = "invalid_webhook"


class WebhooksOff(RequestError):
    """This server sends no webhooks: FATHOM_WEBHOOK_SECRETS is not set."""

    code = "webhooks_off"


class UploadsMissing(RequestError):
    """Some of the announced uploads have not arrived."""

    code = "uploads_missing"


class Unauthenticated(RequestError):
    """This needs an API key: send one as `Authorization: Bearer fathom_...`."""

    code = "unauthenticated"


class InvalidKey(Unauthenticated):
    """This API key is unknown, or was revoked."""

    code = "invalid_key"


class MissingScope(RequestError):
    """The API key may not do this."""

    code = "missing_scope"


class NotFound(RequestError):
    """There is no such thing."""

    code = "not_found"


class JobNotFound(NotFound):
    """There is no such job."""

    code = "job_not_found"


class JobExpired(RequestError):
    """The job has expired: its photos and results were deleted."""

    code = "job_expired"


class OutputNotFound(NotFound):
    """The image has no such output, or not yet."""

    code = "output_not_found"


class InvalidTransition(RequestError):
    """The job's state does not allow this."""

    code = "invalid_transition"


class IdempotencyKeyReused(RequestError):
    """This Idempotency-Key was used before, for another submission."""

    code = "idempotency_key_reused"


class IdempotencyKeyInUse(RequestError):
    """A submission under this Idempotency-Key is still under way; ask again to get its job."""

    code = "idempotency_key_in_use"


class TooManyDepthRequests(RequestError):
    """Too many photos are being looked at while somebody waits; submit a job, or ask again in a moment."""

    code = "too_many_depth_requests"


class QuotaExceeded(RequestError):
    """Too much work waits already; send this job again when some of it has ended."""

    code = "quota_exceeded"


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


class SourceMissing(ImageError):
    """There is nothing at the picture's source."""

    code = "source_missing"


class SourceDenied(ImageError):
    """The picture's source does not let Fathom read it."""

    code = "source_denied"


class SourceRefused(ImageError):
    """The picture's source is an address that Fathom does not fetch from."""

    code = "source_refused"


class SourceUnavailable(ImageError):
    """The picture's source did not answer as it should, or not in time, at several tries."""

    code = "source_unavailable"
    transient = True


class WorkerCrashed(ImageError):
    """The picture crashed the worker three times and was given up."""

    code = "worker_crashed"


class TimedOut(ImageError):
    """The picture took too long three times and was given up."""

    code = "timed_out"


class OutOfMemory(ImageError):
    """The picture needed more memory than a worker may take, three times, and was given up."""

    code = "out_of_memory"


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


# --- addresses --------------------------------------------------------------


class AddressRefused(FathomError):
    """Fathom does not connect to this address."""

    code = "address_refused"


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


class JobRecovering(Unavailable):
    """The job is being recovered from the object store; ask again in a moment."""

    code = "job_recovering"


class JobBusy(Unavailable):
    """Another request is being carried out on this job; ask again in a moment."""

    code = "job_busy"


class ObjectStoreUnavailable(Unavailable):
    """The object store (S3) cannot be reached."""

    code = "object_store_unavailable"


class BucketNotFound(ObjectStoreUnavailable):
    """The object store (S3) has no such bucket."""

    code = "bucket_not_found"


class TooManyStreams(Unavailable):
    """Too many requests wait for jobs already; ask for the job now and then instead."""

    code = "too_many_streams"


class DepthTimedOut(Unavailable):
    """No worker got to the photo in time; nothing of it was kept."""

    code = "depth_timed_out"


class ObjectStoreDenied(FathomError):
    """The object store (S3) refused these credentials."""

    code = "object_store_denied"


class ObjectNotFound(FathomError):
    """There is no object under this key."""

    code = "object_not_found"


class ObjectExists(FathomError):
    """There is an object under this key already."""

    code = "object_exists"
