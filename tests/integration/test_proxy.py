"""The proxy that injects faults, in front of small servers."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from bench.faults import Mode
from bench.http_exchange import Exchange
from bench.proxy import Proxy, Selection
from shared.errors import ObjectStoreUnavailable
from shared.objectstore.s3 import S3ObjectStore
from shared.settings import Settings
from tests.waiting import eventually


class Echo(BaseHTTPRequestHandler):
    """Responds to every request with its own body, and records it."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, bytes]]] = []

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class EchoServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Log nothing, because clients disconnect on purpose."""


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def log() -> list[Exchange]:
    return []


@pytest.fixture
def proxy(server: ThreadingHTTPServer, log: list[Exchange]) -> Iterator[Proxy]:
    Echo.seen.clear()
    with Proxy(("127.0.0.1", server.server_port), observe=log.append) as proxy:
        yield proxy
    assert not [thread for thread in threading.enumerate() if thread.name == f"proxy-{proxy.port}"]


@contextmanager
def connection(proxy: Proxy, *, seconds: float = 60.0) -> Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=seconds)
    try:
        yield client
    finally:
        client.close()


def put(client: http.client.HTTPConnection, path: str = "/a", body: bytes = b"hello") -> tuple[int, bytes]:
    client.request("PUT", path, body)
    answer = client.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize("body", [b"", b"hello", bytes(range(256)) * 1000])
def test_bodies_pass_unchanged_over_one_connection(proxy: Proxy, body: bytes) -> None:
    with connection(proxy) as client:
        assert [put(client, body=body) for _ in range(3)] == [(200, body)] * 3


def test_a_chunked_request_passes_unchanged(proxy: Proxy, server: ThreadingHTTPServer) -> None:
    """The bytes after the head reach the server as they were sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sent = b"5;x=1\r\nhello\r\n0\r\nchecksum: abc\r\n\r\n"
        with (
            Proxy(listener.getsockname()) as between,
            socket.create_connection(("127.0.0.1", between.port)) as client,
        ):
            client.sendall(b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + sent)
            taken, _ = listener.accept()
            with taken, taken.makefile("rb") as stream:
                received = stream.read(len(b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + sent))
                taken.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                answer = client.recv(100)

    assert received.endswith(b"\r\n\r\n" + sent)
    assert answer == b"HTTP/1.1 204 No Content\r\n\r\n"


def test_an_answer_to_head_ends_without_its_body(proxy: Proxy) -> None:
    with connection(proxy) as client:
        client.request("HEAD", "/a", b"hello")
        answer = client.getresponse()

        assert (answer.status, answer.read(), answer.headers["Content-Length"]) == (200, b"", "5")
        assert put(client) == (200, b"hello")


def test_every_exchange_is_reported_with_its_method_path_status_and_client_port(
    proxy: Proxy, log: list[Exchange]
) -> None:
    with connection(proxy) as client:
        put(client, "/x")
        port = client.sock.getsockname()[1]

    eventually(lambda: len(log), lambda length: length == 1)
    assert (log[0].method, log[0].path, log[0].status, log[0].answered) == ("PUT", "/x", 200, True)
    assert log[0].client == port
    assert log[0].began_at <= log[0].ended_at


def test_a_refusing_proxy_resets_open_connections_and_refuses_new_ones(proxy: Proxy) -> None:
    with connection(proxy) as client:
        put(client)
        proxy.set(Mode.REFUSE)

        with pytest.raises(ConnectionError):
            put(client)
    with connection(proxy) as client, pytest.raises(ConnectionRefusedError):
        put(client)


def test_a_request_that_arrives_while_its_connection_is_reset_is_not_served(proxy: Proxy) -> None:
    proxy.set(Mode.REFUSE)

    with pytest.raises(EOFError):
        proxy.fault_for("PUT", "/a")


def test_a_proxy_that_refused_serves_again_on_the_same_port(proxy: Proxy) -> None:
    port = proxy.port
    for _ in range(3):
        proxy.set(Mode.REFUSE)
        with connection(proxy) as client, pytest.raises(ConnectionRefusedError):
            put(client)
        proxy.set(Mode.PASS)
        with connection(proxy) as client:
            assert put(client) == (200, b"hello")

    assert proxy.port == port


def test_a_hanging_proxy_forwards_nothing_until_it_is_released(proxy: Proxy) -> None:
    with connection(proxy) as client:
        put(client)
        proxy.set(Mode.HANG)
        client.request("PUT", "/held", b"held")
        client.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.sock.recv(1, socket.MSG_PEEK)
        assert [path for path, _ in Echo.seen] == ["/a"]
        client.sock.settimeout(60)
        proxy.set(Mode.PASS)

        assert client.getresponse().read() == b"held"


def test_a_request_is_answered_503_without_reaching_the_server(proxy: Proxy, log: list[Exchange]) -> None:
    proxy.set(Mode.ANSWER_503)
    with connection(proxy) as client:
        status, body = put(client, body=b"x" * 1_000_000)

    assert status == 503
    assert b"<Code>SlowDown</Code>" in body
    assert Echo.seen == []
    eventually(lambda: len(log), lambda length: length == 1)
    assert (log[0].status, log[0].answered) == (None, True)


def test_a_dropped_response_does_not_undo_the_request(proxy: Proxy, log: list[Exchange]) -> None:
    proxy.set(Mode.DROP_RESPONSE)
    with connection(proxy) as client, pytest.raises(ConnectionResetError):
        put(client, "/kept")

    assert Echo.seen == [("/kept", b"hello")]
    eventually(lambda: len(log), lambda length: length == 1)
    assert (log[0].status, log[0].answered) == (200, False)


