"""Describe a Redis or Valkey server, for people who set one up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError

from shared.errors import JobStoreDenied
from shared.net.redis_address import SentinelAddress, join_host
from shared.redis.client import connect_redis, redis_errors
from shared.redis.sentinels import connect_sentinels

#: So many round trips are timed, and their median is reported.
_TRIPS = 7


@dataclass(frozen=True, kw_only=True)
class RedisFacts:
    """Facts about a server."""

    #: `valkey` or `redis`.
    kind: str
    #: The version of Redis, or of the Redis that a Valkey is compatible with.
    version: tuple[int, ...]
    #: Whether every change is written to an append-only file.
    appends: bool
    #: What the server evicts when its memory is full; `noeviction` means nothing.
    policy: str
    used_bytes: int
    #: The memory limit; None if there is none.
    most_bytes: int | None
    #: Seconds for one round trip.
    latency: float
    #: By how many seconds the server's clock is ahead of this machine's.
    ahead: float
    #: Whether it is a node of a Redis Cluster.
    in_cluster: bool = False


def look_at_redis(url: str) -> RedisFacts:
    """Ask a server about itself.

    Raises JobStoreUnavailable if it does not answer, and JobStoreDenied if it refuses the password.
    """
    try:
        with redis_errors(), connect_redis(url) as client:
            info = client.info()
            trips = sorted(_time_trip(client.ping) for _ in range(_TRIPS))
            before = time.time()
            seconds, microseconds = client.time()
            after = time.time()
    except (AuthenticationError, AuthorizationError, NoPermissionError) as exc:
        raise JobStoreDenied from exc
    return RedisFacts(
        kind=str(info.get("server_name", "redis")),
        version=tuple(int(part) for part in str(info["redis_version"]).split(".")[:2]),
        appends=bool(int(info.get("aof_enabled", 0))),
        policy=str(info.get("maxmemory_policy", "")),
        used_bytes=int(info["used_memory"]),
        most_bytes=int(info.get("maxmemory", 0)) or None,
        latency=trips[_TRIPS // 2],
        ahead=seconds + microseconds / 1e6 - (before + after) / 2,
        in_cluster=bool(int(info.get("cluster_enabled", 0))),
    )


@dataclass(frozen=True, kw_only=True)
class SentinelFacts:
    """What sentinels say about a master."""

    #: Host and port of the master.
    master: str
    #: How many sentinels were asked, and which of them did not answer or do not know the master.
    asked: int
    silent: tuple[str, ...]


def look_at_sentinels(url: str) -> SentinelFacts:
    """Ask the sentinels that a URL names for their master.

    Raises JobStoreUnavailable if none knows it, and JobStoreDenied if one refuses the password.
    """
    address = SentinelAddress.parse(url)
    try:
        with redis_errors(), connect_sentinels(address) as sentinels:
            master = join_host(*sentinels.discover_master(address.master))
            silent = sentinels.silent(address.master)
    except (AuthenticationError, AuthorizationError, NoPermissionError) as exc:
        raise JobStoreDenied from exc
    return SentinelFacts(master=master, asked=len(address.sentinels), silent=silent)


def _time_trip(ping: Callable[[], object]) -> float:
    began = time.perf_counter()
    ping()
    return time.perf_counter() - began
