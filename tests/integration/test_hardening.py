"""The API in real server processes, against clients that mean no good, and with keys in force."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from client.servers import HOST, ValkeyServer, free_ports
from shared.keys import KeyStore, make_key
from shared.object_store import S3ObjectStore

REDIS_PASSWORD = "a-redis-password"
#: A server whose patience is short, with few threads to hold on to.
IMPATIENT = """
from api.gunicorn_conf import *
from api import gunicorn_conf
gunicorn_conf.SILENCE, gunicorn_conf.GRACE = 2, 0.5
threads = 2
"""


@dataclass
class Server:
    """A running gunicorn, and what it has logged."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=headers, timeout=30)

    def connect(self) -> socket.socket:
        return socket.create_connection((HOST, self.port), timeout=30)

    def is_up(self) -> bool:
        try:
            return self.get("/livez").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> str:
        """End it, and return its log."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return self.log.read_text()


Launch = Callable[..., Server]


def eventually(holds: Callable[[], bool], *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "It did not come true in time."
        time.sleep(0.05)


@pytest.fixture
def launch(fathom_environ: dict[str, str], tmp_path: Path) -> Iterator[Launch]:
    """Start the API: `launch("-b", "unix:/x", FATHOM_RATE_LIMIT="5/minute")`; it listens on loopback too."""
    started: list[Server] = []

    def start(
        *options: str, config: str = "python:api.gunicorn_conf", keep: bool = False, **environ: str
    ) -> Server:
        port = free_ports(1)[0]
        log = tmp_path / f"api-{port}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", config, "-b", f"{HOST}:{port}", *options],
                env={**os.environ, **fathom_environ, "WEB_CONCURRENCY": "1", **environ},
                stdout=file,
                stderr=file,
            )
        server = Server(port, process, log)
        if not keep:
            started.append(server)
        return server

    yield start
    for server in started:
        server.process.kill()
        server.process.wait(30)


@pytest.fixture
def run(launch: Launch) -> Launch:
    """Start the API and wait until it serves."""

    def start(*options: str, **how: str) -> Server:
        server = launch(*options, **how)
        eventually(lambda: server.is_up() or server.process.poll() is not None)
        assert server.process.poll() is None, server.log.read_text()
        return server

    return start


@pytest.fixture(scope="module")
def kept() -> Iterator[list[Server]]:
    """Servers that outlive their test."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.process.kill()
        server.process.wait(30)


@pytest.fixture
def impatient(launch: Launch, kept: list[Server], tmp_path: Path) -> Server:
    """One server for all tests of clients that take their time: they leave it as it was, or should."""
    if not kept:
        config = tmp_path / "impatient.py"
        config.write_text(IMPATIENT)
        kept.append(launch(config=str(config), keep=True))
        eventually(kept[0].is_up)
    return kept[0]


def make(objects: S3ObjectStore, *scopes: str) -> tuple[str, dict[str, str]]:
    """Return the id of a new key, and the header that shows it."""
    key, text = make_key("test", scopes or ("read", "submit"))
    KeyStore(objects).save(key)
    return key.id, {"Authorization": f"Bearer {text}"}


# --- clients that take their time -----------------------------------------------


