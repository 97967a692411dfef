"""The download of the official checkpoint, from good and from bad servers."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import Tensor

from shared.errors import ModelError, WeightsInvalid, WeightsUnavailable
from shared.networks import MIDAS_SMALL, NETWORKS
from worker.model.checkpoint import random_network
from worker.model.fetch import fetch_official
from worker.model.weights import official_path, resolve_weights

Answer = Callable[[BaseHTTPRequestHandler], object]
Serve = Callable[[Answer], str]

TIMEOUT = 0.5


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server with one response for every request; return its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class ModelHandler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), ModelHandler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/midas_v21_small_256.pt"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("checkpoint") / "midas.pt"
    state: dict[str, Tensor] = random_network().state_dict()
    torch.save(state, path)
    return path.read_bytes()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set at the end of the test: a handler that hangs waits for it."""
    event = threading.Event()
    yield event
    event.set()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def send(data: bytes, *, status: int = 200, length: int | None = None) -> Answer:
    """Respond with `data`, with another Content-Length if `length` is given."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def left_in(cache: Path) -> list[str]:
    return [path.name for path in official_path(cache).parent.iterdir()]


def test_the_checkpoint_is_fetched_verified_and_found(serve: Serve, checkpoint: bytes, tmp_path: Path):
    url = serve(send(checkpoint))
    seen: list[tuple[int, int | None]] = []

    path = fetch_official(
        tmp_path, url=url, sha256=sha256(checkpoint), progress=lambda done, total: seen.append((done, total))
    )

    assert path == official_path(tmp_path)
    assert path.read_bytes() == checkpoint
    assert left_in(tmp_path) == ["midas_v21_small_256.pt"]
    assert seen[-1] == (len(checkpoint), len(checkpoint))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    found = resolve_weights("auto", tmp_path, official_sha256=sha256(checkpoint)[:8])
    assert (found.name, found.path) == ("official", path)


def test_a_redirect_is_followed(serve: Serve, checkpoint: bytes, tmp_path: Path):
    there = serve(send(checkpoint))

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", there)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    path = fetch_official(tmp_path, url=serve(redirect), sha256=sha256(checkpoint)[:8])

    assert path.stat().st_size == len(checkpoint)


def test_a_mirror_has_the_files_under_their_official_names(serve: Serve, checkpoint: bytes, tmp_path: Path):
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        send(checkpoint)(handler)

    mirror = serve(answer).rpartition("/")[0] + "/copies/"

    for network in (MIDAS_SMALL, NETWORKS["dpt_large"]):
        with contextlib.suppress(WeightsInvalid):
            fetch_official(tmp_path, network=network, mirror=mirror, sha256=sha256(checkpoint))

    assert asked == ["/copies/midas_v21_small_256.pt", "/copies/dpt_large_384.pt"]
    # Those of another network are not kept.
    assert left_in(tmp_path) == ["midas_v21_small_256.pt"]


def test_an_existing_checkpoint_is_not_fetched_again(tmp_path: Path):
    path = official_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"fetched before")

    found = fetch_official(tmp_path, url="http://127.0.0.1:1/", sha256=sha256(b"fetched before")[:8])

    assert found == path


def test_a_wrong_file_in_its_place_is_replaced(serve: Serve, checkpoint: bytes, tmp_path: Path):
    path = official_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of a checkp")

    fetch_official(tmp_path, url=serve(send(checkpoint)), sha256=sha256(checkpoint))

    assert path.read_bytes() == checkpoint


def test_a_file_with_a_wrong_hash_is_not_kept(serve: Serve, checkpoint: bytes, tmp_path: Path):
    url = serve(send(checkpoint))

    with pytest.raises(
        ModelError, match=f"SHA-256 starts with {sha256(checkpoint)[:8]}, not 70d6b9c8. Nothing was kept"
    ):
        fetch_official(tmp_path, url=url)

    assert left_in(tmp_path) == []


def test_a_failed_download_keeps_the_existing_file(serve: Serve, tmp_path: Path):
    path = official_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"of another version")

    with pytest.raises(ModelError):
        fetch_official(tmp_path, url=serve(send(b"<html>Please log in</html>")))

    assert path.read_bytes() == b"of another version"
    assert left_in(tmp_path) == [path.name]


def test_a_file_of_the_right_hash_with_other_entries_is_refused(serve: Serve, tmp_path: Path):
    other = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, other)
    data = other.read_bytes()

    with pytest.raises(WeightsInvalid, match="it lacks"):
        fetch_official(tmp_path, url=serve(send(data)), sha256=sha256(data))

    assert left_in(tmp_path) == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_body_is_an_interrupted_download(
    serve: Serve, checkpoint: bytes, tmp_path: Path, share: float
):
    data = checkpoint[: int(len(checkpoint) * share)]
    url = serve(send(data, length=len(checkpoint)))

    with pytest.raises(WeightsUnavailable, match=r"The download from http://.* broke off"):
        fetch_official(tmp_path, url=url, sha256=sha256(checkpoint))

    assert left_in(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_server_error_is_reported_with_its_status(serve: Serve, tmp_path: Path, status: int):
    url = serve(send(b"no", status=status))

    with pytest.raises(WeightsUnavailable, match=f"the server answered {status}"):
        fetch_official(tmp_path, url=url)

    assert left_in(tmp_path) == []


@pytest.mark.timeout(60)
def test_a_server_that_never_responds_is_abandoned(serve: Serve, tmp_path: Path, released: threading.Event):
    url = serve(lambda handler: released.wait())

    with pytest.raises(WeightsUnavailable, match=r"No answer|stopped answering"):
        fetch_official(tmp_path, url=url, timeout=TIMEOUT)

    assert left_in(tmp_path) == []


@pytest.mark.timeout(60)
def test_a_server_that_stops_sending_is_abandoned(
    serve: Serve, checkpoint: bytes, tmp_path: Path, released: threading.Event
):
    def begin(handler: BaseHTTPRequestHandler) -> None:
        send(checkpoint[:100_000], length=len(checkpoint))(handler)
        released.wait()

    with pytest.raises(WeightsUnavailable, match="broke off: the server stopped answering"):
        fetch_official(tmp_path, url=serve(begin), timeout=TIMEOUT)

    assert left_in(tmp_path) == []


def test_a_body_that_never_ends_does_not_fill_the_disk(serve: Serve, tmp_path: Path):
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        piece = bytes(2**22)
        try:
            while True:
                handler.wfile.write(piece)
        except ConnectionError:
            # The client disconnects, as the test expects.
            return

    with pytest.raises(ModelError, match="more than 256 MB: that is no checkpoint"):
        fetch_official(tmp_path, url=serve(endless))

    assert left_in(tmp_path) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/file", "http://name.invalid/file", "https://127.0.0.1:1/file"]
)
def test_without_a_connection_it_ends_soon_and_names_a_remedy(tmp_path: Path, url: str):
    with pytest.raises(WeightsUnavailable) as caught:
        fetch_official(tmp_path, url=url)

    assert url in caught.value.message
    assert "`fathom model fetch` again later" in caught.value.message
    assert left_in(tmp_path) == []


def test_a_redirect_loop_is_an_error(serve: Serve, tmp_path: Path):
    def around(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", handler.path)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with pytest.raises(WeightsUnavailable, match="cannot be reached"):
        fetch_official(tmp_path, url=serve(around))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "weights").write_text("a file where the folder belongs")

    with pytest.raises(ModelError, match=f"cannot be written to {tmp_path}/weights"):
        fetch_official(tmp_path)
