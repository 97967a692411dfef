"""Why an image failed, as JSON: in the object store and in Redis alike."""

from __future__ import annotations

import json

from shared.jobs.job import ImageFailure


def encode_failure(failure: ImageFailure) -> bytes:
    """Return a failure as JSON."""
    return json.dumps({"code": failure.code, "message": failure.message}, ensure_ascii=False).encode()


def decode_failure(data: bytes | str) -> ImageFailure:
    return ImageFailure(**json.loads(data))
