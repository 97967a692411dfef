"""Fathom's own rows: `fathom run`, and the whole system."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.embedded_stack import run_stack
from bench.peers.measure import pinned
from bench.peers.peer import Peer, Setup, Started
from worker.model.openvino_engine import BRANCH_AFTER

#: What Fathom is asked for in every row, and for the heatmaps that the others are compared with: the plain
#: map at the photo's size, as the others make it.
OPTIONS = {"heatmap_format": "jpeg", "edges": "smooth"}

#: Photos until a process has compiled all it ever compiles, and a few more, because processes do not share
#: them evenly.
_WARM_UP = BRANCH_AFTER + 8


@dataclass(frozen=True, kw_only=True)
class FathomRun(Peer):
    """`fathom run`: a folder, without a server."""

    precision: str
    warm_up: int = _WARM_UP

    @contextmanager
    def start(self, setup: Setup) -> Iterator[Started]:
        command = _fathom("run", "--jobs", str(len(setup.cores)), "--quiet", *_options())
        yield Started(
            command=lambda photos, out: [*command, str(photos), str(out)],
            environ={"FATHOM_PRECISION": self.precision},
        )


@dataclass(frozen=True, kw_only=True)
class FathomSystem(Peer):
    """The whole system: `fathom up`, and `fathom submit --out` for each album."""

    precision: str
    warm_up: int = _WARM_UP

    @contextmanager
    def start(self, setup: Setup) -> Iterator[Started]:
        environ = {"FATHOM_PRECISION": self.precision}
        with ExitStack() as running:
            with pinned(setup.cores):
                up = run_stack(setup.scratch, concurrency=len(setup.cores), environ=environ)
                stack = running.enter_context(up)
            command = _fathom("submit", "--api", stack.info["api"], "--quiet", *_options())
            yield Started(
                command=lambda photos, out: [*command, str(photos), "--out", str(out)], server=stack.pid
            )


def _fathom(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fathom.cli", *arguments]


def _options() -> list[str]:
    return [word for name, value in OPTIONS.items() for word in ("--option", f"{name}={value}")]
