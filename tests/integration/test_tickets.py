"""Tickets on a real Valkey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fathom.stack.servers import ValkeyServer, free_ports
from shared.errors import JobStoreFull, JobStoreUnavailable
from shared.redis.client import connect_redis
from shared.settings import Settings
from shared.tickets import CeleryTickets, connect_tickets


@pytest.fixture
def tickets(settings: Settings) -> CeleryTickets:
    return connect_tickets(settings)


def test_an_unused_queue_is_empty(tickets: CeleryTickets):
    assert tickets.depth() == 0


def test_published_tickets_wait(tickets: CeleryTickets):
    tickets.publish(3)
    tickets.publish(2)

    assert tickets.depth() == 5


def test_no_ticket_is_published_when_none_is_asked_for(tickets: CeleryTickets):
    tickets.publish(0)

    assert tickets.depth() == 0


def test_another_process_sees_the_same_queue(settings: Settings, tickets: CeleryTickets):
    tickets.publish(1)

    assert connect_tickets(settings).depth() == 1


CALLS: list[Callable[[CeleryTickets], object]] = [lambda t: t.publish(1), lambda t: t.depth()]


@pytest.mark.timeout(60)
def test_an_unreachable_broker_is_soon_reported_as_unavailable(settings_factory: Callable[..., Settings]):
    (nobody,) = free_ports(1)
    away = [connect_tickets(settings_factory(redis_url=f"redis://127.0.0.1:{nobody}/0")) for _ in CALLS]
    # Each of them tries several times, and both may do so at once.
    with ThreadPoolExecutor(len(CALLS)) as pool:
        errors = [pool.submit(call, tickets).exception for call, tickets in zip(CALLS, away, strict=True)]

    assert [type(error()) for error in errors] == [JobStoreUnavailable] * len(CALLS)


@pytest.mark.parametrize("call", CALLS)
def test_a_broker_is_used_again_after_an_outage(
    tmp_path_factory: pytest.TempPathFactory,
    settings_factory: Callable[..., Settings],
    call: Callable[[CeleryTickets], object],
):
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    tickets = connect_tickets(settings_factory(redis_url=server.url))
    tickets.publish(1)
    server.stop()
    with pytest.raises(JobStoreUnavailable):
        call(tickets)

    server.start()
    try:
        call(tickets)
        assert tickets.depth() >= 1
    finally:
        server.stop()


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


def test_a_full_broker_is_reported_and_later_accepts_tickets_again(
    own_server: ValkeyServer, settings_factory: Callable[..., Settings]
):
    tickets = connect_tickets(settings_factory(redis_url=own_server.url))
    tickets.publish(1)
    with connect_redis(own_server.url) as client:
        client.config_set("maxmemory", "1mb")
        with pytest.raises(JobStoreFull):
            tickets.publish(1)
        client.config_set("maxmemory", "0")

    tickets.publish(1)
    assert tickets.depth() == 2


class OnSocket(ValkeyServer):
    """A server that listens on a Unix socket too."""

    def _configuration(self) -> str:
        return super()._configuration() + "unixsocket ./redis.sock\n"


def test_a_broker_is_reached_through_a_unix_socket(
    tmp_path_factory: pytest.TempPathFactory, settings_factory: Callable[..., Settings]
):
    with OnSocket(tmp_path_factory.mktemp("socket"), password="pass.word") as server:
        url = f"unix://:pass.word@{server.data_dir}/redis.sock?db=3"
        connect_tickets(settings_factory(broker_url=url)).publish(2)

        same = f"{server.url.removesuffix('/0')}/3"
        assert connect_tickets(settings_factory(broker_url=same)).depth() == 2


def test_a_broker_that_was_flushed_takes_tickets(tickets: CeleryTickets, settings: Settings):
    tickets.publish(1)
    with connect_redis(settings.redis_url) as client:
        client.flushdb()

    tickets.publish(2)

    assert tickets.depth() == 2
