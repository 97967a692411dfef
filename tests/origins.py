"""HTTP servers that stand for those of third parties; tests choose their responses, also broken ones."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

#: Yields what a server sends, in pieces; the connection closes after the last.
Responder = Callable[["Request"], Iterator[bytes]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """A received request."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a whole response; headers are keyword arguments, with `_` for `-`."""
    lines = {"Content-Length": str(len(body))} | {k.replace("_", "-"): v for k, v in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def drip(data: bytes, seconds: float) -> Iterator[bytes]:
    """Yield one byte every `seconds`."""
    for at in range(len(data)):
        yield data[at : at + 1]
        time.sleep(seconds)


@dataclass
class Origin:
    """A server on a port of the loopback address, with its responses by path."""

    port: int
    scheme: str = "http"
    responses: dict[str, Responder] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def serve(self, path: str, *pieces: bytes) -> str:
        """Respond to a path with fixed bytes; return its URL."""
        return self.respond(path, lambda _: iter(pieces))

    def respond(self, path: str, responder: Responder) -> str:
        self.responses[path] = responder
        return self.url(path)

    def url(self, path: str = "/", *, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


@dataclass
class GatedPhotos:
    """Photos at URLs; the first `free` are served at once, the others only after `open`.

    Until then, a job of these photos cannot end, however fast the machine is.
    """

    server: Origin
    photos: Sequence[bytes]
    free: int
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.urls = [self.server.respond(f"/{n}.jpg", self._send(n)) for n in range(len(self.photos))]

    def open(self) -> None:
        self.gate.set()

    def _send(self, number: int) -> Responder:
        def send(_: Request) -> Iterator[bytes]:
            if number >= self.free:
                self.gate.wait()
            yield answer("200 OK", self.photos[number])

        return send


@contextmanager
def origin(tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    """Run a server while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Origin(port=listener.getsockname()[1], scheme="https" if tls else "http")
        thread = threading.Thread(target=_accept, args=(listener, served, tls), daemon=True)
        thread.start()
        yield served
        # After `close` alone, `accept` would keep waiting.
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _accept(listener: socket.socket, served: Origin, tls: ssl.SSLContext | None) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, served, tls), daemon=True).start()


def _serve(client: socket.socket, served: Origin, tls: ssl.SSLContext | None) -> None:
    with suppress(OSError), client:
        # Clients may disconnect at any time, and many tests are about that.
        stream = tls.wrap_socket(client, server_side=True) if tls else client
        with stream:
            request = _read(stream)
            served.requests.append(request)
            responder = served.responses.get(request.path, lambda _: iter([answer("404 Not Found")]))
            for piece in responder(request):
                stream.sendall(piece)


def _read(stream: socket.socket) -> Request:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65536)
        if not piece:
            raise ConnectionError
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rest)}
    while len(body) < int(headers.get("content-length", 0)):
        body += stream.recv(65536)
    return Request(line=line, headers=headers, body=body)
