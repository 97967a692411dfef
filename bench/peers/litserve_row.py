"""LitServe's row: a server with two workers, and an asynchronous client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.embedded_stack import poll
from bench.peers.measure import pinned
from bench.peers.peer import Peer, Setup, Started
from fathom.stack.servers import free_ports

_READY_WITHIN = 120.0
_STOPS_WITHIN = 15.0


@dataclass(frozen=True, kw_only=True)
class LitServe(Peer):
    """`bench.peers.litserve_server`, and `bench.peers.litserve_client` for each album."""

    name: str = "litserve"
    title: str = "LitServe, 2 workers, ONNX Runtime"
    packages: tuple[str, ...] = ("litserve", "onnxruntime")
    rival: str | None = "system-f32"
    warm_up: int = 8

    @contextmanager
    def start(self, setup: Setup) -> Iterator[Started]:
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        setup.scratch.mkdir(parents=True)
        with ExitStack() as running:
            with pinned(setup.cores):
                serving = _serve(setup.model, port, setup.scratch / "server.log")
                server = running.enter_context(serving)
            poll("LitServe", lambda: _is_ready(url, server), seconds=_READY_WITHIN)
            command = [sys.executable, "-m", "bench.peers.litserve_client", "--url", url]
            yield Started(command=lambda photos, out: [*command, str(photos), str(out)], server=server.pid)


@contextmanager
def _serve(model: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.peers.litserve_server", str(model), str(port)]
    with log.open("wb") as file:
        # A group of its own, so that what is left of it can be killed.
        server = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        yield server
    finally:
        # As Ctrl-C stops it.
        server.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            server.wait(_STOPS_WITHIN)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _is_ready(url: str, server: subprocess.Popen[bytes]) -> bool:
    if server.poll() is not None:
        raise SystemExit(f"LitServe ended with status {server.returncode}.")
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/health", trust_env=False).is_success
    return False
