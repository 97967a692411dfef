"""The real stores of a worker's process, and the names of processes."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from shared.chores.port import Chores
from shared.chores.redis_store import RedisChores
from shared.jobstore.port import JobStore
from shared.jobstore.redis_store import RedisJobStore
from shared.metrics.port import Statistics
from shared.metrics.redis_store import RedisStatistics
from shared.objectstore.port import ObjectStore
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from shared.settings import Settings

#: What workers are called in traces.
SERVICE = "fathom-worker"


@dataclass(frozen=True, kw_only=True)
class Stores:
    """The stores of one process. Connections do not survive a fork, so every process makes its own."""

    jobs: JobStore
    objects: ObjectStore
    statistics: Statistics
    chores: Chores


def connect_stores(settings: Settings) -> Stores:
    """Connect to Redis and S3 as the settings say; nothing is sent until first use."""
    client = connect_redis(settings.redis_url)
    jobs = RedisJobStore(
        client,
        lease_seconds=settings.lease_seconds,
        max_attempts=settings.max_attempts,
    )
    # The breakers wait, so they must hear of every failure at once.
    objects = S3ObjectStore.from_settings(settings, attempts=1)
    return Stores(jobs=jobs, objects=objects, statistics=RedisStatistics(client), chores=RedisChores(client))


def process_name() -> str:
    """Return this process's name, unique in the deployment."""
    return f"{socket.gethostname()}:{os.getpid()}"


def worker_name() -> str:
    """Return the name under which this child's parent process is registered."""
    return f"{socket.gethostname()}:{os.getppid()}"
