"""`fathom submit`: an album in, its heatmaps out."""

from __future__ import annotations

import os
import re
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

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
from client.commands.bring import bring_album, find_files
from client.commands.download import Results, fetch_results, finish
from client.failure import INTERRUPTED
from client.progress import Display, show_progress
from client.transport import ConnectionLost


class Place(click.ParamType[Path | str]):
    """A file or folder that exists, or the address of photos that lie elsewhere."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Return an address as it is, all else as a Path."""
        if re.match(r"(s3|https?)://", str(value)):
            return str(value)
        return Path(os.fsdecode(click.Path(exists=True).convert(value, param, ctx)))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete files and folders."""
        return [CompletionItem(incomplete, type="file")]


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
    options = parse_options(pairs)
    display = show_progress(quiet=quiet or as_json)
    with connect(api) as fathom:
        files, addresses = tell_apart(paths)
        if out is not None and files and not is_archive(files):
            bring_album(fathom, files, options, out, display, sidecars=sidecars, fresh=fresh, as_json=as_json)
        try:
            if addresses:
                job = fathom.submit_sources(addresses, options)
            else:
                job = send(fathom, files, options, display)
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


def tell_apart(places: Sequence[Path | str]) -> tuple[list[Path], list[str]]:
    """Return the files and folders, or the addresses: one of both is empty."""
    files = [place for place in places if isinstance(place, Path)]
    addresses = [place for place in places if isinstance(place, str)]
    if files and addresses:
        raise click.UsageError("Photos of this machine and addresses go as two jobs.")
    return files, addresses


def send(fathom: Fathom, paths: Sequence[Path], options: Mapping[str, Any], display: Display) -> JobHandle:
    """Upload an album with a progress bar."""
    if is_archive(paths):
        with display.line("uploading", paths[0].stat().st_size, "bytes") as line:
            return fathom.submit_archive(paths[0], options, on_bytes=line.advance)
    files = find_files(paths, None)
    with display.line("uploading", sum(file.size for file in files), "bytes") as line:
        return fathom.submit(files, options, on_bytes=line.advance)


def is_archive(paths: Sequence[Path]) -> bool:
    return len(paths) == 1 and paths[0].is_file() and zipfile.is_zipfile(paths[0])


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
