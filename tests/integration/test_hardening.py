"""The API in real server processes, against hostile clients, and with API keys."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fathom.stack.servers import HOST, ValkeyServer, free_ports
from shared.api_keys import KeyStore, make_key
from shared.objectstore.s3 import S3ObjectStore
from tests.integration.api_servers import ApiServer, Start, launch
from tests.waiting import eventually

REDIS_PASSWORD = "a-redis-password"
#: A server with short timeouts and few threads.
IMPATIENT = """
from api.server.gunicorn_conf import *
from api.server import gunicorn_conf
gunicorn_conf.SILENCE, gunicorn_conf.GRACE = 2, 0.5
threads = 2
"""


@pytest.fixture(scope="module")
def short_timeout_server(
    module_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """One server for all tests of slow clients, which must not change it."""
    folder = tmp_path_factory.mktemp("short_timeout_server")
    (folder / "short_timeout_server.py").write_text(IMPATIENT)
    server = launch(
        str(folder / "short_timeout_server.py"), free_ports(1)[0], module_environ, folder / "api.log"
    )
    try:
        server.wait_until_ready("/livez")
        yield server
    finally:
        server.end()


def make(objects: S3ObjectStore, *scopes: str) -> tuple[str, dict[str, str]]:
    """Return the id of a new key, and the header that sends it."""
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
def test_slow_clients_are_disconnected(short_timeout_server: ApiServer, opening: bytes):
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

    connections = [short_timeout_server.connect() for _ in range(8)]
    threads = [threading.Thread(target=drip, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    try:
        # They never stop sending, and there are four of them for each thread.
        assert short_timeout_server.get("/livez").status_code == 200
        eventually(lambda: len(cut_off) == len(connections))
    finally:
        dripping.set()
        for thread in threads:
            thread.join()
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(
    "said",
    [
        b"POST /v1/jobs HT",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=sep\r\n"
        b"Content-Length: 1000\r\n\r\n--sep\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=sep\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n--sep\r\n",
    ],
    ids=["request_line", "header", "body", "chunk"],
)
def test_silent_clients_do_not_block_the_threads(short_timeout_server: ApiServer, said: bytes) -> None:
    silent = [short_timeout_server.connect() for _ in range(4)]
    try:
        for connection in silent:
            connection.sendall(said)

        assert short_timeout_server.get("/livez").status_code == 200
    finally:
        for connection in silent:
            connection.close()


def test_idle_connections_block_no_thread(short_timeout_server: ApiServer):
    idle = [short_timeout_server.connect() for _ in range(200)]
    try:
        # If each held a thread for the five seconds that gunicorn waits, this would take minutes.
        answers = [short_timeout_server.get("/livez").status_code for _ in range(5)]
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
def test_oversized_headers_are_refused(short_timeout_server: ApiServer, request_head: bytes):
    with short_timeout_server.connect() as connection:
        connection.sendall(request_head)
        answer = connection.recv(100)

    # The parser of gunicorn chooses the 4xx; nothing reaches the app.
    assert re.match(rb"HTTP/1.1 4\d\d ", answer)


def test_clients_that_keep_connections_open_block_nobody(short_timeout_server: ApiServer):
    # Gunicorn alone would wait two seconds for each, in the only thread that accepts connections.
    refused = [short_timeout_server.connect() for _ in range(40)]
    try:
        for connection in refused:
            connection.sendall(b"nonsense\r\n\r\n")
        for connection in refused:
            assert connection.recv(100).startswith(b"HTTP/1.1 4")
        assert short_timeout_server.get("/livez").status_code == 200
    finally:
        for connection in refused:
            connection.close()


# --- where it listens --------------------------------------------------------------


def test_the_api_does_not_start_on_a_reachable_address_without_a_key(start_server: Start, tmp_path: Path):
    server = start_server("-b", f"unix:{tmp_path}/s", ready_at=None, FATHOM_LOG_FORMAT="text")
    server.process.wait(60)

    assert server.process.returncode != 0
    assert "fathom keys create" in server.log.read_text()
    assert "FATHOM_ALLOW_ANONYMOUS=1" in server.log.read_text()


def test_the_api_starts_there_if_allowed_or_with_a_key(
    start_server: Start, tmp_path: Path, object_store: S3ObjectStore
):
    allowed = start_server("-b", f"unix:{tmp_path}/s", FATHOM_ALLOW_ANONYMOUS="1")
    assert allowed.get("/v1/jobs").status_code == 200
    _, header = make(object_store)
    guarded = start_server("-b", f"unix:{tmp_path}/t")

    assert guarded.get("/v1/jobs").status_code == 401
    assert guarded.get("/v1/jobs", **header).status_code == 200


# --- keys and limits, by all processes together ----------------------------------------


def test_a_new_key_works_at_once_and_a_revoked_one_soon_stops(
    start_server: Start, object_store: S3ObjectStore
):
    server = start_server(WEB_CONCURRENCY="2")
    assert server.get("/v1/jobs").status_code == 200
    key_id, header = make(object_store)
    eventually(lambda: server.get("/v1/jobs").status_code == 401)
    assert server.get("/v1/jobs", **header).status_code == 200
    KeyStore(object_store).revoke(key_id)
    # Both processes must know: ten refusals in a row come from both.
    eventually(lambda: [server.get("/v1/jobs", **header).status_code for _ in range(10)] == [401] * 10)


def test_all_processes_share_the_rate_limit(start_server: Start):
    server = start_server(WEB_CONCURRENCY="2", FATHOM_RATE_LIMIT="20/hour")
    statuses = [server.get("/v1/session").status_code for _ in range(30)]

    assert statuses.count(200) == 20
    assert statuses[20:] == [429] * 10


def test_without_redis_requests_are_still_counted_and_none_fails(start_server: Start):
    server = start_server(
        ready_at="/livez",
        FATHOM_REDIS_URL=f"redis://{HOST}:{free_ports(1)[0]}/0",
        FATHOM_RATE_LIMIT="3/minute",
    )
    answers = [server.get("/v1/session") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert all("RateLimit" in answer.headers for answer in answers)


def test_metrics_count_the_requests_of_all_processes(start_server: Start):
    server = start_server(WEB_CONCURRENCY="2")
    assert [server.get("/v1/session").status_code for _ in range(20)] == [200] * 20
    line = 'fathom_http_request_seconds_count{method="GET",route="/v1/session",status="200"} '

    def counted() -> float:
        return sum(
            float(each.removeprefix(line))
            for each in server.get("/metrics").text.splitlines()
            if each.startswith(line)
        )

    # Each process sends its numbers periodically.
    eventually(counted, lambda requests: requests >= 20)
    assert counted() == 20


# --- what the log may say -----------------------------------------------------------


def test_no_secret_reaches_the_log(
    start_server: Start, object_store: S3ObjectStore, fathom_environ: dict[str, str], tmp_path: Path
):
    valkey = ValkeyServer(tmp_path / "valkey", password=REDIS_PASSWORD).start()
    try:
        _, header = make(object_store, "read", "submit", "admin")
        server = start_server(
            **valkey.environ(), FATHOM_LOG_LEVEL="DEBUG", FATHOM_METRICS_TOKEN="a-metrics-token"
        )
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
