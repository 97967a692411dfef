"""How commands end: exit codes, and errors as one sentence on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn

import click

#: Exit codes by the state a job ended in.
EXIT_CODES = {"succeeded": 0, "failed": 1, "partial": 3, "canceled": 4, "expired": 1}
INTERRUPTED = 130


class CommandFailed(click.ClickException):
    """Ends the command with exit code 1 and one sentence."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"fathom: {self.format_message()}", file=file, err=file is None)


def exit_at_once(code: int) -> NoReturn:
    """End the process without waiting for its threads, which may be blocked on a server.

    Only for commands whose work is safe on disk at any moment.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn an error of the server's own code, raised in this process, into one sentence.

    It is an error too that those rooms, or the packages they need, are not installed.
    """
    try:
        from shared.errors import FathomError
    except ModuleNotFoundError as exc:
        raise CommandFailed(_say_missing(exc)) from exc
    try:
        yield
    except FathomError as exc:
        raise CommandFailed(exc.message) from exc
    except ModuleNotFoundError as exc:
        raise CommandFailed(_say_missing(exc)) from exc


def _say_missing(exc: ModuleNotFoundError) -> str:
    return (
        f"This command needs Fathom's server, and there is no `{exc.name}` here: "
        "run `make setup` in a clone of Fathom, then `.venv/bin/fathom`."
    )
