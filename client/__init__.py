"""The Python client and the `fathom` command."""

from __future__ import annotations

from client.api import Fathom, JobHandle
from client.models import ImageResult, JobStatus, UploadFile
from client.transport import ApiError, ClientError, ConnectionLost

__all__ = [
    "ApiError",
    "ClientError",
    "ConnectionLost",
    "Fathom",
    "ImageResult",
    "JobHandle",
    "JobStatus",
    "UploadFile",
]