@pytest.mark.parametrize(
    "opening",
    [
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=sep\r\n"
        b"Content-Length: 100000\r\n\r\n--sep\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=sep\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nffff\r\n--sep\r\n",
    ],
    ids=["header", "body", "chunked"],
)
def test_clients_that_send_drop_by_drop_are_cut_off(impatient: Server, opening: bytes):
    dripping = threading.Event()
    cut_off = []

    def drip(connection: socket.socket) -> None:
        connection.settimeout(30)
        try:
            connection.sendall(opening)
            while not dripping.wait(0.1):
                connection.sendall(b"a")
        except OSError:
            cut_off.append(connection)

    connections = [impatient.connect() for _ in range(8)]
    threads = [threading.Thread(target=drip, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    try:
        # They never fall silent, and there are four of them for each thread.
        assert impatient.get("/livez").status_code == 200
        eventually(lambda: len(cut_off) == len(connections))
    finally:
        dripping.set()
        for thread in threads:
            thread.join()
        for connection in connections:
            connection.close()


def test_connections_that_send_nothing_hold_no_thread(impatient: Server):
    idle = [impatient.connect() for _ in range(200)]
    try:
        # With a thread for each, for the five seconds that gunicorn waits, this would take minutes.
        answers = [impatient.get("/livez").status_code for _ in range(5)]
    finally:
        for connection in idle:
            connection.close()

    assert answers == [200] * 5


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 80 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=["long_line", "many_headers", "long_header", "two_lengths", "space", "nonsense"],
)
def test_heads_beyond_all_measure_are_refused(impatient: Server, request_head: bytes):
    with impatient.connect() as connection:
        connection.sendall(request_head)
        answer = connection.recv(100)

    # Which 4xx it is, is a matter of gunicorn's parser; nothing of it reaches the app.
    assert re.match(rb"HTTP/1.1 4\d\d ", answer)


def test_clients_that_do_not_hang_up_hold_up_nobody(impatient: Server):
    refused = [impatient.connect() for _ in range(20)]
    try:
        for connection in refused:
            connection.sendall(b"nonsense\r\n\r\n")
        for connection in refused:
            assert connection.recv(100).startswith(b"HTTP/1.1 4")
        began = time.monotonic()
        assert impatient.get("/livez").status_code == 200
    finally:
        for connection in refused:
            connection.close()

    # Gunicorn by itself waits two seconds for each of them, in the one thread that accepts connections.
    assert time.monotonic() - began < 20


# --- where it listens --------------------------------------------------------------


def test_it_refuses_to_start_where_others_reach_it_without_a_key(launch: Launch, tmp_path: Path):
    server = launch("-b", f"unix:{tmp_path}/s", FATHOM_LOG_FORMAT="text")
    server.process.wait(60)

    assert server.process.returncode != 0
    assert "fathom keys create" in server.log.read_text()
    assert "FATHOM_ALLOW_ANONYMOUS=1" in server.log.read_text()


def test_it_starts_there_if_told_so_or_with_a_key(run: Launch, tmp_path: Path, object_store: S3ObjectStore):
    told = run("-b", f"unix:{tmp_path}/s", FATHOM_ALLOW_ANONYMOUS="1")
    assert told.get("/v1/jobs").status_code == 200
    _, header = make(object_store)
    guarded = run("-b", f"unix:{tmp_path}/t")

    assert guarded.get("/v1/jobs").status_code == 401
    assert guarded.get("/v1/jobs", **header).status_code == 200


# --- keys and limits, by all processes together ----------------------------------------


def test_a_key_works_at_once_and_a_revoked_one_not_for_long(run: Launch, object_store: S3ObjectStore):
    server = run(WEB_CONCURRENCY="2")
    assert server.get("/v1/jobs").status_code == 200
    key_id, header = make(object_store)
    eventually(lambda: server.get("/v1/jobs").status_code == 401)
    assert server.get("/v1/jobs", **header).status_code == 200
    KeyStore(object_store).revoke(key_id)
    began = time.monotonic()
    # Both processes have to know: ten refusals in a row come from both.
    eventually(lambda: [server.get("/v1/jobs", **header).status_code for _ in range(10)] == [401] * 10)

    assert time.monotonic() - began < 5 + 2


def test_processes_count_together(run: Launch):
    server = run(WEB_CONCURRENCY="2", FATHOM_RATE_LIMIT="20/hour")
    statuses = [server.get("/v1/session").status_code for _ in range(30)]

    assert statuses.count(200) == 20
    assert statuses[20:] == [429] * 10


def test_without_redis_requests_are_still_counted_and_none_fails(run: Launch):
    server = run(FATHOM_REDIS_URL=f"redis://{HOST}:{free_ports(1)[0]}/0", FATHOM_RATE_LIMIT="3/minute")
    answers = [server.get("/v1/session") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert all("RateLimit" in answer.headers for answer in answers)


def test_metrics_count_the_requests_of_all_processes(run: Launch):
    server = run(WEB_CONCURRENCY="2")
    assert [server.get("/v1/session").status_code for _ in range(20)] == [200] * 20
    line = 'fathom_http_request_seconds_count{method="GET",route="/v1/session",status="200"} '

    def counted() -> float:
        return sum(
            float(each.removeprefix(line))
            for each in server.get("/metrics").text.splitlines()
            if each.startswith(line)
        )

    # A server of another test, on the same Redis, may have handed its last numbers in late.
    eventually(lambda: counted() >= 20)


# --- what the log may say -----------------------------------------------------------


def test_no_secret_reaches_the_log(
    run: Launch, object_store: S3ObjectStore, fathom_environ: dict[str, str], tmp_path: Path
):
    valkey = ValkeyServer(tmp_path / "valkey", password=REDIS_PASSWORD).start()
    try:
        _, header = make(object_store, "read", "submit", "admin")
        server = run(**valkey.environ(), FATHOM_LOG_LEVEL="DEBUG", FATHOM_METRICS_TOKEN="a-metrics-token")
        job = httpx.post(
            f"{server.url}/v1/jobs", json={"uploads": [{"name": "a.jpg", "size": 1}]}, headers=header
        ).json()
        session = httpx.post(f"{server.url}/v1/session", headers=header)
        server.get("/v1/jobs", Authorization=header["Authorization"] + "a")
        server.get("/v1/jobs", Cookie=f"fathom_session={session.cookies['fathom_session']}")
        server.get(f"/v1/jobs?key={header['Authorization'].split()[1]}", **header)
        server.get("/metrics", Authorization="Bearer a-metrics-token")
        server.get(f"/v1/jobs/{job['id']}/images", **header)
        valkey.stop()
        server.get(f"/v1/jobs/{job['id']}", **header)
        log = server.stop()
    finally:
        valkey.stop()

    signature = httpx.URL(job["uploads"][0]["url"]).params["X-Amz-Signature"]
    secrets = {
        "key": header["Authorization"].rpartition("_")[2],
        "session": session.cookies["fathom_session"].rpartition(".")[2],
        "signature": signature,
        "s3": fathom_environ["FATHOM_S3_SECRET_KEY"],
        "s3 id": fathom_environ["FATHOM_S3_ACCESS_KEY"],
        "redis": REDIS_PASSWORD,
        "metrics": "a-metrics-token",
    }
    assert log.count('"level": "debug"') > 0
    assert "job_store_unavailable" in log
    assert {name for name, secret in secrets.items() if secret in log} == set()
