"""The API that a subcommand speaks to, and the job that it names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

import click
import httpx

from fathom.commands.arguments import DEFAULT_API
from fathom.commands.exit import CommandFailed
from fathom.errors import ClientError
from fathom.sync_client import Fathom, JobHandle
from fathom.transport import Patience

F = TypeVar("F", bound=Callable[..., Any])

#: The beginning of a job's id, and how many of the newest jobs are searched for it.
_SHORT_ID = re.compile(r"[a-z2-7]{4,25}")
_SEARCHED = 1000


def connect(api: str) -> Fathom:
    """Return a client of the API, with the key of FATHOM_API_KEY if it is set.

    A program that runs a command in its own process may pass another transport, as the context's object.
    """
    context = click.get_current_context(silent=True)
    transport = context.find_object(httpx.BaseTransport) if context else None
    return Fathom(api, api_key=_key(), transport=transport)


def _key() -> str | None:
    # Not an option, because other users of the machine can see the arguments of a command.
    return os.environ.get("FATHOM_API_KEY") or None


def complete_job(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of the newest jobs that begin with `incomplete`; none if the server does not answer."""
    impatient = Patience(total=0.0)
    try:
        with Fathom(ctx.params.get("api") or DEFAULT_API, api_key=_key(), patience=impatient) as fathom:
            return [job.id for job in islice(fathom.jobs(), 50) if job.id.startswith(incomplete)]
    except ClientError:
        return []


def job_argument(command: F) -> F:
    return click.argument("job", shell_complete=complete_job)(command)


def find_job(fathom: Fathom, text: str) -> JobHandle:
    """Return the job with an id, of which the first four letters or more suffice.

    Raises CommandFailed if they fit several jobs.
    """
    if not _SHORT_ID.fullmatch(text):
        return fathom.job(text)
    found = [job.id for job in islice(fathom.jobs(), _SEARCHED) if job.id.startswith(text)]
    if len(found) > 1:
        raise CommandFailed(
            f"{len(found)} jobs begin with {text}: {', '.join(found[:5])}. Give more letters."
        )
    return fathom.job(found[0] if found else text)
