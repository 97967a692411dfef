"""Requests to hostile servers, with real sockets, real TLS and our own resolver."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator

import pytest
import trustme

from shared.errors import AddressRefused
from shared.net.url_policy import AllowedHosts, Resolver
from tests.origins import Origin, Responder, answer, drip, origin
from worker.outbound_http import MAX_REDIRECTS, Outbound, OutboundFailed

LOCAL = AllowedHosts.of(["127.0.0.1"])
NOBODY = AllowedHosts()


@pytest.fixture
def server() -> Iterator[Origin]:
    with origin() as served:
        yield served


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def outbound(
    allowed: AllowedHosts = LOCAL,
    *,
    seconds: float = 5.0,
    resolver: Resolver = lambda host, port: ["127.0.0.1"],
    tls: ssl.SSLContext | None = None,
) -> Outbound:
    return Outbound(allowed=allowed, resolver=resolver, seconds=seconds, tls=tls)


def get(sender: Outbound, url: str) -> tuple[int, bytes]:
    with sender.get(url) as reply:
        return reply.status, b"".join(reply.pieces)


def test_a_file_is_fetched_unchanged(server: Origin) -> None:
    url = server.serve("/a%20b.jpg?x=1", answer("200 OK", b"photo"))

    assert get(outbound(), url) == (200, b"photo")
    (request,) = server.requests
    assert request.line == "GET /a%20b.jpg?x=1 HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["accept-encoding"] == "identity"
    assert {"cookie", "authorization", "referer"}.isdisjoint(request.headers)


def test_the_name_goes_into_the_request_and_the_checked_address_gets_it(server: Origin) -> None:
    server.serve("/a.jpg", answer("200 OK", b"photo"))
    url = server.url("/a.jpg", host="photos.example")

    assert get(outbound(), url) == (200, b"photo")
    assert server.requests[0].headers["host"] == f"photos.example:{server.port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "photos.example", "localhost", "[::1]", "2130706433"])
def test_this_machine_is_not_reachable_unless_it_is_allowed(server: Origin, host: str) -> None:
    url = server.serve("/", answer("200 OK", b"secret"))
    with pytest.raises(AddressRefused):
        get(outbound(NOBODY), url.replace("127.0.0.1", host))

    assert server.requests == []


class Rebinding:
    """Resolves a name to an allowed address the first time, and then to another one."""

    def __init__(self) -> None:
        self.answers = ["127.0.0.1", "127.0.0.2"]

    def __call__(self, host: str, port: int) -> list[str]:
        return [self.answers.pop(0)]


def test_dns_rebinding_does_not_work(server: Origin) -> None:
    """The check and the connection use the same response of the resolver."""
    server.serve("/", answer("200 OK", b"photo"))
    rebinding = Rebinding()

    assert get(outbound(resolver=rebinding), server.url("/", host="rebind.example")) == (200, b"photo")
    assert rebinding.answers == ["127.0.0.2"]


def test_at_a_redirect_the_same_name_is_resolved_and_checked_again(server: Origin) -> None:
    server.serve("/", answer("302 Found", Location="/secret"))
    with pytest.raises(AddressRefused):
        get(outbound(resolver=Rebinding()), server.url("/", host="rebind.example"))

    assert [request.path for request in server.requests] == ["/"]


def test_a_name_that_leads_inside_at_a_redirect_is_refused_there(server: Origin) -> None:
    """The first host is allowed; the second is another name of the same machine."""
    url = server.serve("/", answer("302 Found", Location=server.url("/secret", host="inside.example")))
    sender = outbound(AllowedHosts.of(["allowed.example"]))
    with pytest.raises(AddressRefused):
        get(sender, url.replace("127.0.0.1", "allowed.example"))

    assert [request.path for request in server.requests] == ["/"]


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "ftp://example.org/",
        "data:text/plain,hello",
        "javascript:alert(1)",
        "http://127.0.0.2/",
        "http://localhost/",
        "http://[::1]/",
        "http://2130706433/",
        "http://169.254.169.254/latest/meta-data/",
        "//169.254.169.254/latest/meta-data/",
        "http://user:password@127.0.0.1/",
        "http://example.org:6379/",
        "http://exa mple.org/",
        "http://[/",
        "\\\\127.0.0.2\\share",
    ],
)
@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
def test_a_redirect_to_what_is_refused_is_not_followed(server: Origin, status: str, location: str) -> None:
    url = server.serve("/", answer(status, Location=location))
    with pytest.raises((AddressRefused, OutboundFailed)):
        get(outbound(), url)

    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["/b.jpg", "b.jpg", "?/b.jpg", "//127.0.0.1:{port}/b.jpg"])
def test_a_redirect_may_be_relative(server: Origin, location: str) -> None:
    server.serve("/b.jpg", answer("200 OK", b"photo"))
    server.serve("/a.jpg?/b.jpg", answer("200 OK", b"photo"))
    url = server.serve("/a.jpg", answer("301 Moved", Location=location.format(port=server.port)))

    assert get(outbound(), url) == (200, b"photo")


@pytest.mark.parametrize("hops", [1, MAX_REDIRECTS, MAX_REDIRECTS + 1])
def test_the_number_of_redirects_is_limited(server: Origin, hops: int) -> None:
    for hop in range(hops):
        server.serve(f"/{hop}", answer("302 Found", Location=f"/{hop + 1}"))
    server.serve(f"/{hops}", answer("200 OK", b"photo"))

    if hops > MAX_REDIRECTS:
        with pytest.raises(OutboundFailed):
            get(outbound(), server.url("/0"))
    else:
        assert get(outbound(), server.url("/0")) == (200, b"photo")


def test_a_redirect_to_itself_ends(server: Origin) -> None:
    server.serve("/", answer("302 Found", Location="/"))
    with pytest.raises(OutboundFailed):
        get(outbound(), server.url("/"))

    assert len(server.requests) == MAX_REDIRECTS + 1


def test_a_redirect_without_a_location_is_returned(server: Origin) -> None:
    assert get(outbound(), server.serve("/", answer("302 Found", b"nowhere"))) == (302, b"nowhere")


@pytest.mark.parametrize(
    "responder",
    [
        lambda _: drip(answer("200 OK", bytes(1000)), 0.02),
        lambda _: iter([b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *drip(bytes(1000), 0.02)]),
        lambda _: drip(b"HTTP/1.1 200 OK\r\n" + b"X-Header: value\r\n" * 1000, 0.02),
        lambda _: drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.02),
        lambda _: drip(answer("302 Found", Location="/"), 0.02),
    ],
    ids=["head and body", "body", "endless head", "endless interim answers", "redirects"],
)
def test_a_slow_server_is_abandoned_at_the_deadline(server: Origin, responder: Responder) -> None:
    url = server.respond("/", responder)
    with pytest.raises(OutboundFailed):
        get(outbound(seconds=0.5), url)


@pytest.mark.timeout(60)
def test_a_silent_server_is_abandoned_at_the_deadline(server: Origin) -> None:
    over = threading.Event()
    url = server.respond("/", lambda _: iter([answer("200 OK")] if over.wait() else []))
    with pytest.raises(OutboundFailed):
        get(outbound(seconds=0.3), url)
    over.set()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 200_000,
        b"\x16\x03\x01\x00\x05hello",
    ],
    ids=[
        "nothing",
        "no HTTP",
        "short",
        "negative",
        "bad chunk",
        "cut chunk",
        "two lengths",
        "long head",
        "TLS",
    ],
)
def test_a_server_that_does_not_speak_http_is_an_error(server: Origin, data: bytes) -> None:
    with pytest.raises(OutboundFailed):
        get(outbound(), server.serve("/", data))


def test_a_compressed_body_is_returned_unchanged(server: Origin) -> None:
    """Nothing is decompressed, so no bomb can expand."""
    body = b"\x1f\x8b" + bytes(100)

    assert get(outbound(), server.serve("/", answer("200 OK", body, Content_Encoding="gzip"))) == (200, body)


def test_no_more_is_read_than_requested(server: Origin) -> None:
    sent = 0

    def endless(_: object) -> Iterator[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            sent += 2**16
            yield bytes(2**16)

    url = server.respond("/", endless)
    with outbound().get(url) as reply:
        for _ in zip(range(10), reply.pieces, strict=False):
            pass

    # The buffers of both sockets are sent as well.
    assert sent < 64 * 2**20


def test_a_refused_connection_is_an_error(server: Origin) -> None:
    with origin() as gone:
        url = gone.url("/")
    with pytest.raises(OutboundFailed):
        get(outbound(), url)


def test_an_unknown_name_is_an_error() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(OutboundFailed):
        get(outbound(NOBODY, resolver=unknown), "http://nowhere.example/")


def test_the_second_address_of_a_name_is_tried(server: Origin) -> None:
    server.serve("/", answer("200 OK", b"photo"))
    sender = outbound(
        AllowedHosts.of(["127.0.0.0/8", "::1"]), resolver=lambda host, port: ["::1", "127.0.0.1"]
    )

    assert get(sender, server.url("/", host="two.example"))[1] == b"photo"


def test_the_proxies_of_the_environment_are_not_used(server: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert get(outbound(), server.serve("/", answer("200 OK", b"photo"))) == (200, b"photo")


# --- TLS --------------------------------------------------------------------------


def contexts(authority: trustme.CA, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the context of a server with a certificate for `name`, and of a client that trusts it."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(client)
    return server, client


def test_the_certificate_is_checked_against_the_name_not_the_address(authority: trustme.CA) -> None:
    serving, trusting = contexts(authority, "photos.example")
    with origin(serving) as server:
        server.serve("/", answer("200 OK", b"photo"))

        assert get(outbound(tls=trusting), server.url("/", host="photos.example")) == (200, b"photo")
        with pytest.raises(OutboundFailed):
            get(outbound(tls=trusting), server.url("/", host="other.example"))
        with pytest.raises(OutboundFailed):
            get(outbound(tls=trusting), server.url("/"))


def test_an_untrusted_certificate_is_refused(authority: trustme.CA) -> None:
    serving, _ = contexts(authority, "photos.example")
    with origin(serving) as server, pytest.raises(OutboundFailed):
        get(outbound(), server.url("/", host="photos.example"))


def test_a_server_that_stalls_in_the_handshake_is_abandoned_at_the_deadline(server: Origin) -> None:
    server.respond("/", lambda _: iter([]))
    with pytest.raises(OutboundFailed):
        get(outbound(seconds=0.3), server.url("/").replace("http", "https"))


# --- sending ----------------------------------------------------------------------


def test_a_body_is_sent_once_and_the_status_is_returned(server: Origin) -> None:
    url = server.serve("/hook", answer("204 No Content"))

    assert outbound().post(url, b"hello", {"Content-Type": "text/plain", "Content-Length": "5"}) == 204
    (request,) = server.requests
    assert (request.line, request.body) == ("POST /hook HTTP/1.1", b"hello")
    assert request.headers["content-type"] == "text/plain"


def test_redirects_are_not_followed_with_a_body(server: Origin) -> None:
    url = server.serve("/hook", answer("307 Temporary Redirect", Location="/elsewhere"))

    assert outbound().post(url, b"hello", {"Content-Length": "5"}) == 307
    assert len(server.requests) == 1
