"""The checks of `fathom doctor`: settings, Redis, S3, the model, this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from fathom.doctor.findings import Finding, error, ok, warning
from fathom.doctor.redis import check_redis
from fathom.doctor.s3 import NO_PATH, check_object_store, has_path
from shared.errors import ModelError, SettingsError
from shared.observability.tracing_setup import find_obstacle, is_wanted
from shared.settings import Settings

#: Free bytes of a disk below which there may be no room for weights and graphs.
DISK = 500 * 2**20


def examine(environ: Mapping[str, str], api_url: str) -> Iterator[Finding]:
    """Yield what every check finds, one after another; no check leaves a change behind."""
    try:
        settings = Settings.from_environ(environ)
    except SettingsError as exc:
        yield error("settings", exc.message, "Correct it; docs/settings.md lists all settings.")
        return
    yield from check_settings(settings)
    yield from check_redis(settings)
    yield from check_object_store(settings, api_url)
    yield from check_model(settings)
    yield from check_machine(settings)
    yield from check_tracing(environ)


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Look for settings that contradict each other or are not meant for production."""
    found = False
    for is_odd, message, remedy in _oddities(settings):
        if is_odd:
            found = True
            yield warning("settings", message, remedy)
    if not found:
        yield ok("settings", "All settings are valid and agree with each other.")


def _oddities(settings: Settings) -> Iterator[tuple[bool, str, str]]:
    yield (
        settings.max_image_bytes > settings.max_request_bytes,
        "A picture may be larger than a whole request, so the largest can only be sent by presigned URL.",
        "Raise FATHOM_MAX_REQUEST_BYTES above FATHOM_MAX_IMAGE_BYTES.",
    )
    yield (
        settings.lease_seconds < 5,
        f"A lease of {settings.lease_seconds:g} s is lost at the smallest delay; it is meant for tests.",
        "Leave FATHOM_LEASE_SECONDS at 15.",
    )
    yield (
        0 < settings.retention_hours < 1,
        f"Jobs are deleted {settings.retention_hours * 60:.0f} minutes after they end.",
        "Set FATHOM_RETENTION_HOURS to the hours that results are to be kept.",
    )
    yield (
        settings.weights == "random" or settings.engine == "simulated",
        "The network is not a real one: its results are not depth maps.",
        "Unset FATHOM_WEIGHTS and FATHOM_ENGINE.",
    )
    yield (
        has_path(settings.s3_public_url),
        f"FATHOM_S3_PUBLIC_URL is {settings.s3_public_url}, below a path. Presigned URLs are signed with "
        "their path, so S3 refuses them if a proxy in front removes it.",
        NO_PATH,
    )
    yield (
        settings.s3_public_url is not None and settings.presign_seconds < 60,
        f"Presigned URLs expire after {settings.presign_seconds} s, before a large file is sent.",
        "Leave FATHOM_PRESIGN_SECONDS at 3600.",
    )


def check_model(settings: Settings) -> Iterator[Finding]:
    """Say which weights would be used here, and how."""
    try:
        from worker.model.description import describe
    except ModuleNotFoundError:
        yield ok("model", "No worker is installed here, so there is no network to look at.")
        return
    try:
        model = describe(settings)
    except (ModelError, SettingsError) as exc:
        yield error("model", exc.message, "See FATHOM_WEIGHTS in docs/settings.md.")
        return
    if model["engine"] == "simulated":
        yield warning("model", "The network is simulated.", "Unset FATHOM_ENGINE and FATHOM_SIMULATE.")
        return
    sha256 = str(model["sha256"])[:8]
    yield ok("model", f"Weights {model['weights']} (SHA-256 {sha256}...) are there and whole.")
    yield ok("model", f"They run on {model['engine']} in {model['precision']}.")


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Check the disk of the cache, and the memory that children may take."""
    yield _check_disk(settings.cache_dir)
    most = settings.child_memory_mb * 2**20
    cores, memory = os.cpu_count() or 1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if most == 0:
        yield warning(
            "machine", "The memory of children is not bounded.", "Set FATHOM_CHILD_MEMORY_MB to 5120."
        )
    elif most > memory:
        yield warning(
            "machine",
            f"A child may take {settings.child_memory_mb} MB, more than this machine has.",
            f"Set FATHOM_CHILD_MEMORY_MB to {max(memory // 2**20 * 3 // 4, 1024)} at most.",
        )
    else:
        yield ok(
            "machine", f"{cores} cores and {memory / 2**30:.0f} GB; {settings.child_memory_mb} MB a child."
        )


def check_tracing(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check whether traces can be sent, if they are wanted."""
    if not is_wanted(environ):
        return
    obstacle = find_obstacle(environ)
    if obstacle is None:
        yield ok("tracing", "Traces are sent to the collector that OTEL_EXPORTER_OTLP_* names.")
    else:
        yield warning("tracing", obstacle, "See 'Traces' in docs/operations.md.")


def _check_disk(cache_dir: Path) -> Finding:
    folder = next(path for path in (cache_dir.absolute(), *cache_dir.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return error(
            "machine",
            f"The cache {cache_dir} cannot be written.",
            "Set FATHOM_CACHE_DIR to a folder of your own.",
        )
    text = f"{free / 2**30:.1f} GB are free at the cache {cache_dir}."
    if free < DISK:
        return warning("machine", text, "Free some: weights and the exported network take about 300 MB.")
    return ok("machine", text)
