from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from gunicorn.http.errors import NoMoreData

from api.server.paced_worker import PacedSocket
from tests.fakes import FakeClock


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The ends of a connection: that of the client, then that of the server."""
    client, server = socket.socketpair()
    yield client, server
    client.close()
    server.close()


def until_disconnected(paced: PacedSocket) -> Iterator[bytes]:
    """Yield received bytes, one at a time, until the time is up."""
    with suppress(NoMoreData):
        while True:
            yield paced.recv(1)


def test_received_bytes_are_returned(ends: tuple[socket.socket, socket.socket]):
    client, server = ends
    client.sendall(b"GET /")

    assert PacedSocket(server, grace=1, pace=500, silence=1).recv(100) == b"GET /"


def test_a_silent_client_is_disconnected(ends: tuple[socket.socket, socket.socket]):
    paced = PacedSocket(ends[1], grace=100, pace=500, silence=0.05)

    with pytest.raises(NoMoreData):
        paced.recv(100)
    with pytest.raises(NoMoreData):
        paced.recv(100)


class Sender(socket.socket):
    """A connection whose client sends a byte every `pause` seconds of a clock."""

    def __init__(self, clock: FakeClock, *, pause: float) -> None:
        super().__init__(socket.AF_UNIX)
        self.pause = pause
        self._clock = clock

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        limit = self.gettimeout()
        if limit is not None and limit < self.pause:
            self._clock.advance(limit)
            raise TimeoutError
        self._clock.advance(self.pause)
        return b"a" * size


def test_a_client_that_sends_too_slowly_is_disconnected():
    clock = FakeClock()
    with Sender(clock, pause=20) as sender:
        paced = PacedSocket(sender, grace=300, pace=0.5, silence=60, clock=clock)
        received = b"".join(until_disconnected(paced))

    # Each byte takes twenty seconds and earns two; twelve seconds of the grace are left then.
    assert len(received) == 16


def test_a_client_with_a_sufficient_rate_may_take_long():
    clock = FakeClock()
    with Sender(clock, pause=0) as sender:
        paced = PacedSocket(sender, grace=2, pace=1000, silence=60, clock=clock)
        assert len(paced.recv(5000)) == 5000
        sender.pause = 4

        # Five seconds were earned, in addition to the two of grace.
        assert len(list(until_disconnected(paced))) == 1


def test_the_time_of_the_server_does_not_count_against_the_client():
    clock = FakeClock()
    with Sender(clock, pause=0) as sender:
        paced = PacedSocket(sender, grace=1, pace=10**9, silence=60, clock=clock)
        for _ in range(3):
            clock.advance(1000)
            assert paced.recv(1) == b"a"


def test_every_request_has_its_own_time(ends: tuple[socket.socket, socket.socket]):
    client, server = ends
    paced = PacedSocket(server, grace=0.05, pace=500, silence=60)
    with pytest.raises(NoMoreData):
        paced.recv(1)
    paced.begin()
    client.sendall(b"a")

    assert paced.recv(1) == b"a"


def test_the_timeout_of_the_socket_is_restored(ends: tuple[socket.socket, socket.socket]):
    client, server = ends
    server.settimeout(7.0)
    client.sendall(b"a")
    PacedSocket(server, grace=100, pace=500, silence=60).recv(1)

    assert server.gettimeout() == 7.0
