"""The Python client and the `fathom` command."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fathom.async_client import AsyncFathom, AsyncJob
    from fathom.errors import ApiError, ClientError, ConnectionLost
    from fathom.models import ImageResult, JobStatus, ModelInfo, UploadFile
    from fathom.sync_client import Fathom, JobHandle

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
    "ModelInfo",
    "UploadFile",
]

_MODULES = {
    "ApiError": "errors",
    "AsyncFathom": "async_client",
    "AsyncJob": "async_client",
    "ClientError": "errors",
    "ConnectionLost": "errors",
    "Fathom": "sync_client",
    "ImageResult": "models",
    "JobHandle": "sync_client",
    "JobStatus": "models",
    "ModelInfo": "models",
    "UploadFile": "models",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: the server uses `fathom.photos`, and has no HTTP client."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fathom.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
