"""Why an image failed, as it lies in the object store."""

from __future__ import annotations

import json

from shared.jobs.job import ImageFailure


def encode_failure(failure: ImageFailure) -> bytes:
    """Return the object that says why one image failed."""
    return json.dumps({"code": failure.code, "message": failure.message}, ensure_ascii=False).encode()


def decode_failure(data: bytes) -> ImageFailure:
    return ImageFailure(**json.loads(data))
