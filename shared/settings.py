"""Settings: `FATHOM_*` of the environment, read once, frozen, every error naming its variable."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from shared.errors import AddressRefused, SettingsError
from shared.net.url_policy import AllowedHosts
from shared.net.webhook_signing import is_secret

T = TypeVar("T")

_RATE = re.compile(r"(\d{1,9})/(second|minute|hour|day)\Z")

ENGINES = ("openvino", "torch", "simulated")
#: What is not real under the engine `simulated`: the network alone, or all that is done with a photo.
SIMULATIONS = ("none", "network", "pipeline")
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
    #: For benchmarks, and in force only together with the engine `simulated`.
    simulate: str
    #: How long a photo takes a simulated pipeline, asleep.
    simulate_seconds: float
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
    #: Images that have not ended, of all jobs together, and of one owner's.
    max_unfinished_images: int
    max_owner_images: int
    #: Seconds that `POST /v1/depth` has for its answer.
    depth_seconds: float
    #: Requests to `POST /v1/depth` that one process serves at once.
    max_depth_requests: int
    #: Requests that wait for a job at once, event streams among them, in one process.
    max_streams: int
    #: The longest that `Prefer: wait=` is granted, in seconds.
    max_wait_seconds: float
    #: Images a worker takes at once.
    lease_images: int
    #: A lease not renewed for this long is taken back.
    lease_seconds: float
    #: Crashes after which an image is given up.
    max_attempts: int
    #: An image in work for longer is charged as timed out.
    image_seconds: float
    #: Memory that a child of a worker may take, in MB; an image that needs more is charged. 0 is no bound.
    child_memory_mb: int
    #: Ended jobs are deleted after so many hours; 0 is never.
    retention_hours: float
    #: Buckets that photos may be read from where they lie, on the same object store; none by default.
    source_buckets: tuple[str, ...]
    #: Photos may be read from URLs.
    url_sources: bool
    #: Hosts, addresses and networks that sources and webhooks may lead to although they are private.
    source_hosts: tuple[str, ...]
    #: Fetching one photo from its URL may take so long in all.
    source_seconds: float
    #: The first of them signs webhooks; those that follow do as well, until all receivers know the first.
    webhook_secrets: tuple[str, ...] = field(repr=False)
    #: Lifetime of a presigned URL.
    presign_seconds: int
    log_level: str
    log_format: str
    #: Serve without API keys at an address that others can reach.
    allow_anonymous: bool
    #: Names under which the service is reached while it needs no API key, beside local ones.
    allowed_hosts: tuple[str, ...]
    #: Proxies in front whose X-Forwarded-* headers are believed.
    trusted_proxies: int
    #: Origins whose pages may use the API; none by default.
    cors_origins: tuple[str, ...]
    #: Requests of one API key, or of one address where no keys are in force.
    rate_limit: str
    #: Reads `/metrics` without an API key.
    metrics_token: str | None = field(repr=False)

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
            simulate=read.choice("FATHOM_SIMULATE", "none", SIMULATIONS),
            simulate_seconds=read.number("FATHOM_SIMULATE_SECONDS", 0.0, low=0.0, high=60.0),
            precision=read.choice("FATHOM_PRECISION", "auto", PRECISIONS),
            decode=read.choice("FATHOM_DECODE", "fast", DECODES),
            cache_dir=read.path("FATHOM_CACHE_DIR", _default_cache_dir(environ)),
            max_pixels=read.integer("FATHOM_MAX_PIXELS", 250_000_000, low=1),
            min_side=read.integer("FATHOM_MIN_SIDE", 16, low=1),
            max_image_bytes=read.integer("FATHOM_MAX_IMAGE_BYTES", 512 * 2**20, low=1),
            max_request_bytes=read.integer("FATHOM_MAX_REQUEST_BYTES", 8 * 2**30, low=1),
            max_job_images=read.integer("FATHOM_MAX_JOB_IMAGES", 1_000_000, low=1, high=2**31 - 1),
            max_unfinished_images=read.integer("FATHOM_MAX_UNFINISHED_IMAGES", 2_000_000, low=1),
            max_owner_images=read.integer("FATHOM_MAX_OWNER_IMAGES", 1_000_000, low=1),
            depth_seconds=read.number("FATHOM_DEPTH_SECONDS", 20.0, low=0.1, high=300.0),
            max_depth_requests=read.integer("FATHOM_MAX_DEPTH_REQUESTS", 8, low=1),
            max_streams=read.integer("FATHOM_MAX_STREAMS", 24, low=1),
            max_wait_seconds=read.number("FATHOM_MAX_WAIT_SECONDS", 30.0, low=0.0, high=300.0),
            lease_images=read.integer("FATHOM_LEASE_IMAGES", 8, low=1, high=1000),
            lease_seconds=read.number("FATHOM_LEASE_SECONDS", 15.0, low=1.0),
            max_attempts=read.integer("FATHOM_MAX_ATTEMPTS", 3, low=1),
            image_seconds=read.number("FATHOM_IMAGE_SECONDS", 60.0, low=0.1),
            child_memory_mb=read.integer("FATHOM_CHILD_MEMORY_MB", 5120, low=0),
            retention_hours=read.number("FATHOM_RETENTION_HOURS", 168.0, low=0.0),
            source_buckets=read.words("FATHOM_SOURCE_BUCKETS"),
            url_sources=read.flag("FATHOM_URL_SOURCES", default=True),
            source_hosts=read.hosts("FATHOM_SOURCE_HOSTS"),
            source_seconds=read.number("FATHOM_SOURCE_SECONDS", 30.0, low=1.0, high=60.0),
            webhook_secrets=read.secrets("FATHOM_WEBHOOK_SECRETS"),
            presign_seconds=read.integer("FATHOM_PRESIGN_SECONDS", 3600, low=1, high=604_800),
            log_level=read.choice("FATHOM_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
            log_format=read.choice("FATHOM_LOG_FORMAT", "auto", LOG_FORMATS),
            allow_anonymous=read.flag("FATHOM_ALLOW_ANONYMOUS"),
            allowed_hosts=read.words("FATHOM_ALLOWED_HOSTS"),
            trusted_proxies=read.integer("FATHOM_TRUSTED_PROXIES", 0, low=0, high=10),
            cors_origins=read.origins("FATHOM_CORS_ORIGINS"),
            rate_limit=read.rate("FATHOM_RATE_LIMIT", "60000/minute"),
            metrics_token=read.optional("FATHOM_METRICS_TOKEN"),
        )
        if (settings.s3_access_key is None) != (settings.s3_secret_key is None):
            raise SettingsError("FATHOM_S3_ACCESS_KEY and FATHOM_S3_SECRET_KEY must be set together.")
        if 0 < settings.child_memory_mb < 1024:
            raise SettingsError("FATHOM_CHILD_MEMORY_MB must be 0, for no bound, or at least 1024.")
        if (settings.engine == "simulated") != (settings.simulate != "none"):
            raise SettingsError(
                "A simulated engine makes no depth maps. For a benchmark, set FATHOM_ENGINE=simulated and "
                "FATHOM_SIMULATE=network (or pipeline) together; otherwise neither."
            )
        if settings.s3_bucket in settings.source_buckets:
            # Everybody could read everybody's photos and results by naming them as sources.
            raise SettingsError("FATHOM_SOURCE_BUCKETS must not name the bucket of FATHOM_S3_BUCKET.")
        return settings


def is_rate(text: str) -> bool:
    """Return whether a text is a rate of requests, such as `600/minute`."""
    match = _RATE.match(text)
    return match is not None and int(match[1]) > 0


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

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.choice(name, "on" if default else "off", ("0", "1", "false", "true", "off", "on"))
        return value in ("1", "true", "on")

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word for word in self.text(name, "").replace(",", " ").split() if word)

    def origins(self, name: str) -> tuple[str, ...]:
        """Read origins as a browser sends them: scheme, host and port, nothing behind."""
        origins = self.words(name)
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc.lower()}":
                raise SettingsError(f"{name} must hold origins such as https://example.org, not {origin!r}.")
        return origins

    def rate(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if not is_rate(value):
            raise SettingsError(f"{name} must be a rate such as 600/minute, not {value!r}.")
        return value

    def hosts(self, name: str) -> tuple[str, ...]:
        words = self.words(name)
        try:
            AllowedHosts.of(words)
        except AddressRefused as exc:
            raise SettingsError(f"{name} must hold hosts, addresses and networks. {exc.message}") from exc
        return words

    def secrets(self, name: str) -> tuple[str, ...]:
        words = self.words(name)
        if not all(map(is_secret, words)):
            # The value is a secret and is therefore not repeated.
            raise SettingsError(f"{name} must hold secrets: whsec_ and 24 to 64 bytes in Base64 each.")
        return words

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
        value = self.url(name, "", ("http", "https"))
        if "@" in urlsplit(value).netloc:
            raise SettingsError(
                f"{name} must hold no credentials; set FATHOM_S3_ACCESS_KEY and FATHOM_S3_SECRET_KEY instead."
            )
        # Requests are made by appending to it.
        if "?" in value or "#" in value:
            raise SettingsError(f"{name} must end with its host or port: no query (?) or fragment (#).")
        return value.rstrip("/")
