"""Settings: `FATHOM_*` of the environment, read once, frozen, every error naming its variable.

Each field says how its variable is read, what holds without it, and what it means.
`docs/settings.md` is generated from that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared.errors import AddressRefused, SettingsError
from shared.net.redis_address import check_redis_url
from shared.net.url_policy import AllowedHosts
from shared.net.webhook_signing import is_secret
from shared.networks import NETWORKS, is_file_model

#: Turns the name of a variable and its text into a value; raises SettingsError, which names the variable.
Parser = Callable[[str, str], Any]

_RATE = re.compile(r"(\d{1,9})/(second|minute|hour|day)\Z")


class Group(StrEnum):
    """What a setting is about; the headings of docs/settings.md, in this order."""

    STORES = "Stores"
    MODEL = "Model"
    WORKERS = "Workers"
    API = "API"
    ACCESS = "Access"
    LIMITS = "Limits"
    SOURCES = "Sources and webhooks"
    LOGS = "Logs"
    #: Set by benchmarks and tests alone, and so not documented.
    BENCHMARKS = "Benchmarks"


@dataclass(frozen=True)
class Variable:
    """How one setting is read from the environment, and what a user is told about it."""

    group: Group
    parse: Parser
    #: The text that stands in for an absent variable; empty for none.
    default: str
    about: str
    #: What an empty default stands for.
    unset: str = "none"


def is_rate(text: str) -> bool:
    """Return whether a text is a rate of requests, such as `600/minute`."""
    match = _RATE.match(text)
    return match is not None and int(match[1]) > 0


# --- how texts are read ---------------------------------------------------------------


def _text(name: str, text: str) -> str:
    return text


def _optional(name: str, text: str) -> str | None:
    return text or None


def _path(name: str, text: str) -> Path:
    return Path(text).expanduser()


def _optional_path(name: str, text: str) -> Path | None:
    return _path(name, text) if text else None


def _choice(*allowed: str) -> Parser:
    def parse(name: str, text: str) -> str:
        if text not in allowed:
            raise SettingsError(f"{name} must be one of {', '.join(allowed)}, not {text!r}.")
        return text

    return parse


def _model(name: str, text: str) -> str:
    return text if is_file_model(text) else _choice(*NETWORKS, "file:NAME")(name, text)


def _flag(name: str, text: str) -> bool:
    return _choice("0", "1", "false", "true", "off", "on")(name, text) in ("1", "true", "on")


def _integer(low: int, high: int | None = None) -> Parser:
    return _bounded(int, "a whole number", low, high)


def _number(low: float, high: float | None = None) -> Parser:
    return _bounded(float, "a number", low, high)


def _bounded(convert: Callable[[str], Any], noun: str, low: float, high: float | None) -> Parser:
    def parse(name: str, text: str) -> Any:
        try:
            value = convert(text)
        except ValueError as exc:
            raise SettingsError(f"{name} must be {noun}, not {text!r}.") from exc
        # Written so that NaN, which compares false with everything, is refused too.
        if not value >= low or (high is not None and not value <= high):
            bounds = f"at least {low}" if high is None else f"between {low} and {high}"
            raise SettingsError(f"{name} must be {bounds}, not {text}.")
        return value

    return parse


def _child_memory(name: str, text: str) -> int:
    value: int = _integer(0)(name, text)
    if 0 < value < 1024:
        raise SettingsError(f"{name} must be 0, for no bound, or at least 1024.")
    return value


def _rate(name: str, text: str) -> str:
    if not is_rate(text):
        raise SettingsError(f"{name} must be a rate such as 600/minute, not {text!r}.")
    return text


def _words(name: str, text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _origins(name: str, text: str) -> tuple[str, ...]:
    """Read origins as a browser sends them: scheme, host and port, nothing behind."""
    origins = _words(name, text)
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc.lower()}":
            raise SettingsError(f"{name} must hold origins such as https://example.org, not {origin!r}.")
    return origins


def _hosts(name: str, text: str) -> tuple[str, ...]:
    words = _words(name, text)
    try:
        AllowedHosts.of(words)
    except AddressRefused as exc:
        raise SettingsError(f"{name} must hold hosts, addresses and networks. {exc.message}") from exc
    return words


def _secrets(name: str, text: str) -> tuple[str, ...]:
    words = _words(name, text)
    if not all(map(is_secret, words)):
        # The value is a secret and is therefore not repeated.
        raise SettingsError(f"{name} must hold secrets: whsec_ and 24 to 64 bytes in Base64 each.")
    return words


def _url(*schemes: str) -> Parser:
    def parse(name: str, text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            # The value may hold a password and is therefore not repeated.
            raise SettingsError(f"{name} must be a URL that starts with {' or '.join(schemes)}.")
        return text

    return parse


def _redis_url(name: str, text: str) -> str:
    try:
        check_redis_url(text)
    except AddressRefused as exc:
        raise SettingsError(f"{name}: {exc.message}") from exc
    return text


def _optional_redis_url(name: str, text: str) -> str | None:
    return _redis_url(name, text) if text else None


def _optional_url(name: str, text: str) -> str | None:
    if not text:
        return None
    value: str = _url("http", "https")(name, text)
    return value


def _s3_url(name: str, text: str) -> str | None:
    if not text:
        return None
    value: str = _url("http", "https")(name, text)
    if "@" in urlsplit(value).netloc:
        raise SettingsError(
            f"{name} must hold no credentials; set FATHOM_S3_ACCESS_KEY and FATHOM_S3_SECRET_KEY instead."
        )
    # Requests are made by appending to it.
    if "?" in value or "#" in value:
        raise SettingsError(f"{name} must end with its host or port: no query (?) or fragment (#).")
    return value.rstrip("/")


# --- the settings ---------------------------------------------------------------------


def _setting(
    group: Group, parse: Parser, default: str, about: str, *, unset: str = "none", secret: bool = False
) -> Any:
    """Declare a field that is read from the environment; a secret is left out of the settings' `repr`."""
    return field(repr=not secret, metadata={"variable": Variable(group, parse, default, about, unset)})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that can be set. The variable of a field is `FATHOM_` and its name in capitals."""

    redis_url: str = _setting(
        Group.STORES,
        _redis_url,
        "redis://127.0.0.1:6379/0",
        "Valkey or Redis, 6.2 or newer, with AOF and `noeviction`: one server, or the sentinels of several "
        "(`redis+sentinel://HOST,HOST,HOST/MASTER_NAME`, see "
        "[operations.md](operations.md#redis-that-fails-over)). `rediss` is TLS. Redis Cluster does not "
        "work.",
        secret=True,
    )
    broker_url: str | None = _setting(
        Group.STORES,
        _optional_redis_url,
        "",
        "Another Valkey or Redis for Celery's messages alone.",
        unset="`FATHOM_REDIS_URL`",
        secret=True,
    )
    s3_endpoint_url: str | None = _setting(
        Group.STORES, _s3_url, "", "Where the service reaches S3.", unset="AWS"
    )
    s3_public_url: str | None = _setting(
        Group.STORES,
        _s3_url,
        "",
        "Where clients reach the same S3, at its own host or port, never below a path. Presigned URLs are"
        " made for it; without it, the API passes all bytes on.",
    )
    s3_bucket: str = _setting(
        Group.STORES, _text, "fathom", "The bucket. The API creates it if it is missing."
    )
    s3_access_key: str | None = _setting(
        Group.STORES,
        _optional,
        "",
        "Set it together with the secret key, or set neither.",
        unset="boto3's own chain",
        secret=True,
    )
    s3_secret_key: str | None = _setting(
        Group.STORES,
        _optional,
        "",
        "Set it together with the access key, or set neither.",
        unset="boto3's own chain",
        secret=True,
    )
    s3_region: str = _setting(Group.STORES, _text, "us-east-1", "The region of the bucket.")
    presign_seconds: int = _setting(
        Group.STORES, _integer(1, 604_800), "3600", "Lifetime of a presigned URL."
    )
    retention_hours: float = _setting(
        Group.STORES,
        _number(0.0),
        "168",
        "Ended jobs are deleted, with their files, after this long. `0` keeps them.",
    )
    model: str = _setting(
        Group.MODEL,
        _model,
        next(iter(NETWORKS)),
        "The network that predicts depth: `"
        + "`, `".join(NETWORKS)
        + "`, or `file:NAME` for one that was added. `fathom model list` describes them.",
    )
    models: tuple[str, ...] = _setting(
        Group.MODEL,
        _words,
        "",
        "The networks that a worker serves, such as `midas_small dpt_large`, each loaded when it is wanted.",
        unset="`FATHOM_MODEL`, and all that were fetched and prepared",
    )
    weights: str = _setting(
        Group.MODEL,
        _text,
        "auto",
        "`official`, `starter`, `random` (seeded, for tests), or a path to a `.pt` or `.safetensors` "
        "file. `auto` takes the official weights if they have been downloaded, and the starter weights "
        "otherwise, which only `midas_small` has.",
    )
    weights_mirror: str | None = _setting(
        Group.MODEL,
        _optional_url,
        "",
        "The address of a folder that has copies of the official files, for `fathom model fetch`.",
        unset="the authors' releases",
    )
    engine: str = _setting(
        Group.MODEL,
        _choice("openvino", "torch", "simulated"),
        "openvino",
        "`openvino`, or `torch` as the reference.",
    )
    precision: str = _setting(
        Group.MODEL,
        _choice("auto", "f32", "bf16"),
        "auto",
        "`f32`, or `bf16`, which takes half the time on a CPU that has it. `auto` is bf16 with the "
        "starter weights, whose depth it moves by 0.3 % on average, and f32 with all others.",
    )
    decode: str = _setting(
        Group.MODEL,
        _choice("fast", "exact"),
        "fast",
        "`fast` reads a photo at the largest useful reduction, `exact` reads every pixel.",
    )
    cache_dir: Path = _setting(  # noqa: RUF009  # It declares a field.
        Group.MODEL,
        _path,
        "~/.cache/fathom",
        "Where weights, exported and compiled networks are kept. Below `XDG_CACHE_HOME`, if that is set.",
    )
    lease_images: int = _setting(
        Group.WORKERS,
        _integer(1, 1000),
        "8",
        "Images that a worker takes at a time; fewer if they cost more than a plain heatmap.",
    )
    lease_seconds: float = _setting(
        Group.WORKERS, _number(1.0), "15", "A dead worker's images are taken back after this long."
    )
    max_attempts: int = _setting(Group.WORKERS, _integer(1), "3", "An image fails after this many crashes.")
    image_seconds: float = _setting(
        Group.WORKERS,
        _number(0.1),
        "60",
        "The longest that one image may take in a worker; in proportion longer if it costs more than a plain "
        "heatmap.",
    )
    child_memory_mb: int = _setting(
        Group.WORKERS,
        _child_memory,
        "5120",
        "The most memory that one child process may use. A photo that needs more fails alone. `0` sets no "
        "bound.",
    )
    alive_file: Path | None = _setting(  # noqa: RUF009  # It declares a field.
        Group.WORKERS,
        _optional_path,
        "",
        "A file that a worker's parent process, or `fathom housekeeper`, touches every second while it is not"
        " stuck, for a liveness probe. Its folder must exist.",
    )
    depth_seconds: float = _setting(
        Group.API, _number(0.1, 300.0), "20", "The longest that `POST /v1/depth` takes to answer."
    )
    max_depth_requests: int = _setting(
        Group.API, _integer(1), "8", "Requests to `POST /v1/depth` that one API process serves at a time."
    )
    max_streams: int = _setting(
        Group.API,
        _integer(1),
        "24",
        "Requests in one API process that may wait for a job at the same time, event streams included.",
    )
    max_wait_seconds: float = _setting(
        Group.API, _number(0.0, 300.0), "30", "The longest wait that `Prefer: wait=` is granted."
    )
    cors_origins: tuple[str, ...] = _setting(Group.API, _origins, "", "Origins whose pages may call the API.")
    trusted_proxies: int = _setting(
        Group.API,
        _integer(0, 10),
        "0",
        "How many proxies in front have their `X-Forwarded-*` headers believed. With any, keys are "
        "required on loopback too.",
    )
    allow_anonymous: bool = _setting(
        Group.ACCESS, _flag, "0", "`1` serves without API keys at an address that others can reach."
    )
    allowed_hosts: tuple[str, ...] = _setting(
        Group.ACCESS,
        _words,
        "",
        "Names, besides local ones, under which the service may be reached while it requires no API key.",
    )
    rate_limit: str = _setting(
        Group.ACCESS,
        _rate,
        "60000/minute",
        "Requests allowed per API key, or per address where no key is required.",
    )
    metrics_token: str | None = _setting(
        Group.ACCESS,
        _optional,
        "",
        "A token that reads `/metrics` and `/v1/load` without an API key.",
        secret=True,
    )
    max_pixels: int = _setting(
        Group.LIMITS,
        _integer(1),
        "250000000",
        "Pixels of one picture, checked before it is decoded. Phones take up to 200 million.",
    )
    min_side: int = _setting(
        Group.LIMITS, _integer(1), "16", "Pixels of the shorter side of the smallest picture."
    )
    max_image_bytes: int = _setting(Group.LIMITS, _integer(1), "536870912", "Bytes of one picture's file.")
    max_request_bytes: int = _setting(Group.LIMITS, _integer(1), "8589934592", "Bytes of one request.")
    max_job_images: int = _setting(Group.LIMITS, _integer(1, 2**31 - 1), "1000000", "Images of one job.")
    max_unfinished_images: int = _setting(
        Group.LIMITS, _integer(1), "2000000", "Unfinished images of all jobs together."
    )
    max_owner_images: int = _setting(
        Group.LIMITS, _integer(1), "1000000", "Unfinished images of one owner's jobs."
    )
    source_buckets: tuple[str, ...] = _setting(
        Group.SOURCES,
        _words,
        "",
        "Buckets of the same object store that jobs may read photos from. Every user may read them.",
    )
    url_sources: bool = _setting(
        Group.SOURCES, _flag, "on", "`off` refuses photos named by URL, with the code `sources_off`."
    )
    source_hosts: tuple[str, ...] = _setting(
        Group.SOURCES,
        _hosts,
        "",
        "Private hosts, addresses and networks that source URLs and webhooks may lead to, on any port.",
    )
    source_seconds: float = _setting(
        Group.SOURCES,
        _number(1.0, 60.0),
        "30",
        "The longest that fetching one photo from its URL may take in all.",
    )
    webhook_secrets: tuple[str, ...] = _setting(
        Group.SOURCES,
        _secrets,
        "",
        "Secrets (`whsec_` and Base64) that sign webhooks. To replace one, put the new one first and keep"
        " the old one behind it, which signs too, until every receiver knows the new one. Without a "
        "secret there are no webhooks; `fathom up` makes one.",
        secret=True,
    )
    log_level: str = _setting(
        Group.LOGS,
        _choice("DEBUG", "INFO", "WARNING", "ERROR"),
        "INFO",
        "`DEBUG`, `INFO`, `WARNING` or `ERROR`.",
    )
    log_format: str = _setting(
        Group.LOGS,
        _choice("auto", "json", "text"),
        "auto",
        "`json` or `text`; `auto` is text on a terminal and JSON elsewhere.",
    )
    simulate: str = _setting(
        Group.BENCHMARKS,
        _choice("none", "network", "pipeline"),
        "none",
        "What the engine `simulated` fakes: the network alone, or all the work on a photo.",
    )
    simulate_seconds: float = _setting(
        Group.BENCHMARKS, _number(0.0, 60.0), "0", "How long a simulated pipeline sleeps over a photo."
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read `FATHOM_*` from `environ`, where an empty text counts as not set.

        Raises SettingsError, naming the variable, for a value that cannot be used.
        """
        cache_home = environ.get("XDG_CACHE_HOME")
        defaults = {"FATHOM_CACHE_DIR": f"{cache_home}/fathom"} if cache_home else {}
        values = {}
        for name, variable in cls.variables().items():
            text = environ.get(name, "").strip() or defaults.get(name, variable.default)
            values[name.removeprefix("FATHOM_").lower()] = variable.parse(name, text)
        settings = cls(**values)
        settings._check_together()
        return settings

    @property
    def broker_at(self) -> str:
        """The URL of the Redis that holds Celery's messages."""
        return self.broker_url or self.redis_url

    @classmethod
    def variables(cls) -> dict[str, Variable]:
        """Return all variables by name, in the order of the fields."""
        return {f"FATHOM_{item.name.upper()}": item.metadata["variable"] for item in fields(cls)}

    def _check_together(self) -> None:
        """Raise SettingsError for values that contradict each other."""
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise SettingsError("FATHOM_S3_ACCESS_KEY and FATHOM_S3_SECRET_KEY must be set together.")
        if (self.engine == "simulated") != (self.simulate != "none"):
            raise SettingsError(
                "A simulated engine makes no depth maps. For a benchmark, set FATHOM_ENGINE=simulated and "
                "FATHOM_SIMULATE=network (or pipeline) together; otherwise neither."
            )
        if self.s3_bucket in self.source_buckets:
            # Everybody could read everybody's photos and results by naming them as sources.
            raise SettingsError("FATHOM_SOURCE_BUCKETS must not name the bucket of FATHOM_S3_BUCKET.")
