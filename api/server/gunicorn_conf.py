"""How gunicorn serves the API: with threads, because requests mostly wait for networks.

An upload or download may take hours and must not end its process: with `gthread`, `timeout` is about
the heartbeat of the process. The time limits of the sockets drop a client that falls silent, and the
worker class drops one that sends too slowly.
"""

from __future__ import annotations

import gc
import os
import socket
import struct
from importlib import import_module
from typing import Any

wsgi_app = "api.wsgi:app"
worker_class = "api.server.paced_worker.PacedThreadWorker"
#: WEB_CONCURRENCY is gunicorn's own variable for the number of processes.
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
#: An event stream holds a thread for as long as it lasts. Unused threads cost nothing.
threads = 64
#: The most connections of one process, idle ones included.
worker_connections = 512
# Every process makes its own connections, after the fork; the code is imported before it (`on_starting`).
preload_app = False

timeout = 60
graceful_timeout = 30
keepalive = 15

limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190

# The heartbeat file must not be on a disk that may stall.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
# The app logs every request itself, with the request's id.
accesslog = None
errorlog = "-"

# Only the app reads X-Forwarded-*, according to FATHOM_TRUSTED_PROXIES.
forwarded_allow_ips = ""

#: Seconds without a byte sent or received, after which a client is dropped.
SILENCE = 60
#: Seconds that the server waits for all bytes of a request, plus one for every PACE bytes received.
GRACE = 20
PACE = 500


def on_starting(server: Any) -> None:
    """Import what every process needs before they are forked: they start faster and share its memory."""
    import_module("api.app")
    # The collector writes to every object that it looks at; frozen ones stay shared.
    gc.collect()
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Start what a process needs. Refuse to start if other machines can reach it and no API key exists."""
    from api.auth.exposure import settle_exposure
    from api.services.backend import backend_of

    settle_exposure(worker.wsgi, worker.cfg.address)
    backend = backend_of(worker.wsgi)
    # Whoever waits for a job reconnects to the next process instead of keeping this one alive.
    backend.watcher.stop_when(lambda: not worker.alive)
    backend.metrics_buffer.start()


def worker_exit(server: Any, worker: Any) -> None:
    """Send the last metrics and traces of a process."""
    from api.services.backend import backend_of

    if worker.booted:
        backend = backend_of(worker.wsgi)
        backend.metrics_buffer.stop()
        backend.tracer.stop()


def when_ready(server: Any) -> None:
    """Limit how long clients may be silent. On Linux, accepted sockets inherit this from the listener.

    Gunicorn itself does not limit the reading of a header or body, so a few clients that send a byte an
    hour could hold every thread.
    """
    limit = struct.pack("ll", SILENCE, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
