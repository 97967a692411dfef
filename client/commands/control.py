"""`fathom cancel|pause|resume|retry|delete`: steer a job."""

from __future__ import annotations

from collections.abc import Callable

import click

from client.api import JobHandle
from client.commands.arguments import api_option, connect, json_option, print_json
from client.models import JobStatus
from client.report import describe


def _steering(name: str, help_text: str, act: Callable[[JobHandle], JobStatus]) -> click.Command:
    @click.command(name, help=help_text)
    @click.argument("job")
    @api_option
    @json_option
    def command(job: str, api: str, as_json: bool) -> None:
        with connect(api) as fathom:
            status = act(fathom.job(job))
        if as_json:
            print_json(status.raw)
        else:
            click.echo(describe(status))

    return command


cancel = _steering("cancel", "Stop a job within one image; what is done stays.", JobHandle.cancel)
pause = _steering("pause", "Hold a job; `resume` goes on with it.", JobHandle.pause)
resume = _steering("resume", "Go on with a paused job.", JobHandle.resume)
retry = _steering("retry", "Try the failed images of an ended job once more.", JobHandle.retry)


@click.command()
@click.argument("job")
@api_option
@json_option
def delete(job: str, api: str, as_json: bool) -> None:
    """Delete a job with all its files on the server."""
    with connect(api) as fathom:
        fathom.job(job).delete()
    if as_json:
        print_json({"id": job, "deleted": True})
    else:
        click.echo(f"{job} is deleted.")
