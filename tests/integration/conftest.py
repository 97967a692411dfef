"""Fixtures of the integration tests alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from client.servers import free_ports
from shared.object_store import S3ObjectStore
from shared.settings import Settings
from tests.conftest import ACCESS_KEY, BUCKET, SECRET_KEY, start_or_skip
from tests.integration.api_servers import CONFIG, Server, Start, eventually, is_ready, launch
from tests.servers import JuicefsGateway


@pytest.fixture(scope="session")
def juicefs_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JuicefsGateway]:
    """MinIO's S3 front end, one for the whole run, with the bucket `fathom-test`."""
    server = start_or_skip(
        JuicefsGateway(
            tmp_path_factory.mktemp("juicefs"), bucket=BUCKET, access_key=ACCESS_KEY, secret_key=SECRET_KEY
        )
    )
    yield server
    server.stop()


@pytest.fixture(scope="session")
def juicefs_environ(juicefs_gateway: JuicefsGateway) -> dict[str, str]:
    """`FATHOM_S3_*` of MinIO's front end; the public address differs from the internal one."""
    return juicefs_gateway.environ() | {"FATHOM_S3_PUBLIC_URL": f"http://localhost:{juicefs_gateway.port}"}


@pytest.fixture(scope="session")
def juicefs_store(juicefs_environ: dict[str, str]) -> Iterator[S3ObjectStore]:
    """The object store over MinIO's front end, as it stands after other tests."""
    store = S3ObjectStore.from_settings(Settings.from_environ(juicefs_environ))
    yield store
    store.close()


@pytest.fixture
def start_server(fathom_environ: dict[str, str], servers: list[Server], tmp_path: Path) -> Start:
    """Start the API as it is started in production, with one process and changed settings."""

    def start(
        config: str = CONFIG, *, ready_at: str = "/readyz", port: int | None = None, **environ: str
    ) -> Server:
        port = port or free_ports(1)[0]
        server = launch(config, port, {**fathom_environ, **environ}, tmp_path / f"api-{port}.log")
        servers.append(server)
        eventually(lambda: is_ready(server, ready_at))
        return server

    return start


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    """The servers started by a module's tests; they end after its last test."""
    started: list[Server] = []
    yield started
    for server in started:
        server.http.close()
        server.process.terminate()
    for server in started:
        server.process.wait(30)


@pytest.fixture(scope="module")
def shared_server() -> list[Server]:
    """Where the server that most tests of a module share is kept, once a test has started it."""
    return []


@pytest.fixture
def server(start_server: Start, shared_server: list[Server]) -> Server:
    """One server for all tests that leave it as it was; its stores are emptied before each."""
    if not shared_server:
        shared_server.append(start_server())
    return shared_server[0]
