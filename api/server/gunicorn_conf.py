"""How gunicorn serves the API: threads, for its requests mostly wait for networks.

Uploads and downloads may take hours, and are no reason to end a process: with `gthread`
the `timeout` is about the process's own heartbeat. A client that falls silent is dropped
by the sockets' own time limits, and one that sends drop by drop by the worker class.
"""

from __future__ import annotations

import os
import socket
import struct
from importlib import import_module
from typing import Any

wsgi_app = "api.wsgi:app"
worker_class = "api.server.paced_worker.PacedThreadWorker"
#: WEB_CONCURRENCY is gunicorn's own variable for the number of processes.
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
#: A stream of events holds one for as long as it lasts; what is not in use costs nothing.
threads = 64
#: Each process holds so many connections at most, idle ones included.
worker_connections = 512
# Every process makes its own connections, after the fork; the code is imported before it (`on_starting`).
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

# X-Forwarded-* is believed by the app alone, as FATHOM_TRUSTED_PROXIES says.
forwarded_allow_ips = ""

#: Seconds without a byte, received or taken, after which a client is given up.
SILENCE = 60
#: Seconds in all that a request's bytes are waited for, and one more for every PACE bytes received.
GRACE = 20
PACE = 500


def on_starting(server: Any) -> None:
    """Import what every process needs before they are forked: they start faster and share its memory."""
    for module in ("api.app", "shared.objectstore.s3", "shared.tickets"):
        import_module(module)


def post_worker_init(worker: Any) -> None:
    """Open a server on loopback to all; end one that others can reach and that no API key guards."""
    from api.auth.exposure import settle_exposure
    from api.services.backend import backend_of

    settle_exposure(worker.wsgi, worker.cfg.address)
    # Who waits for a job is sent to the process that comes next, instead of keeping this one.
    backend_of(worker.wsgi).watches.stop_when(lambda: not worker.alive)
    backend_of(worker.wsgi).recorder.start()


def worker_exit(server: Any, worker: Any) -> None:
    """Tell what this process measured last, and send its last traces."""
    from api.services.backend import backend_of

    if worker.booted:
        backend_of(worker.wsgi).recorder.stop()
        backend_of(worker.wsgi).tracer.stop()


def when_ready(server: Any) -> None:
    """Limit the silence of clients. On Linux, accepted sockets inherit this from the listener.

    Gunicorn puts no limit on reading a request's header or body: a few clients that send
    a byte an hour would hold every thread.
    """
    limit = struct.pack("ll", SILENCE, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
