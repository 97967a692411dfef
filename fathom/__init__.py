"""The Python client and the `fathom` command."""

from __future__ import annotations

from client.aio import AsyncFathom, AsyncJob
from client.api import Fathom, JobHandle
from client.models import ImageResult, JobStatus, UploadFile
from client.transport import ApiError, ClientError, ConnectionLost

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
