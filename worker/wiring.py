"""Where the workers' parts are put together: settings in, real stores and pipeline out."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from shared.connections import connect_redis
from shared.job_store import RedisJobStore
from shared.object_store import S3ObjectStore
from shared.ports import JobStore, ObjectStore
from shared.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Stores:
    """The stores of one process. Connections do not survive a fork: every process makes its own."""

    jobs: JobStore
    objects: ObjectStore


def connect_stores(settings: Settings) -> Stores:
    """Connect to Redis and S3 as the settings say; nothing is sent until first use."""
    jobs = RedisJobStore(
        connect_redis(settings.redis_url),
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
    )
    return Stores(jobs=jobs, objects=S3ObjectStore.from_settings(settings))


def process_name() -> str:
    """Return a name for this process that no other process of the deployment has."""
    return f"{socket.gethostname()}:{os.getpid()}"
