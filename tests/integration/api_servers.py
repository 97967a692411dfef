"""The API in server processes of its own, as it is started in production."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from client.servers import HOST

CONFIG = "python:api.gunicorn_conf"

#: Starts a server with changed settings.
Start = Callable[..., "Server"]


@dataclass
class Server:
    """A running gunicorn, and what tests ask of it."""

    port: int
    process: subprocess.Popen[bytes]
    http: httpx.Client

    def rss(self) -> int:
        """Return the resident bytes of all its processes."""
        return sum(_rss(pid) for pid in [self.process.pid, *_children(self.process.pid)])

    def connect(self) -> socket.socket:
        return socket.create_connection((HOST, self.port), timeout=30)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _rss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def eventually(holds: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait until something holds; fail after a deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "It did not come true in time."
        time.sleep(0.05)


def launch(config: str, port: int, environ: Mapping[str, str], log: Path) -> Server:
    """Start gunicorn with one process; what it says is appended to a file."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", config, "-b", f"{HOST}:{port}"],
            env={**os.environ, "WEB_CONCURRENCY": "1", **environ},
            stdout=file,
            stderr=file,
        )
    return Server(port, process, httpx.Client(base_url=f"http://{HOST}:{port}", timeout=60))


def is_ready(server: Server, path: str) -> bool:
    if server.process.poll() is not None:
        pytest.fail("gunicorn did not start.")
    try:
        return server.http.get(path).status_code == 200
    except httpx.TransportError:
        return False
