"""Measure how long a poll takes while many clients poll and submit photos.

    python -m bench.load --json

Starts `fathom up` on a free port in its own folder, or uses the service at `--api`. Each poller keeps a
connection and polls one job after another, like a client that waits; each submitter posts forms with a
few small photos.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

_READY_WITHIN = 180.0
#: Seconds after which a request without a response counts as an error.
_TIMEOUT = 30.0
_BOUNDARY = "load"


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """The number of clients, their rates, and the duration. Times are in seconds."""

    pollers: int
    submitters: int
    seconds: float
    #: Seconds between two polls of a poller, and between two forms of a submitter.
    poll_every: float
    submit_every: float
    photos: int


@dataclass(kw_only=True)
class RequestTally:
    """Times and statuses of one kind of request."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    def add(self, status: str, seconds: float) -> None:
        self.statuses[status] += 1
        self.seconds.append(seconds)

    def summary(self) -> dict[str, Any]:
        times = 1000 * np.array(self.seconds or [0.0])
        found = dict(zip(("p50", "p90", "p99", "max"), np.percentile(times, (50, 90, 99, 100)), strict=True))
        errors = sum(count for status, count in self.statuses.items() if status not in ("200", "202"))
        return {
            "requests": len(self.seconds),
            "errors": errors,
            "statuses": dict(self.statuses),
            "milliseconds": {name: round(float(value), 1) for name, value in found.items()},
        }


class Connection:
    """One kept-alive HTTP/1.1 connection. It is minimal, because client and server share the cores."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, head: str, body: bytes = b"") -> tuple[str, bytes]:
        """Send a request; return status and body. The status is `lost (...)` if the connection broke."""
        try:
            return await asyncio.wait_for(self._exchange(head, body), _TIMEOUT)
        except (OSError, EOFError, TimeoutError) as exc:
            self.close()
            return f"lost ({type(exc).__name__})", b""

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, head: str, body: bytes) -> tuple[str, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(f"{head}\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        answer = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.close()
        return lines[0].split(" ")[1], answer


class LoadGenerator:
    """Runs pollers and submitters against one service."""

    def __init__(self, url: str, plan: LoadPlan) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._plan = plan
        self._form = _form(plan.photos)
        self._jobs: list[str] = []
        self.polls = RequestTally()
        self.submissions = RequestTally()

    async def run(self) -> None:
        """Submit a few jobs to poll, then run all clients until the time is over."""
        connection = Connection(*self._address)
        for _ in range(3):
            await self._submit(connection, RequestTally())
        connection.close()
        until = time.perf_counter() + self._plan.seconds
        pollers = (self._poll_until(until) for _ in range(self._plan.pollers))
        submitters = (self._submit_until(until) for _ in range(self._plan.submitters))
        await asyncio.gather(*pollers, *submitters)

    async def _poll_until(self, until: float) -> None:
        connection = Connection(*self._address)
        # Real clients do not begin at the same time.
        await asyncio.sleep(random.uniform(0, self._plan.poll_every))
        while time.perf_counter() < until:
            job = random.choice(self._jobs[-50:])
            began = time.perf_counter()
            status, _ = await connection.send(f"GET /v1/jobs/{job} HTTP/1.1")
            taken = time.perf_counter() - began
            self.polls.add(status, taken)
            await asyncio.sleep(max(0.0, self._plan.poll_every - taken))
        connection.close()

    async def _submit_until(self, until: float) -> None:
        connection = Connection(*self._address)
        await asyncio.sleep(random.uniform(0, self._plan.submit_every))
        while time.perf_counter() < until:
            taken = await self._submit(connection, self.submissions)
            await asyncio.sleep(max(0.0, self._plan.submit_every - taken))
        connection.close()

    async def _submit(self, connection: Connection, tally: RequestTally) -> float:
        began = time.perf_counter()
        head = f"POST /v1/jobs HTTP/1.1\r\nContent-Type: multipart/form-data; boundary={_BOUNDARY}"
        status, body = await connection.send(head, self._form)
        taken = time.perf_counter() - began
        tally.add(status, taken)
        if status == "202":
            self._jobs.append(json.loads(body)["id"])
        return taken


def measure(url: str, plan: LoadPlan) -> dict[str, Any]:
    """Load a service as planned, and return the report."""
    load = LoadGenerator(url, plan)
    asyncio.run(load.run())
    return {
        "plan": vars(plan),
        "polls": load.polls.summary(),
        "submissions": load.submissions.summary(),
    }


def _form(photos: int) -> bytes:
    """Return a form of noise photos, 256 pixels wide, which all differ."""
    noise = np.random.default_rng(0)
    parts = []
    for index in range(photos):
        file = BytesIO()
        Image.fromarray(noise.integers(0, 255, (192, 256, 3), np.uint8)).save(file, "JPEG", quality=50)
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="{index}.jpg"\r\n\r\n'
        )
        parts.append(head.encode() + file.getvalue() + b"\r\n")
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


@contextmanager
def _stack(*, concurrency: int) -> Iterator[str]:
    """Run `fathom up` while the block runs, and yield the URL of its API."""
    with tempfile.TemporaryDirectory(prefix="fathom-load-") as name:
        ready, log = Path(name) / "stack.json", Path(name) / "up.log"
        command = [sys.executable, "-m", "fathom.cli", "up", "--port", "0", "--data", name]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*command, "--concurrency", str(concurrency)], stdout=file, stderr=file
            )
        try:
            deadline = time.monotonic() + _READY_WITHIN
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(log.read_text())
                time.sleep(0.1)
            yield str(json.loads(ready.read_text())["api"])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    plan = LoadPlan(
        pollers=args.pollers,
        submitters=args.submitters,
        seconds=args.seconds,
        poll_every=args.poll_every,
        submit_every=args.submit_every,
        photos=args.photos,
    )
    with nullcontext(args.api) if args.api else _stack(concurrency=args.concurrency) as url:
        report = measure(url, plan)
    print(json.dumps(report, indent=None if args.json else 2))
    return 1 if report["polls"]["errors"] or report["submissions"]["errors"] else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--api", help="the URL of a running service (starts an embedded stack)")
    parser.add_argument("--concurrency", type=int, default=1, help="children of the worker in the stack (1)")
    parser.add_argument("--pollers", type=int, default=200, help="clients that poll (200)")
    parser.add_argument("--submitters", type=int, default=20, help="clients that submit (20)")
    parser.add_argument("--seconds", type=float, default=60.0, help="duration in seconds (60)")
    parser.add_argument("--poll-every", type=float, default=1.0, help="seconds between polls of a client (1)")
    parser.add_argument(
        "--submit-every", type=float, default=5.0, help="seconds between forms of a client (5)"
    )
    parser.add_argument("--photos", type=int, default=2, help="photos in a form (2)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
