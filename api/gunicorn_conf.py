"""How gunicorn serves the API: threads, for its requests mostly wait for networks.

Uploads and downloads may take hours, and are no reason to end a process: with `gthread`
the `timeout` is about the process's own heartbeat. A client that falls silent is dropped
by the sockets' own time limits.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

wsgi_app = "api.wsgi:app"
worker_class = "gthread"
#: WEB_CONCURRENCY is gunicorn's own variable for the number of processes.
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
threads = 16
#: Each process holds so many connections at most, idle ones included.
worker_connections = 512
# Every process makes its own connections, after the fork.
preload_app = False

timeout = 60
graceful_timeout = 30
keepalive = 15

limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190

# The heartbeat file must not lie on a disk that may stall.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
# The app writes one line for every request itself, with the request's id.
accesslog = None
errorlog = "-"

#: Seconds without a byte, received or taken, after which a client is given up.
SILENCE = 60


def when_ready(server: Any) -> None:
    """Limit the silence of clients. On Linux, accepted sockets inherit this from the listener.

    Gunicorn puts no limit on reading a request's header or body: a few clients that send
    a byte an hour would hold every thread.
    """
    limit = struct.pack("ll", SILENCE, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
