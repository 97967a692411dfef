"""Connections to Redis or Valkey, and what their failures mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
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

#: Seconds to connect, and to wait for an answer.
CONNECT_TIMEOUT = SOCKET_TIMEOUT = 5.0
#: The same, where it is better to do without an answer.
IMPATIENT_TIMEOUT = 0.5

#: Codes of a server that cannot serve writes just now.
_NOT_NOW = frozenset({"MISCONF", "NOREPLICAS", "READONLY", "BUSY"})
#: Redis 6.2 wraps an error from inside a script: `... @user_script: 5: -READONLY You can't ...`.
_CODE = re.compile(r"(?:^|: -)([A-Z]+) ")


def connect_redis(url: str) -> Redis:
    """Return a client for `url`; nothing is sent before its first use.

    Answers stay bytes, since bitmaps are read through it. A lost connection is tried
    again three times, within about two seconds if the server refuses; who waits for
    longer does so knowingly, one level up.
    """
    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=SOCKET_TIMEOUT,
        socket_keepalive=True,
        health_check_interval=30,
        retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=1.0), retries=3),
    )


def impatient_options() -> dict[str, Any]:
    """Return options of a client whose answers are worth no wait: half a second, and no second try."""
    return {
        "socket_connect_timeout": IMPATIENT_TIMEOUT,
        "socket_timeout": IMPATIENT_TIMEOUT,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), retries=0),
    }


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn the failures of Redis that pass with time into JobStoreUnavailable; raise others as they are.

    A refused password is no such failure, though its class says it is one of the connection.
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
    """Tell whether an error, such as one that Celery wrapped, is Redis' refusal for lack of memory."""
    return isinstance(exc, OutOfMemoryError)
