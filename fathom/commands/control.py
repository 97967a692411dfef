"""`fathom cancel|pause|resume|retry|delete`: steer a job."""

from __future__ import annotations

from collections.abc import Callable

import click

from fathom.commands.arguments import api_option, json_option, print_json, quiet_option
from fathom.commands.connection import connect, find_job, job_argument
from fathom.commands.report import describe
from fathom.models import JobStatus
from fathom.sync_client import JobHandle


def _steering(name: str, help_text: str, act: Callable[[JobHandle], JobStatus]) -> click.Command:
    @click.command(name, help=help_text)
    @job_argument
    @api_option
    @json_option
    @quiet_option
    def command(job: str, api: str, as_json: bool, quiet: bool) -> None:
        with connect(api) as fathom:
            status = act(find_job(fathom, job))
        if as_json:
            print_json(status.raw)
        elif not quiet:
            click.echo(describe(status))

    return command


cancel = _steering("cancel", "Stop a job within one image; finished results stay.", JobHandle.cancel)
pause = _steering("pause", "Pause a job; `resume` continues it.", JobHandle.pause)
resume = _steering("resume", "Continue a paused job.", JobHandle.resume)
retry = _steering("retry", "Try the failed images of an ended job once more.", JobHandle.retry)


@click.command()
@job_argument
@api_option
@json_option
@quiet_option
def delete(job: str, api: str, as_json: bool, quiet: bool) -> None:
    """Delete a job with all its files on the server."""
    with connect(api) as fathom:
        found = find_job(fathom, job)
        found.delete()
    if as_json:
        print_json({"id": found.id, "deleted": True})
    elif not quiet:
        click.echo(f"{found.id} is deleted.")
