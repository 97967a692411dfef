from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from flask import Flask

from api.live.disconnect import client_disconnected


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end of a connection, and the client's."""
    server, client = socket.socketpair()
    yield server, client
    server.close()
    client.close()


def asked(connection: object) -> bool:
    with Flask("app").test_request_context(environ_overrides={"gunicorn.socket": connection}):
        return client_disconnected()


def test_a_client_that_waits_is_there(ends: tuple[socket.socket, socket.socket]) -> None:
    assert not asked(ends[0])


def test_a_client_that_sends_its_next_request_is_there_and_nothing_is_lost(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    server, client = ends
    client.sendall(b"GET /")

    assert not asked(server)
    assert server.recv(10) == b"GET /"


def test_a_client_that_closed_its_end_has_left(ends: tuple[socket.socket, socket.socket]) -> None:
    server, client = ends
    client.close()

    assert asked(server)


def test_where_no_socket_is_known_the_client_is_taken_to_be_there() -> None:
    assert not asked(None)


def test_a_connection_that_cannot_be_looked_into_is_taken_to_be_alive(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    server, client = ends
    client.sendall(b"encrypted")

    class Encrypted:
        def fileno(self) -> int:
            return server.fileno()

        def recv_into(self, *_: object) -> int:
            raise ValueError("non-zero flags not allowed in calls to recv_into() on an SSLSocket")

    assert not asked(Encrypted())
