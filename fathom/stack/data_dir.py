"""The data folder of an embedded stack: its lock, its keys, its logs, and stack.json."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import FathomError
from shared.net.webhook_signing import make_secret

#: Seconds that a new stack waits for the parts of a killed one to end, before it gives up.
LOCK_PATIENCE = 40.0


class StackRunning(FathomError):
    """Another stack is running on this folder."""

    code = "stack_running"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The secrets of the embedded servers and of webhooks; only the folder's owner may read them."""

    access_key: str
    secret_key: str = field(repr=False)
    redis_password: str = field(repr=False)
    webhook_secret: str = field(repr=False)

    @classmethod
    def make(cls) -> Keys:
        return cls(
            access_key=secrets.token_hex(10),
            secret_key=secrets.token_hex(20),
            redis_password=secrets.token_hex(20),
            webhook_secret=make_secret(),
        )


class DataFolder:
    """Where a stack keeps its data from one start to the next."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def stack_file(self) -> Path:
        """Where a running stack says how to reach it; its presence means that it is ready."""
        return self.path / "stack.json"

    def log(self, part: str) -> Path:
        return self.path / "logs" / f"{part}.log"

    def make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.path / "logs").mkdir(exist_ok=True)

    def keys(self) -> Keys:
        """Return the folder's keys; make and store those that it does not have yet."""
        path = self.path / "keys.json"
        kept: dict[str, str] = {}
        with suppress(FileNotFoundError):
            kept = json.loads(path.read_text())
        keys = Keys(**vars(Keys.make()) | kept)
        if vars(keys) != kept:
            write_private(path, vars(keys))
        return keys

    def lock(self, pause: Callable[[], None]) -> int:
        """Lock the folder for this process and all that inherit the descriptor returned.

        If the owner of the lock is dead, its orphan guard is still cleaning up: wait for that.
        `pause` waits a moment, or raises to give up. Raises StackRunning.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LOCK_PATIENCE
        try:
            while not _try_lock(descriptor):
                owner = os.pread(descriptor, 20, 0).decode().strip()
                if (owner and _is_alive(int(owner))) or time.monotonic() > deadline:
                    raise StackRunning(f"Another `fathom up` (process {owner}) is running on {self.path}.")
                # A program that reads it would take the dead stack for a running one.
                self.stack_file.unlink(missing_ok=True)
                pause()
        except BaseException:
            os.close(descriptor)
            raise
        self.stack_file.unlink(missing_ok=True)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return descriptor


def write_private(path: Path, data: Mapping[str, object]) -> None:
    """Write JSON that appears whole or not at all, and that only its owner may read."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=2)
        file.write("\n")
    temporary.replace(path)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
