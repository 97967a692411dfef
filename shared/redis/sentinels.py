"""Find the master of several Redis servers by asking the sentinels that watch them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from shared.net.redis_address import SentinelAddress, join_host

#: Seconds to wait for a sentinel before the next one is asked.
SENTINEL_TIMEOUT = 1.0


class MasterConnection(SentinelManagedConnection):
    """redis-py's connection to a master, which asks for the master before every attempt to connect.

    redis-py's own asks before the first only. To repeat a command it connects to the same server again, so a
    master whose machine does not answer takes all attempts. This one also leaves a master that refuses writes
    for lack of replicas: one with `min-replicas-to-write` does so if it was replaced while it was cut off.
    """

    def connect(self) -> None:
        Connection.connect(self)  # type: ignore[no-untyped-call]

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        if self._sock is None:
            self.host, self.port = self.connection_pool.get_master_address()
        # A repetition is the caller's, who comes through here again.
        super().connect_check_health(check_health, retry_socket_connect=False)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)
        except ResponseError as exc:
            if not str(exc).startswith("NOREPLICAS"):
                raise
            # The next command asks the sentinels again.
            self.disconnect()  # type: ignore[no-untyped-call]
            raise ConnectionError("The master has too few replicas.") from exc


class MasterTlsConnection(MasterConnection, SentinelManagedSSLConnection):
    """The same over TLS."""


class Sentinels(Sentinel):
    """redis-py's sentinels, for threads, and for passwords that are wrong.

    redis-py moves the sentinel that answered to the front, in a list that all threads share: two at once
    could leave one sentinel there twice and another not at all. And it takes a refused password for an
    absence.
    """

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return host and port of the master.

        Raises MasterNotFoundError, which is a ConnectionError, or AuthenticationError if all sentinels that
        answer refuse the password.
        """
        refusal, answered = None, False
        for sentinel in self.sentinels:
            try:
                masters: Any = sentinel.sentinel_masters()
            except AuthenticationError as exc:
                refusal = exc
            except (ConnectionError, TimeoutError):
                continue
            else:
                answered = True
                known = masters.get(service_name)
                if known and self.check_master_state(known, service_name):  # type: ignore[no-untyped-call]
                    self.sentinels = [sentinel, *(each for each in self.sentinels if each is not sentinel)]
                    return known["ip"], known["port"]
        if refusal is not None and not answered:
            raise refusal
        raise MasterNotFoundError(f"No sentinel knows a living master {service_name!r}.")

    def silent(self, master: str) -> tuple[str, ...]:
        """Return host and port of the sentinels that do not answer, or do not know the master."""
        silent = []
        for sentinel in self.sentinels:
            try:
                sentinel.sentinel_master(master)
            except (AuthenticationError, AuthorizationError, NoPermissionError):
                raise
            except (ConnectionError, TimeoutError, ResponseError):
                at = sentinel.connection_pool.connection_kwargs
                silent.append(join_host(at["host"], at["port"]))
        return tuple(sorted(silent))


def connect_sentinels(address: SentinelAddress) -> Sentinels:
    """Return clients for the sentinels; nothing is sent before the first use."""
    return Sentinels(  # type: ignore[no-untyped-call]
        address.sentinels, sentinel_kwargs=sentinel_options(address)
    )


def connect_master(address: SentinelAddress, options: Mapping[str, Any]) -> Redis:
    """Return a client for the master; every new connection of it asks the sentinels which server that is.

    `options` are those of a Redis client. A master that was replaced refuses writes, or has closed the
    connection; either makes the client ask again.
    """
    client: Redis = connect_sentinels(address).master_for(  # type: ignore[no-untyped-call]
        address.master,
        connection_class=MasterTlsConnection if address.is_tls else MasterConnection,
        db=address.db,
        username=address.login.username,
        password=address.login.password,
        **{**address.tls_options, **options},
    )
    return client


def sentinel_options(address: SentinelAddress) -> dict[str, Any]:
    """Return the options of a client for one sentinel: soon given up, because there are others."""
    login = address.sentinel_login
    return {
        "username": login.username,
        "password": login.password,
        "socket_connect_timeout": SENTINEL_TIMEOUT,
        "socket_timeout": SENTINEL_TIMEOUT,
        "socket_keepalive": True,
        # Once more, in case the connection had been idle for so long that it was dropped.
        "retry": Retry(NoBackoff(), retries=1),
        **({"ssl": True, **address.tls_options} if address.is_tls else {}),
    }
