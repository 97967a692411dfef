"""Our own programs as child processes: each in a group of its own, with a log, and guarded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from fathom.stack import orphan_guard

_POLL = 0.05


class Part(Protocol):
    """A part of a stack; the embedded servers have this shape too."""

    log_path: Path
    #: Seconds that `stop` leaves it to end by itself.
    stop_grace: float

    @property
    def name(self) -> str: ...

    @property
    def pid(self) -> int: ...

    def is_running(self) -> bool: ...

    def start(self) -> object:
        """Start the part, again if it has ended."""

    def stop(self) -> None:
        """End the part and all its children; after `stop_grace` seconds, by force."""


class OrphanGuard:
    """Ends all process groups when this process ends, however it ends.

    It inherits `lock`, so the stack's folder stays locked until the last group is gone.
    """

    def __init__(self, lock: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", orphan_guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[lock],
            start_new_session=True,
            text=True,
        )

    def add(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def discard(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the guard, and with it the groups that it still guards."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        # A stack runs and stops normally even if its guard is gone.
        with suppress(BrokenPipeError):
            self._process.stdin.write(line)
            self._process.stdin.flush()


class Program:
    """A program in its own process group, logging to a file; started and stopped any number of times."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        folder: Path,
        log_path: Path,
        guard: OrphanGuard,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self.stop_grace = 0.5
        self._command = command
        self._environ = environ
        self._folder = folder
        self._guard = guard
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def is_running(self) -> bool:
        return self.exit_code() is None and self._process is not None

    def exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start the program; first kill what an earlier run of it left behind."""
        self._sweep()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=dict(self._environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C at a terminal must reach only `fathom up`, which ends its parts in order.
                start_new_session=True,
            )
        self._guard.add(self._process.pid)

    def ask_to_end(self) -> None:
        """Send SIGTERM to the leader, which ends its own children; no error if it has ended."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        self.ask_to_end()
        deadline = time.monotonic() + self.stop_grace
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(_POLL)
        self._sweep()

    def _sweep(self) -> None:
        """Kill all that is left of the group, such as the children of a killed worker."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._guard.discard(self._process.pid)
        self._process = None


def log_tail(path: Path, *, lines: int = 15) -> str:
    """Return the last lines of a log; they say why a part did not start."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])
