"""Connect to Redis or Valkey, and translate their failures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import ConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from shared.errors import JobStoreFull, JobStoreUnavailable
from shared.net.redis_address import SentinelAddress, is_sentinel
from shared.redis.sentinels import connect_master

#: How many seconds to wait for a connection, and for an answer.
CONNECT_TIMEOUT = SOCKET_TIMEOUT = 5.0
#: The same, if it is better to go on without an answer.
IMPATIENT_TIMEOUT = 0.5

#: Error codes of a server that cannot serve writes at the moment.
_NOT_NOW = frozenset({"MISCONF", "NOREPLICAS", "READONLY", "BUSY"})
#: Redis 6.2 wraps an error from inside a script: `... @user_script: 5: -READONLY You can't ...`.
_CODE = re.compile(r"(?:^|: -)([A-Z]+) ")


def connect_redis(url: str) -> Redis:
    """Return a client for `url`; it sends nothing before its first use.

    Answers stay bytes, since bitmaps are read through it. It retries a lost connection three times,
    within about two seconds if the server refuses. Callers that want to wait longer do so themselves.
    If the URL names sentinels, every connection asks them for the master, and so finds the next one.
    """
    return _connect(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=SOCKET_TIMEOUT,
        socket_keepalive=True,
        health_check_interval=30,
        retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=1.0), retries=3),
    )


def impatient_pool(url: str) -> ConnectionPool:
    """Return connections that wait half a second at most for a server and do not retry."""
    client = _connect(
        url,
        socket_connect_timeout=IMPATIENT_TIMEOUT,
        socket_timeout=IMPATIENT_TIMEOUT,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), retries=0),
    )
    return client.connection_pool


def _connect(url: str, **options: Any) -> Redis:
    if is_sentinel(url):
        return connect_master(SentinelAddress.parse(url), options)
    return Redis.from_url(url, **options)


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn Redis' transient failures into JobStoreUnavailable; raise all others as they are.

    A refused password is not transient, although redis-py counts it as a connection error.
    """
    try:
        yield
    except (AuthenticationError, AuthorizationError):
        raise
    except (ConnectionError, TimeoutError, ReadOnlyError, ClusterDownError, TryAgainError) as exc:
        raise JobStoreUnavailable from exc
    except OutOfMemoryError as exc:
        raise JobStoreFull from exc
    except ResponseError as exc:
        code = _CODE.search(str(exc))
        if code and code[1] == "OOM":
            raise JobStoreFull from exc
        if code and code[1] in _NOT_NOW:
            raise JobStoreUnavailable from exc
        raise


def is_out_of_memory(exc: BaseException | None) -> bool:
    """Return whether Redis raised this error, perhaps wrapped by Celery, because it is out of memory."""
    return isinstance(exc, OutOfMemoryError)