def test_a_slow_proxy_delays_and_limits_the_speed(proxy: Proxy) -> None:
    proxy.set(Mode.SLOW, latency=0.05, bytes_per_second=10_000)
    with connection(proxy) as client:
        began = time.monotonic()
        assert put(client, body=b"x" * 1000) == (200, b"x" * 1000)

        assert time.monotonic() - began >= 2 * (0.05 + 0.1)


@pytest.mark.parametrize("mode", [Mode.ANSWER_503, Mode.DROP_RESPONSE])
def test_a_fault_can_select_methods_and_paths(proxy: Proxy, mode: Mode) -> None:
    proxy.set(mode, methods={"PUT"}, path="/outputs/")
    with connection(proxy) as client:
        assert put(client, "/inputs/1") == (200, b"hello")
        client.request("GET", "/outputs/1")
        assert client.getresponse().read() == b""
        with pytest.raises((ConnectionError, AssertionError)):
            assert put(client, "/outputs/1") == (200, b"hello")


def test_a_fault_can_be_limited_to_some_requests(proxy: Proxy) -> None:
    proxy.set(Mode.ANSWER_503, times=2)
    statuses = []
    for _ in range(4):
        with connection(proxy) as client:
            statuses.append(put(client)[0])

    assert statuses == [503, 503, 200, 200]


@pytest.mark.parametrize(
    ("http", "mode", "selection"),
    [(True, Mode.REFUSE, {"path": "/a"}), (False, Mode.ANSWER_503, {}), (False, Mode.SLOW, {"path": "/a"})],
)
def test_an_impossible_fault_is_an_error(http: bool, mode: Mode, selection: Selection) -> None:
    with Proxy(("127.0.0.1", 1), http=http) as proxy, pytest.raises(ValueError, match="HTTP"):
        proxy.set(mode, **selection)


def test_without_a_server_the_proxy_resets_its_clients(free_port: int) -> None:
    with (
        Proxy(("127.0.0.1", free_port)) as proxy,
        connection(proxy) as client,
        pytest.raises((ConnectionError, http.client.RemoteDisconnected)),
    ):
        put(client)


@pytest.mark.parametrize("mode", [Mode.PASS, Mode.HANG, Mode.SLOW])
def test_a_proxy_closes_at_once_even_if_requests_hang(server: ThreadingHTTPServer, mode: Mode) -> None:
    proxy = Proxy(("127.0.0.1", server.server_port))
    with connection(proxy) as client:
        with proxy:
            proxy.set(mode, latency=60.0 if mode is Mode.SLOW else 0.0)
            client.request("PUT", "/a", b"hello")
        assert not [thread for thread in threading.enumerate() if thread.name == f"proxy-{proxy.port}"]
        with socket.socket() as probe:
            # Closed connections may linger, but nothing listens on the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", proxy.port))


@pytest.mark.parametrize("mode", [Mode.PASS, Mode.SLOW])
def test_bytes_that_are_not_http_pass_in_both_directions(echo_port: int, mode: Mode) -> None:
    with Proxy(("127.0.0.1", echo_port), http=False) as proxy:
        proxy.set(mode, bytes_per_second=1e6)
        with socket.create_connection(("127.0.0.1", proxy.port)) as client, client.makefile("rb") as answers:
            client.sendall(b"PING\r\n")
            assert answers.readline() == b"PING\r\n"
            client.shutdown(socket.SHUT_WR)
            assert answers.read() == b""


def test_a_response_that_is_not_http_can_be_dropped(echo_port: int) -> None:
    with Proxy(("127.0.0.1", echo_port), http=False) as proxy:
        proxy.set(Mode.DROP_RESPONSE)
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(b"PING\r\n")

            with pytest.raises(ConnectionResetError):
                client.recv(10)


def test_the_object_store_works_through_the_proxy_and_sees_its_faults(
    s3_environ: dict[str, str], object_store: S3ObjectStore, seaweed_server: object
) -> None:
    port = int(s3_environ["FATHOM_S3_ENDPOINT_URL"].rpartition(":")[2])
    log: list[Exchange] = []
    with Proxy(("127.0.0.1", port), observe=log.append) as proxy:
        store = S3ObjectStore.from_settings(
            Settings.from_environ(s3_environ | {"FATHOM_S3_ENDPOINT_URL": proxy.url})
        )
        store.put("a/b", b"first")
        assert object_store.get("a/b") == b"first"
        proxy.set(Mode.DROP_RESPONSE, methods={"PUT"}, times=1)
        store.put("a/b", b"second")
        assert store.get("a/b") == b"second"
        proxy.set(Mode.ANSWER_503, methods={"PUT"})
        with pytest.raises(ObjectStoreUnavailable):
            store.put("a/b", b"third")
        assert store.get("a/b") == b"second"
        store.close()

    puts = [exchange for exchange in log if exchange.method == "PUT"]
    assert [exchange.status for exchange in puts][:3] == [200, 200, 200]
    assert {exchange.path.rpartition("/a/")[2] for exchange in puts} == {"b"}


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def echo_port() -> Iterator[int]:
    """The port of a server that echoes bytes, one connection at a time."""

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                try:
                    while piece := client.recv(1000):
                        client.sendall(piece)
                except ConnectionError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
