"""Fixtures for all tests: real servers, started when the first test needs them.

Every process that runs tests has its own servers, so several can run side by side. `fathom_environ` holds the
`FATHOM_*` of the running servers for child processes, and `settings` holds the same as Settings. Both stores
are empty at the start of each test.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
import redis
from _pytest.faulthandler import fault_handler_stderr_fd_key

from fathom.stack.servers import EmbeddedServer, SeaweedServer, ServerMissing, ValkeyServer
from shared.objectstore.s3 import S3ObjectStore
from shared.settings import Settings
from tests.client_alone import install_client
from tests.servers import SharedValkey

# Failed asserts in the contract tests show their values, as those in test modules do.
pytest.register_assert_rewrite("tests.contracts")

BUCKET = "fathom-test"
ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"

#: Tests of the network: one process makes its graph, engines and first imports, which take seconds.
TORCH = ("tests/unit/training/", "tests/unit/worker/model/", "tests/unit/fathom/test_train.py")

#: Seconds that the fixtures of a test may take to end.
TEARDOWN = 240.0

Server = TypeVar("Server", bound=EmbeddedServer)
SettingsFactory = Callable[..., Settings]


def pytest_configure() -> None:
    """Reset signal handlers, and give each library one thread, for this process and for its children."""
    restore_signal_handlers()
    # Tests run side by side. With more threads than free cores, most threads would spin while they wait.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", OPENCV_FOR_THREADS_NUM="1")


def restore_signal_handlers() -> None:
    """Restore the default signal handlers, so that processes that tests start have them too.

    A shell ignores SIGINT and SIGQUIT in background processes, and `nohup` ignores SIGHUP; children inherit
    ignored signals.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Run tests that share fixtures in the same process: those of a file, and all that need the network."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types.
        def _split_scope(self, nodeid: str) -> str:
            return "torch" if nodeid.startswith(TORCH) else nodeid.partition("::")[0]

    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of the network. Side by side, mix files that wait much with files that compute."""
    for item in items:
        if item.nodeid.startswith(TORCH):
            item.add_marker("torch")
    if hasattr(config, "workerinput"):
        order = _mixed(dict.fromkeys(item.nodeid.partition("::")[0] for item in items))
        items.sort(key=lambda item: order[item.nodeid.partition("::")[0]])


def _mixed(files: Iterable[str]) -> dict[str, float]:
    """Return a place from 0 to 1 for each file. What takes long ends early, so that all processes end together."""
    groups: dict[float, list[str]] = {0.0: [], 0.8: [], 1.0: []}
    for file in files:
        waits = file.startswith(("tests/acceptance/", "tests/integration/"))
        groups[0.0 if file.startswith(TORCH) else 0.8 if waits else 1.0].append(file)
    return {file: end * n / len(each) for end, each in groups.items() for n, file in enumerate(each)}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """End this process, and print where it stood, if a fixture hangs: pytest-timeout watches no failed test."""
    faulthandler.dump_traceback_later(
        TEARDOWN, file=item.config.stash[fault_handler_stderr_fd_key], exit=True
    )
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def skip_or_fail(reason: str) -> NoReturn:
    """Skip a test that cannot run on this machine; fail it in CI, where it must run."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def start_or_skip(server: Server) -> Server:
    """Start a server; skip or fail the test if its package is missing."""
    try:
        return server.start()
    except ServerMissing as exc:
        skip_or_fail(exc.message)


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One Valkey for the whole run. Tests that stop a server start their own."""
    server = start_or_skip(SharedValkey(tmp_path_factory.mktemp("valkey")))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey_databases() -> Iterator[int]:
    """The numbers of unused databases."""
    return iter(range(SharedValkey.databases))


@pytest.fixture(scope="module")
def valkey_database(valkey_server: ValkeyServer, valkey_databases: Iterator[int]) -> str:
    """The URL of the module's own database, as earlier tests of the module left it."""
    return f"{valkey_server.url.removesuffix('/0')}/{next(valkey_databases)}"


@pytest.fixture
def valkey_url(valkey_database: str) -> str:
    """The URL of the module's own database, empty."""
    with redis.Redis.from_url(valkey_database) as client:
        client.flushdb()
    return valkey_database


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """One S3 server for the whole run, with the bucket `fathom-test`."""
    server = start_or_skip(
        SeaweedServer(
            tmp_path_factory.mktemp("s3"), bucket=BUCKET, access_key=ACCESS_KEY, secret_key=SECRET_KEY
        )
    )
    # Its data are not needed again.
    server.stop_grace = 0.0
    yield server
    server.stop()


@pytest.fixture(scope="session")
def seaweed_environ(seaweed_server: SeaweedServer) -> dict[str, str]:
    """`FATHOM_S3_*` of the run's S3 server, as earlier tests left it.

    The public address differs from the internal one, as behind a proxy.
    """
    return seaweed_server.environ() | {"FATHOM_S3_PUBLIC_URL": f"http://localhost:{seaweed_server.port}"}


@pytest.fixture(scope="session")
def seaweed_store(seaweed_environ: dict[str, str]) -> Iterator[S3ObjectStore]:
    """The object store on the run's S3 server, made once because boto3 is slow to start."""
    store = S3ObjectStore.from_settings(Settings.from_environ(seaweed_environ))
    yield store
    store.close()


@pytest.fixture
def object_store(seaweed_store: S3ObjectStore) -> S3ObjectStore:
    """The real object store, empty."""
    empty(seaweed_store)
    return seaweed_store


@pytest.fixture
def s3_environ(seaweed_environ: dict[str, str], object_store: S3ObjectStore) -> dict[str, str]:
    """`FATHOM_S3_*` of the run's S3 server, empty."""
    return dict(seaweed_environ)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of the exported graph. All processes of the run share it, because an export takes seconds."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture(scope="session")
def client_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a client that was installed without the server."""
    return install_client(tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def module_environ(valkey_database: str, seaweed_environ: dict[str, str], cache_dir: Path) -> dict[str, str]:
    """All `FATHOM_*` that a process needs for the running servers, with random weights."""
    return {
        "FATHOM_REDIS_URL": valkey_database,
        **seaweed_environ,
        "FATHOM_WEIGHTS": "random",
        "FATHOM_CACHE_DIR": str(cache_dir),
        "FATHOM_LOG_FORMAT": "json",
    }


@pytest.fixture
def fathom_environ(module_environ: dict[str, str], valkey_url: str, s3_environ: object) -> dict[str, str]:
    """The same, with both stores empty."""
    return dict(module_environ)


@pytest.fixture
def settings_factory(fathom_environ: dict[str, str]) -> SettingsFactory:
    """Make Settings for the running servers, with changes: `settings_factory(lease_images=2)`."""

    def build(**changes: Any) -> Settings:
        return dataclasses.replace(Settings.from_environ(fathom_environ), **changes)

    return build


@pytest.fixture
def settings(settings_factory: SettingsFactory) -> Settings:
    """Settings for the running servers."""
    return settings_factory()


def empty(store: S3ObjectStore) -> None:
    """Delete every object of a bucket on a server that the tests started."""
    while (first := next(store.list(""), None)) is not None:
        store.delete_prefix(first.key.partition("/")[0])
