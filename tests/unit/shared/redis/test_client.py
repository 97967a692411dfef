from __future__ import annotations

import pytest
import redis
from redis import exceptions

from shared.errors import JobStoreFull, JobStoreUnavailable
from shared.redis.client import connect_redis, redis_errors

#: How Redis 6.2 wraps an error from inside a script.
NESTED = "Error running script (call to f_1): @user_script:5: @user_script: 5: -"


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("refused"),
        exceptions.TimeoutError("no answer"),
        exceptions.BusyLoadingError("loading the dataset in memory"),
        exceptions.MaxConnectionsError("too many"),
        exceptions.ReadOnlyError("You can't write against a read only replica."),
        exceptions.ClusterDownError("The cluster is down"),
        exceptions.MasterDownError("Link with MASTER is down"),
        exceptions.TryAgainError("multiple keys request during rehashing of slot"),
        exceptions.ResponseError("MISCONF Valkey is configured to save RDB snapshots, but it can't."),
        exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
        exceptions.ResponseError(NESTED + "READONLY You can't write against a read only replica."),
        exceptions.ResponseError("BUSY Valkey is busy running a script."),
    ],
)
def test_temporary_errors_are_outages(error: Exception):
    with pytest.raises(JobStoreUnavailable) as caught, redis_errors():
        raise error

    assert caught.value.__cause__ is error
    assert caught.value.transient


@pytest.mark.parametrize(
    "error",
    [
        exceptions.OutOfMemoryError("command not allowed"),
        exceptions.ResponseError(NESTED + "OOM command not allowed."),
    ],
)
def test_a_full_store_has_its_own_error(error: Exception):
    with pytest.raises(JobStoreFull), redis_errors():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        exceptions.AuthenticationError("WRONGPASS"),
        exceptions.AuthorizationError("no"),
        exceptions.NoPermissionError("no permissions to run the 'evalsha' command"),
        exceptions.ResponseError("WRONGTYPE Operation against a key"),
        exceptions.ResponseError("BUSYKEY Target key name already exists."),
        exceptions.ResponseError("Error running script: user_script:85: attempt to index a nil value"),
        exceptions.DataError("Invalid input"),
        KeyError("not of Redis at all"),
    ],
)
def test_other_errors_are_raised_unchanged(error: Exception):
    with pytest.raises(type(error)) as caught, redis_errors():
        raise error

    assert caught.value is error


@pytest.mark.parametrize(
    ("url", "database"), [("redis://127.0.0.1:7000/3", 3), ("redis://:secret@example.org:6379", 0)]
)
def test_creating_a_client_does_not_connect(url: str, database: int):
    with connect_redis(url) as client:
        arguments = client.connection_pool.connection_kwargs

        assert isinstance(client, redis.Redis)
        assert arguments.get("db", 0) == database
        assert (arguments["socket_timeout"], arguments["socket_connect_timeout"]) == (5.0, 5.0)
