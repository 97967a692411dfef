"""Run the API in its own server processes, as in production."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bench.processes import resident_mb
from fathom.stack.servers import HOST, tied_to_parent
from tests.processes import children, end_group
from tests.waiting import eventually

CONFIG = "python:api.server.gunicorn_conf"

#: Starts a server with changed settings.
Start = Callable[..., "ApiServer"]


@dataclass
class ApiServer:
    """A running gunicorn."""

    port: int
    process: subprocess.Popen[bytes]
    http: httpx.Client
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Send a GET over a new connection."""
        return httpx.get(self.url + path, headers=headers, timeout=60)

    def rss_mb(self) -> float:
        """Return the resident memory of all its processes."""
        return sum(resident_mb(pid) for pid in [self.process.pid, *children(self.process.pid)])

    def connect(self) -> socket.socket:
        return socket.create_connection((HOST, self.port), timeout=60)

    def wait_until_ready(self, path: str) -> None:
        eventually(lambda: self._answers(path))

    def stop(self) -> str:
        """Stop it with SIGTERM; return its log."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return self.log.read_text()

    def end(self) -> None:
        """Kill all its processes."""
        self.http.close()
        end_group(self.process)

    def _answers(self, path: str) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"gunicorn did not start: {self.log.read_text()}")
        try:
            return self.http.get(path).status_code == 200
        except httpx.TransportError:
            return False


def launch(config: str, port: int, environ: Mapping[str, str], log: Path, *options: str) -> ApiServer:
    """Start gunicorn with one process; append its output to a file."""
    command = [sys.executable, "-m", "gunicorn", "-c", config, "-b", f"{HOST}:{port}", *options]
    with log.open("ab") as file:
        process = subprocess.Popen(
            tied_to_parent(command),
            env={**os.environ, "WEB_CONCURRENCY": "1", **environ},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return ApiServer(port, process, httpx.Client(base_url=f"http://{HOST}:{port}", timeout=60), log)
