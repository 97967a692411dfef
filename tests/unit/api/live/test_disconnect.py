from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from flask import Flask

from api.live.disconnect import client_disconnected


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The ends of a connection: that of the server, then that of the client."""
    server, client = socket.socketpair()
    yield server, client
    server.close()
    client.close()


def asked(connection: object) -> bool:
    with Flask("app").test_request_context(environ_overrides={"gunicorn.socket": connection}):
        return client_disconnected()


def test_a_waiting_client_is_connected(ends: tuple[socket.socket, socket.socket]) -> None:
    assert not asked(ends[0])


def test_a_client_that_sends_its_next_request_is_connected_and_no_byte_is_lost(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    server, client = ends
    client.sendall(b"GET /")

    assert not asked(server)
    assert server.recv(10) == b"GET /"


def test_a_client_that_closed_its_connection_has_disconnected(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    server, client = ends
    client.close()

    assert asked(server)


def test_without_a_socket_the_client_counts_as_connected() -> None:
    assert not asked(None)


def test_a_connection_that_cannot_be_checked_counts_as_alive(
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
