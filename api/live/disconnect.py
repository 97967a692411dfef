"""Notice that the client of the current request has disconnected while the request only waits."""

from __future__ import annotations

import select
import socket

from flask import request


def client_disconnected() -> bool:
    """Return whether the client is known to have closed its connection.

    Gunicorn hands the socket over. This peeks and reads nothing, because bytes that a client sends
    ahead belong to its next request.
    """
    connection = request.environ.get("gunicorn.socket")
    if connection is None:
        return False
    try:
        return _is_readable(connection) and _peek(connection) == 0
    except OSError:
        # The client reset the connection.
        return True
    except ValueError:
        # An encrypted connection cannot be peeked into.
        return False


def _is_readable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _peek(connection: socket.socket) -> int:
    return connection.recv_into(bytearray(1), 1, socket.MSG_PEEK)
