"""`fathom submit`: an album in, its heatmaps out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from fathom.commands.arguments import (
    DEFAULT_API,
    Here,
    api_option,
    connect,
    json_option,
    option_option,
    parse_options,
    print_json,
    quiet_option,
    refuse_inside_out,
    sidecars_option,
)
from fathom.commands.download import Results, fetch_results, finish, job_json
from fathom.commands.exit import EXIT_CODES, INTERRUPTED
from fathom.commands.mirror import bring_album, find_some, finish_album
from fathom.commands.report import print_failures, print_skipped
from fathom.files import is_archive
from fathom.mirror.report import Account
from fathom.progress import Display, show_progress
from fathom.sync_client import Fathom, JobHandle
from fathom.transport import ConnectionLost


class Place(Here):
    """A file or folder that exists, or the address of photos that lie elsewhere."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Return an address as it is, all else as a Path."""
        if re.match(r"(s3|https?)://", str(value)):
            return str(value)
        return super().convert(value, param, ctx)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=Place())
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Fetch the results into this folder."
)
@click.option("--detach", is_flag=True, help="Print the job's id and leave; it goes on without you.")
@click.option(
    "--fresh", is_flag=True, help="Send every photo, whatever earlier runs into the same folder brought."
)
@option_option
@sidecars_option
@api_option
@json_option
@quiet_option
def submit(
    paths: tuple[Path | str, ...],
    out: Path | None,
    detach: bool,
    fresh: bool,
    pairs: tuple[str, ...],
    sidecars: bool,
    api: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Send photos, folders of photos, or one ZIP file; wait; fetch the results.

    PATHS may instead all be addresses that the server reads from: https://..., s3://bucket/key, or
    s3://bucket/prefix/ for all photos below it.

    With --out, what earlier runs brought is neither sent nor made again, and a run that was
    interrupted, even killed, is gone on with by the next. Results are fetched while the rest is
    still under way. Without --out, Ctrl-C leaves the job running on the server.

    \b
    Examples:
      fathom submit holiday/ --out depth/
      fathom submit a.jpg b.heic --option outputs=heatmap,depth16 --out depth/
      fathom submit album.zip --out depth/
      fathom submit holiday/ --detach
      fathom submit s3://album/2024/ https://example.com/a.jpg --out depth/
    """
    if detach and out is not None:
        raise click.UsageError("--detach does not wait for results; fetch them later with `fathom download`.")
    options = parse_options(pairs).to_json()
    files, addresses = tell_apart(paths)
    if out is not None:
        refuse_inside_out(files, out)
    display = show_progress(quiet=quiet or as_json)
    with connect(api) as fathom:
        if out is not None and files and not holds_archive(files):
            bring_album(fathom, files, options, out, display, sidecars=sidecars, fresh=fresh, as_json=as_json)
        try:
            job = send(fathom, files, addresses, options, display, as_json=as_json)
        except KeyboardInterrupt:
            abandon()
        try:
            if holds_archive(files):
                job.skipped = job.ask_skipped()
            if detach:
                announce(job, display, as_json=as_json)
            follow(job, display)
            results = collect(job, out, display, sidecars=sidecars)
            if addresses:
                # What lies below a prefix is known only now.
                job.skipped = job.ask_skipped()
        except KeyboardInterrupt:
            leave(job, api, out)
    finish(job, results, display, as_json=as_json)


def tell_apart(places: Sequence[Path | str]) -> tuple[list[Path], list[str]]:
    """Return the files and folders, or the addresses: one of both is empty."""
    files = [place for place in places if isinstance(place, Path)]
    addresses = [place for place in places if isinstance(place, str)]
    if files and addresses:
        raise click.UsageError("Photos of this machine and addresses go as two jobs.")
    return files, addresses


def send(
    fathom: Fathom,
    paths: Sequence[Path],
    addresses: Sequence[str],
    options: Mapping[str, Any],
    display: Display,
    *,
    as_json: bool,
) -> JobHandle:
    """Make a job of photos of this machine, uploaded behind a progress bar, or of addresses.

    Leaves with the exit code of an album that failed if there are only photos that cannot be sent.
    """
    if addresses:
        return fathom.submit_sources(addresses, options)
    if holds_archive(paths):
        with display.line("uploading", paths[0].stat().st_size, "bytes") as line:
            return fathom.submit_archive(paths[0], options, on_bytes=line.advance)
    album = find_some(paths, readable=True)
    if not album.files:
        nothing = Account(total=len(album.refused), new_failures=album.refused, skipped=album.skipped)
        finish_album(nothing, None, display, as_json=as_json)
    with display.line("uploading", sum(file.size for file in album.files), "bytes") as line:
        return fathom.submit_album(album, options, on_bytes=line.advance)


def holds_archive(paths: Sequence[Path]) -> bool:
    return len(paths) == 1 and is_archive(paths[0])


def follow(job: JobHandle, display: Display) -> None:
    """Wait for a job's end behind a progress bar; a server that is away is waited for."""
    with display.line("processing", job.status.total, "images") as line:

        def report(lost: ConnectionLost) -> None:
            display.say(f"{lost} The job goes on; trying again.")

        job.wait(line.follow, on_lost=report)


def collect(job: JobHandle, out: Path | None, display: Display, *, sidecars: bool) -> Results:
    """Fetch the results into `out`, if given, and the images that failed."""
    if out is not None:
        return fetch_results(job, out, display, sidecars=sidecars)
    return Results(failures=list(job.images("failed")) if job.status.failed else [])


def announce(job: JobHandle, display: Display, *, as_json: bool) -> NoReturn:
    """Say which job it is and what was not sent with it, and leave; the job goes on."""
    if as_json:
        print_json(job_json(job))
    else:
        print_skipped(display.console, job.skipped)
        print_failures(display.console, job.refused)
        click.echo(job.id)
    raise SystemExit(EXIT_CODES["partial" if job.refused else "succeeded"])


def abandon() -> NoReturn:
    """Exit as interrupted, before there was a job."""
    click.echo("\nStopped while uploading; no job was started.", err=True)
    raise SystemExit(INTERRUPTED)


def leave(job: JobHandle, api: str, out: Path | None) -> NoReturn:
    """Say how to go on with a job that is left running, and exit as interrupted."""
    again = ["fathom", "download", job.id, "--out", str(out or "DIR")]
    if api != DEFAULT_API:
        again += ["--api", api]
    click.echo(
        f"\nThe job goes on without you. Fetch its results later with:\n  {shlex.join(again)}", err=True
    )
    raise SystemExit(INTERRUPTED)
