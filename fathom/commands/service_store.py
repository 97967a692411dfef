"""The object store of the service that a command of its operator is about."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fathom.commands.exit import CommandFailed

if TYPE_CHECKING:
    from shared.objectstore.s3 import S3ObjectStore

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULT_FOLDER = Path(".fathom")


def data_option(command: F) -> F:
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of a running `fathom up`.  [default: .fathom, if one runs there and no FATHOM_S3_* is "
        "set]",
    )(command)


@contextmanager
def open_objects(data: Path | None) -> Iterator[S3ObjectStore]:
    """Open the object store that FATHOM_S3_* name, or that of a running `fathom up`.

    Raises CommandFailed if none runs there, and SettingsError.
    """
    from shared.objectstore.s3 import S3ObjectStore
    from shared.settings import Settings

    objects = S3ObjectStore.from_settings(Settings.from_environ(_environ(data)))
    try:
        yield objects
    finally:
        objects.close()


def _environ(data: Path | None) -> Mapping[str, str]:
    """Return the environment, with the object store of a running `fathom up` if that is chosen."""
    if data is None and any(name.startswith("FATHOM_S3_") for name in os.environ):
        return os.environ
    file = (data or _DEFAULT_FOLDER) / "stack.json"
    try:
        s3 = json.loads(file.read_text())["s3"]
    except FileNotFoundError as exc:
        raise CommandFailed(
            f"No `fathom up` runs on {file.parent}. Start it, name another folder with --data, "
            "or set FATHOM_S3_* to those of the service."
        ) from exc
    return {
        **os.environ,
        "FATHOM_S3_ENDPOINT_URL": s3["endpoint"],
        "FATHOM_S3_BUCKET": s3["bucket"],
        "FATHOM_S3_ACCESS_KEY": s3["access_key"],
        "FATHOM_S3_SECRET_KEY": s3["secret_key"],
    }
