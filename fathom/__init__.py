"""The Python client and the `fathom` command."""

from __future__ import annotations

from fathom.async_client import AsyncFathom, AsyncJob
from fathom.models import ImageResult, JobStatus, UploadFile
from fathom.sync_client import Fathom, JobHandle
from fathom.transport import ApiError, ClientError, ConnectionLost

__all__ = [
    "ApiError",
    "AsyncFathom",
    "AsyncJob",
    "ClientError",
    "ConnectionLost",
    "Fathom",
    "ImageResult",
    "JobHandle",
    "JobStatus",
    "UploadFile",
]
