"""What the API answers, typed: jobs and images as a client sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Job states that never change again, unless the job is retried.
ENDS = frozenset({"succeeded", "partial", "failed", "canceled", "expired"})


@dataclass(frozen=True, kw_only=True)
class UploadFile:
    """A photo on disk and the name it goes by: a relative path with `/`, in any script."""

    path: Path
    name: str
    #: The photo's label picture, for layers with masks.
    labels: Path | None = None

    @property
    def size(self) -> int:
        return self.path.stat().st_size


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """A job at one moment. Fields this client does not know are kept in `raw`."""

    id: str
    state: str
    total: int
    succeeded: int
    failed: int
    #: Images that have not ended.
    pending: int
    #: The share of the work that is done, 0 to 1.
    progress: float
    images_per_second: float | None
    eta_seconds: float | None
    options: Mapping[str, Any]
    created_at: str
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JobStatus:
        counts = data["counts"]
        return cls(
            id=data["id"],
            state=data["state"],
            total=counts["total"],
            succeeded=counts["succeeded"],
            failed=counts["failed"],
            pending=counts["pending"],
            progress=data["progress"],
            images_per_second=data.get("images_per_second"),
            eta_seconds=data.get("eta_seconds"),
            options=data.get("options", {}),
            created_at=str(data.get("created_at", "")),
            raw=data,
        )

    @property
    def ended(self) -> bool:
        return self.state in ENDS


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """An image of a job: its state, why it failed if it did, and where its outputs are."""

    index: int
    name: str
    state: str
    error_code: str | None
    error_message: str | None
    #: URLs by the name of the output; they may be relative to the API.
    outputs: Mapping[str, str]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ImageResult:
        error = data.get("error") or {}
        return cls(
            index=data["index"],
            name=data["name"],
            state=data["state"],
            error_code=error.get("code"),
            error_message=error.get("message"),
            outputs=data.get("outputs") or {},
        )

    @classmethod
    def failure(cls, name: str, code: str, message: str, *, index: int = -1) -> ImageResult:
        """Return a photo's failure; `index` is -1 if the photo belongs to no job."""
        return cls(index=index, name=name, state="failed", error_code=code, error_message=message, outputs={})

    def to_json(self) -> dict[str, Any]:
        """Return the image as the API describes it."""
        error = {"code": self.error_code, "message": self.error_message} if self.error_code else None
        return {
            "index": self.index,
            "name": self.name,
            "state": self.state,
            "error": error,
            "outputs": dict(self.outputs),
        }


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A network that a job may name as its `model`. Fields this client does not know are kept in `raw`."""

    name: str
    title: str
    #: What it is for: `fast`, `detailed` or `best`; None for a model from a file.
    tier: str | None
    description: str
    #: How many times as much a prediction computes as one of `midas_small`.
    relative_cost: float
    megabytes: int | None
    parameters: int | None
    code_licence: str | None
    weights_licence: str | None
    #: What else to know before using results, empty for nothing.
    licence_note: str
    #: Whether living workers serve it.
    available: bool
    #: How many images they can process at once with it.
    slots: int
    #: Whether jobs that name no model get it.
    default: bool
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelInfo:
        return cls(
            name=data["name"],
            title=data.get("title") or data["name"],
            tier=data.get("tier"),
            description=data.get("description") or "",
            relative_cost=data["relative_cost"],
            megabytes=data.get("megabytes"),
            parameters=data.get("parameters"),
            code_licence=data.get("code_licence"),
            weights_licence=data.get("weights_licence"),
            licence_note=data.get("licence_note") or "",
            available=data["available"],
            slots=data.get("slots", 0),
            default=data.get("default", False),
            raw=data,
        )
