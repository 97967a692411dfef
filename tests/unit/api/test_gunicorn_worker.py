from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from gunicorn.http.errors import NoMoreData

from api.gunicorn_worker import PacedSocket


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's and the server's end of a connection."""
    client, server = socket.socketpair()
    yield client, server
    client.close()
    server.close()


def until_given_up(paced: PacedSocket) -> Iterator[bytes]:
    """Yield what is received byte by byte until patience has run out."""
    with suppress(NoMoreData):
        while True:
            yield paced.recv(1)


def test_what_has_come_is_received(ends: tuple[socket.socket, socket.socket]):
    client, server = ends
    client.sendall(b"GET /")

    assert PacedSocket(server, grace=1, pace=500, silence=1).recv(100) == b"GET /"


def test_a_client_that_falls_silent_is_given_up(ends: tuple[socket.socket, socket.socket]):
    paced = PacedSocket(ends[1], grace=100, pace=500, silence=0.05)

    with pytest.raises(NoMoreData):
        paced.recv(100)
    with pytest.raises(NoMoreData):
        paced.recv(100)


def test_a_client_that_drips_is_given_up_though_it_never_falls_silent(
    ends: tuple[socket.socket, socket.socket],
):
    client, server = ends
    paced, stop = PacedSocket(server, grace=0.3, pace=500, silence=60), threading.Event()

    def drip() -> None:
        while not stop.wait(0.02):
            client.sendall(b"a")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        received = b"".join(until_given_up(paced))
    finally:
        stop.set()
        dripping.join()

    assert 0 < len(received) < 100


def test_what_comes_at_a_pace_may_take_its_time(ends: tuple[socket.socket, socket.socket]):
    client, server = ends
    paced = PacedSocket(server, grace=0.2, pace=1000, silence=60)
    client.sendall(b"a" * 5000)
    assert len(paced.recv(5000)) == 5000
    threading.Timer(0.5, client.sendall, [b"b"]).start()

    # Five seconds were earned, of which half a one is used.
    assert paced.recv(1) == b"b"


def test_time_that_the_server_takes_costs_the_client_nothing(ends: tuple[socket.socket, socket.socket]):
    client, server = ends
    paced = PacedSocket(server, grace=0.1, pace=10**9, silence=60)
    for _ in range(3):
        client.sendall(b"a")
        time.sleep(0.05)
        assert paced.recv(1) == b"a"


def test_every_request_begins_anew(ends: tuple[socket.socket, socket.socket]):
    client, server = ends
    paced = PacedSocket(server, grace=0.05, pace=500, silence=60)
    with pytest.raises(NoMoreData):
        paced.recv(1)
    paced.begin()
    client.sendall(b"a")

    assert paced.recv(1) == b"a"


def test_the_sockets_own_time_limit_is_kept(ends: tuple[socket.socket, socket.socket]):
    client, server = ends
    server.settimeout(7.0)
    client.sendall(b"a")
    PacedSocket(server, grace=100, pace=500, silence=60).recv(1)

    assert server.gettimeout() == 7.0
