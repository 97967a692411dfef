"""Settings: `FATHOM_*` of the environment, read once, frozen, every error naming its variable."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from shared.errors import SettingsError

T = TypeVar("T")

ENGINES = ("openvino", "torch")
PRECISIONS = ("auto", "f32", "bf16")
DECODES = ("fast", "exact")
LOG_FORMATS = ("auto", "json", "text")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that can be set, with its default. The README lists the same names."""

    #: Broker and job store in one; Valkey or Redis 6.2 and newer.
    redis_url: str
    #: Where this process reaches S3; None means AWS itself.
    s3_endpoint_url: str | None
    #: Where a client reaches the same S3; presigned URLs are made for this address.
    #: None: no presigned URL is handed out, and outputs are streamed by the API.
    s3_public_url: str | None
    s3_bucket: str
    #: None for both: boto3's own chain (instance role, shared credentials file).
    s3_access_key: str | None = field(repr=False)
    s3_secret_key: str | None = field(repr=False)
    s3_region: str
    #: `auto`, `official`, `starter`, `random`, or a path to `.pt` or `.safetensors`.
    weights: str
    engine: str
    precision: str
    #: `fast` reads photos at the largest useful reduction; `exact` keeps every pixel.
    decode: str
    #: Downloaded checkpoints and exported graphs.
    cache_dir: Path
    #: Pixels of one picture, checked before decoding.
    max_pixels: int
    #: Shorter side of the smallest picture accepted, in pixels.
    min_side: int
    #: Bytes of one picture.
    max_image_bytes: int
    #: Bytes of one request's body.
    max_request_bytes: int
    #: Images of one job.
    max_job_images: int
    #: Images a worker takes at once.
    lease_images: int
    #: A lease not renewed for this long is taken back.
    lease_seconds: float
    #: Crashes after which an image is given up.
    max_attempts: int
    #: An image in work for longer is charged as timed out.
    image_seconds: float
    #: Lifetime of a presigned URL.
    presign_seconds: int
    log_level: str
    log_format: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read `FATHOM_*` from `environ`.

        Raises SettingsError, naming the variable, for a value that cannot be used.
        """
        read = _Reader(environ)
        settings = cls(
            redis_url=read.url("FATHOM_REDIS_URL", "redis://127.0.0.1:6379/0", ("redis", "rediss", "unix")),
            s3_endpoint_url=read.optional_url("FATHOM_S3_ENDPOINT_URL"),
            s3_public_url=read.optional_url("FATHOM_S3_PUBLIC_URL"),
            s3_bucket=read.text("FATHOM_S3_BUCKET", "fathom"),
            s3_access_key=read.optional("FATHOM_S3_ACCESS_KEY"),
            s3_secret_key=read.optional("FATHOM_S3_SECRET_KEY"),
            s3_region=read.text("FATHOM_S3_REGION", "us-east-1"),
            weights=read.text("FATHOM_WEIGHTS", "auto"),
            engine=read.choice("FATHOM_ENGINE", "openvino", ENGINES),
            precision=read.choice("FATHOM_PRECISION", "auto", PRECISIONS),
            decode=read.choice("FATHOM_DECODE", "fast", DECODES),
            cache_dir=read.path("FATHOM_CACHE_DIR", _default_cache_dir(environ)),
            max_pixels=read.integer("FATHOM_MAX_PIXELS", 100_000_000, low=1),
            min_side=read.integer("FATHOM_MIN_SIDE", 16, low=1),
            max_image_bytes=read.integer("FATHOM_MAX_IMAGE_BYTES", 256 * 2**20, low=1),
            max_request_bytes=read.integer("FATHOM_MAX_REQUEST_BYTES", 8 * 2**30, low=1),
            max_job_images=read.integer("FATHOM_MAX_JOB_IMAGES", 100_000, low=1),
            lease_images=read.integer("FATHOM_LEASE_IMAGES", 8, low=1, high=1000),
            lease_seconds=read.number("FATHOM_LEASE_SECONDS", 15.0, low=1.0),
            max_attempts=read.integer("FATHOM_MAX_ATTEMPTS", 3, low=1),
            image_seconds=read.number("FATHOM_IMAGE_SECONDS", 60.0, low=0.1),
            presign_seconds=read.integer("FATHOM_PRESIGN_SECONDS", 3600, low=1, high=604_800),
            log_level=read.choice("FATHOM_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
            log_format=read.choice("FATHOM_LOG_FORMAT", "auto", LOG_FORMATS),
        )
        if (settings.s3_access_key is None) != (settings.s3_secret_key is None):
            raise SettingsError("FATHOM_S3_ACCESS_KEY and FATHOM_S3_SECRET_KEY must be set together.")
        return settings


def _default_cache_dir(environ: Mapping[str, str]) -> str:
    home = environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return str(Path(home) / "fathom")


class _Reader:
    """Reads typed values; an empty string counts as not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def optional(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def text(self, name: str, default: str) -> str:
        return self.optional(name) or default

    def path(self, name: str, default: str) -> Path:
        return Path(self.text(name, default)).expanduser()

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise SettingsError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
        return value

    def integer(self, name: str, default: int, *, low: int, high: int | None = None) -> int:
        return self._number(name, default, int, "a whole number", low, high)

    def number(self, name: str, default: float, *, low: float, high: float | None = None) -> float:
        return self._number(name, default, float, "a number", low, high)

    def _number(self, name: str, default: T, parse: Callable[[str], T], noun: str, low: Any, high: Any) -> T:
        text = self.optional(name)
        if text is None:
            return default
        try:
            value: Any = parse(text)
        except ValueError as exc:
            raise SettingsError(f"{name} must be {noun}, not {text!r}.") from exc
        # Written so that NaN, which compares false with everything, is refused too.
        if not value >= low or (high is not None and not value <= high):
            bounds = f"at least {low}" if high is None else f"between {low} and {high}"
            raise SettingsError(f"{name} must be {bounds}, not {text}.")
        return value  # type: ignore[no-any-return]

    def url(self, name: str, default: str, schemes: tuple[str, ...]) -> str:
        value = self.text(name, default)
        parts = urlsplit(value)
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            # The value may hold a password and is therefore not repeated.
            raise SettingsError(f"{name} must be a URL that starts with {' or '.join(schemes)}.")
        return value

    def optional_url(self, name: str) -> str | None:
        if self.optional(name) is None:
            return None
        return self.url(name, "", ("http", "https")).rstrip("/")
