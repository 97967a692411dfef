"""Proxies in the environment: they are used for all machines but this one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner

from fathom.async_client import AsyncFathom
from fathom.cli import main
from fathom.errors import ClientError, ConnectionLost
from fathom.stack.servers import SeaweedServer, ValkeyServer
from fathom.sync_client import Fathom
from fathom.transport import Patience
from shared.errors import FathomError, WeightsUnavailable
from shared.objectstore.s3 import S3ObjectStore
from shared.observability.otlp import connect_exporter
from shared.redis.client import connect_redis
from shared.settings import Settings
from tests.conftest import ACCESS_KEY, BUCKET, SECRET_KEY, start_or_skip
from tests.origins import Origin, answer, origin
from worker.model.fetch import fetch_official

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
JSON = answer("200 OK", b"{}", Content_Type="application/json")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    """The proxy in the environment, which itself responds for `storage.test`."""
    with origin() as server:
        for name in NAMES:
            for spelling in (name, name.lower()):
                monkeypatch.setenv(spelling, server.url(""))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield server


@pytest.fixture
def local_server() -> Iterator[Origin]:
    """A server on this machine."""
    with origin() as server:
        server.serve("/", JSON)
        yield server


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `storage.test` resolve to this machine, like any name below `localhost`."""
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        is_ours = host in ("storage.test", b"storage.test", "s3.localhost", b"s3.localhost")
        return real("127.0.0.1" if is_ours else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def ask(url: str) -> object:
    with Fathom(url, patience=Patience(total=0.0)) as fathom:
        return fathom.job("x")


def ask_async(url: str) -> object:
    async def get() -> object:
        async with AsyncFathom(url, patience=Patience(total=0.0)) as fathom:
            return await fathom.job("x")

    return asyncio.run(get())


def read_object(url: str) -> object:
    settings = Settings.from_environ(
        {
            "FATHOM_S3_ENDPOINT_URL": url,
            "FATHOM_S3_BUCKET": "b",
            "FATHOM_S3_ACCESS_KEY": "key",
            "FATHOM_S3_SECRET_KEY": "secret",
        }
    )
    with closing(S3ObjectStore.from_settings(settings, attempts=1)) as store:
        return store.get("k")


def fetch_weights(url: str) -> object:
    with TemporaryDirectory() as folder:
        return fetch_official(Path(folder), url=url, sha256="0000")


def export_spans(url: str) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
        exporter = connect_exporter()
    try:
        return exporter.export([])
    finally:
        exporter.shutdown()


calls = pytest.mark.parametrize("call", [ask, ask_async, read_object, fetch_weights, export_spans])


def make(call: Callable[[str], object], url: str) -> None:
    """Send a request; only its receiver matters, not the response."""
    with suppress(ClientError, FathomError):
        call(url)


@calls
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "s3.localhost"])
def test_this_machine_is_requested_without_a_proxy(
    proxy: Origin, local_server: Origin, call: Callable[[str], object], host: str
) -> None:
    make(call, local_server.url("/", host=host))

    assert local_server.requests
    assert proxy.requests == []


@calls
def test_other_machines_are_requested_through_the_proxy(
    proxy: Origin, local_server: Origin, call: Callable[[str], object]
) -> None:
    make(call, local_server.url("/", host="storage.test"))

    assert proxy.requests[0].path.startswith(f"http://storage.test:{local_server.port}/")
    assert local_server.requests == []


@calls
@pytest.mark.parametrize("direct", ["storage.test", ".test", "other.test,storage.test", "*"])
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_is_obeyed(
    proxy: Origin,
    local_server: Origin,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[str], object],
    name: str,
    direct: str,
) -> None:
    monkeypatch.setenv(name, direct)

    make(call, local_server.url("/", host="storage.test"))

    assert local_server.requests
    assert proxy.requests == []


@pytest.mark.parametrize(
    "unusable", ["socks5://127.0.0.1:1", "gopher://127.0.0.1:1", "http://127.0.0.1:port"]
)
@pytest.mark.parametrize("call", [ask, ask_async, fetch_weights])
def test_a_broken_proxy_affects_only_other_machines(
    proxy: Origin,
    local_server: Origin,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[str], object],
    unusable: str,
) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, unusable)
        monkeypatch.setenv(name.lower(), unusable)

    with pytest.raises((ConnectionLost, WeightsUnavailable), match="of a kind that cannot be used"):
        call(local_server.url("/", host="storage.test"))
    make(call, local_server.url("/"))

    assert local_server.requests


def test_the_embedded_servers_start_and_work_beside_a_proxy(proxy: Origin, tmp_path: Path) -> None:
    seaweed = SeaweedServer(tmp_path / "s3", bucket=BUCKET, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    with (
        start_or_skip(ValkeyServer(tmp_path / "valkey")) as valkey,
        start_or_skip(seaweed) as s3,
        connect_redis(valkey.url) as client,
        closing(S3ObjectStore.from_settings(Settings.from_environ(s3.environ()))) as store,
    ):
        client.set("k", "v")
        store.put("k", bytes(9 * 2**20))

        assert client.get("k") == b"v"
        assert store.size("k") == 9 * 2**20
    assert proxy.requests == []


def test_the_doctor_finds_servers_healthy_beside_a_proxy(
    proxy: Origin, fathom_environ: dict[str, str]
) -> None:
    result = CliRunner().invoke(
        main, ["doctor", "--json"], env={**fathom_environ, "FATHOM_WEIGHTS": "starter"}
    )

    assert result.exit_code == 0, result.output
    assert proxy.requests == []
