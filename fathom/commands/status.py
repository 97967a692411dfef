"""`fathom status|images|jobs|open`: look at jobs."""

from __future__ import annotations

import sys
from itertools import islice
from urllib.parse import urljoin

import click
from rich.console import Console

from fathom.commands.arguments import api_option, json_option, print_json
from fathom.commands.connection import connect, find_job, job_argument
from fathom.commands.exit import EXIT_CODES, INTERRUPTED
from fathom.commands.report import describe, print_jobs, printable
from fathom.progress import Display, show_progress
from fathom.sync_client import JobHandle

IMAGE_STATES = ("pending", "processing", "succeeded", "failed", "canceled")


@click.command()
@job_argument
@click.option("--watch", is_flag=True, help="Show a progress bar until the job has ended.")
@api_option
@json_option
def status(job: str, watch: bool, api: str, as_json: bool) -> None:
    """Show how a job stands.

    The exit code is 0 while it runs, then that of `submit`: 0 only if every image succeeded.

    \b
    Examples:
      fathom status k3qx
      fathom status k3qx --watch
    """
    with connect(api) as fathom:
        found = find_job(fathom, job)
        if watch:
            try:
                follow(found, show_progress(quiet=as_json))
            except KeyboardInterrupt:
                raise SystemExit(INTERRUPTED) from None
        current = found.status
    if as_json:
        print_json(current.raw)
    else:
        click.echo(describe(current))
        if error := current.raw.get("error"):
            click.echo(printable(f"{error['code']}: {error['message']}"), err=True)
    raise SystemExit(EXIT_CODES.get(current.state, 0))


@click.command()
@job_argument
@click.option("--state", type=click.Choice(IMAGE_STATES), help="Only images in this state.")
@api_option
@json_option
def images(job: str, state: str | None, api: str, as_json: bool) -> None:
    """List a job's images."""
    with connect(api) as fathom:
        found = find_job(fathom, job).images(state)
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
    elif sys.stdout.isatty():
        print_jobs(Console(), found)
    else:
        for job in found:
            click.echo(describe(job))


@click.command("open")
@job_argument
@click.option("--print", "only_print", is_flag=True, help="Only print the address.")
@api_option
@json_option
def open_page(job: str, only_print: bool, api: str, as_json: bool) -> None:
    """Open a job's page in the browser. With --json, only print its address."""
    with connect(api) as fathom:
        address = urljoin(api.rstrip("/") + "/", f"jobs/{find_job(fathom, job).id}")
    if as_json:
        print_json({"url": address})
        return
    click.echo(address)
    if not only_print:
        click.launch(address)


def follow(job: JobHandle, display: Display) -> None:
    """Wait for a job's end behind a progress bar, also while the server is away."""
    with display.line("processing", job.status.total, "images") as line:
        job.wait(line.follow, on_lost=lambda lost: display.say(f"{lost} The job continues; trying again."))
