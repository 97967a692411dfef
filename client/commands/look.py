"""`fathom status|images|jobs`: look at jobs."""

from __future__ import annotations

from itertools import islice

import click

from client.commands.arguments import api_option, connect, json_option, print_json
from client.failure import EXIT_CODES
from client.report import describe, printable

IMAGE_STATES = ("pending", "processing", "succeeded", "failed", "canceled")


@click.command()
@click.argument("job")
@api_option
@json_option
def status(job: str, api: str, as_json: bool) -> None:
    """Show how a job stands.

    Exits 0 while it runs, then as `submit` does: 0 only if every image succeeded.
    """
    with connect(api) as fathom:
        current = fathom.job(job).status
    if as_json:
        print_json(current.raw)
    else:
        click.echo(describe(current))
    raise SystemExit(EXIT_CODES.get(current.state, 0))


@click.command()
@click.argument("job")
@click.option("--state", type=click.Choice(IMAGE_STATES), help="Only images in this state.")
@api_option
@json_option
def images(job: str, state: str | None, api: str, as_json: bool) -> None:
    """List a job's images."""
    with connect(api) as fathom:
        found = fathom.job(job).images(state)
        if as_json:
            print_json({"images": [image.to_json() for image in found]})
            return
        for image in found:
            reason = f"  {image.error_code}: {image.error_message}" if image.error_code else ""
            click.echo(printable(f"{image.index:>6}  {image.state:<10}  {image.name}{reason}"))


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@api_option
@json_option
def jobs(limit: int, api: str, as_json: bool) -> None:
    """List the jobs of a server, the newest first."""
    with connect(api) as fathom:
        found = list(islice(fathom.jobs(), limit))
    if as_json:
        print_json({"jobs": [job.raw for job in found]})
        return
    for job in found:
        click.echo(describe(job))
