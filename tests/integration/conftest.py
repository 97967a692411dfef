"""Fixtures for the integration tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fathom.stack.servers import free_ports
from shared.objectstore.s3 import S3ObjectStore
from shared.settings import Settings
from tests.conftest import ACCESS_KEY, BUCKET, SECRET_KEY, start_or_skip
from tests.integration.api_servers import CONFIG, ApiServer, Start, launch
from tests.servers import JuicefsGateway


@pytest.fixture(scope="session")
def juicefs_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JuicefsGateway]:
    """The S3 front end of MinIO, one for the whole run, with the bucket `fathom-test`."""
    server = start_or_skip(
        JuicefsGateway(
            tmp_path_factory.mktemp("juicefs"), bucket=BUCKET, access_key=ACCESS_KEY, secret_key=SECRET_KEY
        )
    )
    yield server
    server.stop()


@pytest.fixture(scope="session")
def juicefs_environ(juicefs_gateway: JuicefsGateway) -> dict[str, str]:
    """`FATHOM_S3_*` of the front end of MinIO; the public address differs from the internal one."""
    return juicefs_gateway.environ() | {"FATHOM_S3_PUBLIC_URL": f"http://localhost:{juicefs_gateway.port}"}


@pytest.fixture(scope="session")
def juicefs_store(juicefs_environ: dict[str, str]) -> Iterator[S3ObjectStore]:
    """The object store on the front end of MinIO, as earlier tests left it."""
    store = S3ObjectStore.from_settings(Settings.from_environ(juicefs_environ))
    yield store
    store.close()


@pytest.fixture
def start_server(fathom_environ: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start the API as in production, but with one process, and with changed settings.

    `start_server("-b", "unix:/x", FATHOM_RATE_LIMIT="5/minute")`; with `ready_at=None` it does not wait.
    """
    started: list[ApiServer] = []

    def start(
        *options: str,
        config: str = CONFIG,
        ready_at: str | None = "/readyz",
        port: int | None = None,
        **environ: str,
    ) -> ApiServer:
        port = port or free_ports(1)[0]
        server = launch(config, port, {**fathom_environ, **environ}, tmp_path / f"api-{port}.log", *options)
        started.append(server)
        if ready_at is not None:
            server.wait_until_ready(ready_at)
        return server

    yield start
    for server in started:
        server.end()


@pytest.fixture(scope="module")
def module_server(
    module_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """One server for all tests of a module that do not change it."""
    log = tmp_path_factory.mktemp("api") / "api.log"
    server = launch(CONFIG, free_ports(1)[0], module_environ, log)
    try:
        server.wait_until_ready("/readyz")
        yield server
    finally:
        server.end()


@pytest.fixture
def server(module_server: ApiServer, fathom_environ: dict[str, str]) -> ApiServer:
    """The module's server, with empty stores."""
    return module_server
