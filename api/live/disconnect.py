"""Whether the client of the present request is still there; a server that only waits would not notice."""

from __future__ import annotations

import select
import socket

from flask import request


def client_disconnected() -> bool:
    """Return whether the client has closed its connection, as far as that can be told.

    Gunicorn hands the socket over. It is looked at and nothing is read: what a client
    sends ahead is its next request.
    """
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        return False
    try:
        return _is_readable(connection) and _peek(connection) == 0
    except OSError:
        # The client broke it off.
        return True
    except ValueError:
        # An encrypted connection cannot be looked into.
        return False


def _is_readable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _peek(connection: socket.socket) -> int:
    return connection.recv_into(bytearray(1), 1, socket.MSG_PEEK)
