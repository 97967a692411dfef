"""The download of the official checkpoint, from good and from bad servers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from fathom.cli import main
from fathom.commands.exit import INTERRUPTED
from fathom.stack.servers import tied_to_parent
from shared.errors import ModelError, WeightsInvalid, WeightsUnavailable
from shared.networks import MIDAS_SMALL, NETWORKS
from tests.origins import Origin, origin
from tests.ranges import RangedFile
from tests.waiting import eventually
from worker.model.checkpoint import load_network, random_network
from worker.model.fetch import fetch_official
from worker.model.graph import graph_path
from worker.model.networks.build import official_name
from worker.model.weights import Weights, official_path, resolve_weights

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


@pytest.fixture
def server() -> Iterator[Origin]:
    with origin() as served:
        yield served


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
    """Return the names of the files beside the weights, but for the lock."""
    folder = official_path(cache).parent
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


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


def test_a_complete_file_with_a_wrong_hash_is_deleted_and_fetched_anew(server: Origin, tmp_path: Path):
    right, damaged = b"r" * 50_000, b"d" * 50_000
    file = RangedFile(damaged, cuts=[20_000, 0])
    url = file.at(server)
    with pytest.raises(WeightsUnavailable, match=r"0\.0 MB that have arrived are kept"):
        fetch_official(tmp_path, url=url, sha256=sha256(right))
    assert left_in(tmp_path) == [f"midas_v21_small_256.pt.part{end}" for end in ("", ".json")]
    # A server that gives another file the same ETag.
    file.data, file.cuts = right, []

    with pytest.raises(ModelError, match=r"official checkpoint: .* Nothing was kept"):
        fetch_official(tmp_path, url=url, sha256=sha256(right))

    assert left_in(tmp_path) == []
    with pytest.raises(WeightsInvalid, match="cannot be read as weights"):
        # The hash is right, though these are no weights.
        fetch_official(tmp_path, url=url, sha256=sha256(right))
    assert file.ranges[-1] == (None, None)


#: More bytes than a process holds back before it writes them.
BUFFERED = 2**20


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_command_is_continued(
    server: Origin, checkpoint: bytes, tmp_path: Path, released: threading.Event, number: signal.Signals
):
    half = len(checkpoint) // 2
    file = RangedFile(checkpoint, cuts=[half], silent_until=released)
    url = file.at(server)
    environ = {"FATHOM_CACHE_DIR": str(tmp_path), "FATHOM_WEIGHTS_MIRROR": url.rpartition("/")[0]}
    command = tied_to_parent([sys.executable, "-m", "fathom.cli", "model", "fetch", "midas_small"])
    part = official_path(tmp_path).with_name("midas_v21_small_256.pt.part")
    with subprocess.Popen(
        command, env={**os.environ, **environ}, stderr=subprocess.PIPE, text=True
    ) as fetching:
        # The last bytes may lie in the process's buffer, until it gives up waiting for more.
        eventually(lambda: part.exists() and part.stat().st_size, lambda size: size > half - BUFFERED)
        fetching.send_signal(number)
        _, said = fetching.communicate()

    if number is signal.SIGINT:
        assert fetching.returncode == INTERRUPTED
        assert said.rstrip().endswith("Interrupted. The same command continues, if the server lets it.")
    released.set()
    path = fetch_official(tmp_path, url=url, sha256=sha256(checkpoint), timeout=60)

    assert path.read_bytes() == checkpoint
    whole, (rest, version) = file.ranges
    assert (whole, version) == ((None, None), '"one"')
    assert half - BUFFERED < int(str(rest).removeprefix("bytes=").removesuffix("-")) <= half
    assert left_in(tmp_path) == [path.name]


@pytest.mark.timeout(120)
def test_a_second_fetch_waits_for_the_first(
    server: Origin, checkpoint: bytes, tmp_path: Path, released: threading.Event
):
    file = RangedFile(checkpoint, cuts=[1000], silent_until=released)
    url = file.at(server)

    def fetch(say: Callable[[str], object]) -> Path:
        return fetch_official(tmp_path, url=url, sha256=sha256(checkpoint), say=say, timeout=60)

    def hear(sentence: str) -> None:
        assert sentence == "Another process is fetching midas_v21_small_256.pt; waiting for it."
        released.set()

    with ThreadPoolExecutor() as pool:
        first = pool.submit(fetch, print)
        eventually(lambda: file.requests)
        second = pool.submit(fetch, hear)

        assert first.result() == second.result() == official_path(tmp_path)
    assert released.is_set()
    # The second found what the first had fetched.
    assert file.ranges == [(None, None), ("bytes=1000-", '"one"')]


def command(cache: Path, *arguments: str, mirror: str = "http://127.0.0.1:1/") -> Result:
    environ = {"FATHOM_CACHE_DIR": str(cache), "FATHOM_WEIGHTS_MIRROR": mirror}
    return CliRunner(env=environ).invoke(main, ["model", "fetch", *arguments])


def test_all_licences_are_shown_before_the_first_request(tmp_path: Path):
    ended = command(tmp_path, "midas_large", "depth_anything_v2_small")

    assert ended.exit_code == 1
    licences, error = ended.stderr.split("fathom: ")
    assert "MiDaS v2.1 large: 423 MB; licence of the code: MIT" in licences
    assert "CC-BY-NC 4.0" in licences
    assert "Depth Anything V2 Small: 99 MB; licence of the code: Apache-2.0" in licences
    assert "cannot be reached" in error
    assert "`fathom model fetch midas_large`" in error


def test_quiet_says_nothing_but_what_went_wrong(tmp_path: Path):
    ended = command(tmp_path, "midas_large", "--quiet")

    assert ended.stderr.startswith("fathom: http://127.0.0.1:1/midas_v21_384.pt cannot be reached")
    assert ended.stdout == ""


@pytest.mark.slow
def test_a_network_is_fetched_and_prepared_by_one_command(server: Origin, tmp_path: Path):
    network = NETWORKS["dpt_swin2_tiny"]
    source = tmp_path / network.file
    weights = Weights(name="random", path=None, sha256="", network=network)
    state = load_network(weights).state_dict()
    torch.save({official_name(network, name): tensor for name, tensor in state.items()}, source)
    url = RangedFile(source.read_bytes(), cuts=[10**7]).at(server, f"/{network.file}")

    ended = command(tmp_path, network.name, "--json", mirror=url.rpartition("/")[0])

    path = official_path(tmp_path, network)
    assert json.loads(ended.stdout)["models"] == [{"name": network.name, "path": str(path), "prepared": True}]
    graph = graph_path(resolve_weights("official", tmp_path, network=network), tmp_path)
    assert graph.exists()
    # The workers find the compiled network.
    assert list(graph.parent.glob(f"{graph.stem}*.blob"))
