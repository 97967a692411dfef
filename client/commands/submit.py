"""`fathom submit`: an album in, its heatmaps out."""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from client.api import Fathom, JobHandle
from client.commands.arguments import (
    DEFAULT_API,
    api_option,
    connect,
    json_option,
    option_option,
    parse_options,
    print_json,
    quiet_option,
    sidecars_option,
)
from client.commands.download import Results, fetch_results, finish
from client.failure import INTERRUPTED, CommandFailed
from client.models import UploadFile
from client.progress import Display, show_progress
from client.transport import ConnectionLost


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Fetch the results into this folder."
)
@click.option("--detach", is_flag=True, help="Print the job's id and leave; it goes on without you.")
@option_option
@sidecars_option
@api_option
@json_option
@quiet_option
def submit(
    paths: tuple[Path, ...],
    out: Path | None,
    detach: bool,
    pairs: tuple[str, ...],
    sidecars: bool,
    api: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Send photos, folders of photos, or one ZIP file; wait; fetch the results.

    Ctrl-C leaves the job running on the server.
    """
    if detach and out is not None:
        raise click.UsageError("--detach does not wait for results; fetch them later with `fathom download`.")
    options = parse_options(pairs)
    display = show_progress(quiet=quiet or as_json)
    with connect(api) as fathom:
        try:
            job = send(fathom, paths, options, display, skip=out)
        except KeyboardInterrupt:
            abandon()
        if detach:
            announce(job, as_json=as_json)
            return
        try:
            follow(job, display)
            results = collect(job, out, display, sidecars=sidecars)
        except KeyboardInterrupt:
            leave(job, api, out)
    finish(job, results, display, as_json=as_json)


def send(
    fathom: Fathom, paths: Sequence[Path], options: Mapping[str, Any], display: Display, *, skip: Path | None
) -> JobHandle:
    """Upload an album with a progress bar; `skip` is a folder whose files are results, not photos."""
    if len(paths) == 1 and paths[0].is_file() and zipfile.is_zipfile(paths[0]):
        with display.line("uploading", paths[0].stat().st_size, "bytes") as line:
            return fathom.submit_archive(paths[0], options, on_bytes=line.advance)
    files = find_files(paths, skip)
    with display.line("uploading", sum(file.size for file in files), "bytes") as line:
        return fathom.submit(files, options, on_bytes=line.advance)


def find_files(paths: Sequence[Path], skip: Path | None) -> list[UploadFile]:
    from shared.albums import find_photos

    try:
        photos = find_photos(paths, skip=skip)
    except OSError as exc:
        raise CommandFailed(f"Cannot read {exc.filename or paths[0]}: {exc.strerror or exc}.") from exc
    if not photos:
        raise click.UsageError(f"There is no photo in {', '.join(map(str, paths))}.")
    return [UploadFile(path=path, name=name) for path, name in photos]


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


def announce(job: JobHandle, *, as_json: bool) -> None:
    if as_json:
        print_json(job.status.raw)
    else:
        click.echo(job.id)


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
