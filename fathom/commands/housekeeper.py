"""`fathom housekeeper`: the maintenance of a service, without a worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from fathom.commands.exit import one_sentence


@click.command()
@click.option(
    "--alive",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to touch every second, for a liveness probe.  [default: FATHOM_ALIVE_FILE]",
)
def housekeeper(alive: Path | None) -> None:
    """Keep a service in order while it may have no workers, until SIGTERM.

    It expands archives, lists sources, calls webhooks, takes back expired leases, finalises and expires
    jobs, and restores them after a loss of Redis. Every worker does this too, but a housekeeper processes
    no photo, and loads no network. Reads the same FATHOM_* settings as the workers.
    """
    with one_sentence():
        from shared.settings import Settings
        from worker.parent.housekeeper import keep_house

        settings = Settings.from_environ()
        keep_house(replace(settings, alive_file=alive) if alive is not None else settings)
