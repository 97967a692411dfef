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
    ExistingPath,
    api_option,
    json_option,
    model_option,
    option_option,
    parse_options,
    preset_option,
    print_json,
    quiet_option,
    refuse_inside_out,
    sidecars_option,
)
from fathom.commands.connection import connect
from fathom.commands.download import Results, fetch_results, finish, job_json
from fathom.commands.exit import EXIT_CODES, INTERRUPTED
from fathom.commands.job_help import JobCommand
from fathom.commands.mirror import mirror_and_exit, report_and_exit, require_photos
from fathom.commands.report import print_failures, print_skipped
from fathom.commands.status import follow
from fathom.files import is_archive
from fathom.mirror.report import MirrorReport
from fathom.progress import Display, show_progress
from fathom.sync_client import Fathom, JobHandle


class PathOrUrl(ExistingPath):
    """An existing file or folder, or the address of photos that the server reads."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Return an address as it is, all else as a Path."""
        if re.match(r"(s3|https?)://", str(value)):
            return str(value)
        return super().convert(value, param, ctx)


_EXAMPLES = """\b
Examples:
  fathom submit holiday/ --out depth/
  fathom submit a.jpg b.heic --option outputs=heatmap,depth16 --out depth/
  fathom submit album.zip --preset vr -o stereo.layout=tb_half --out vr/
  fathom submit best/ --model dpt_large --out depth/
  fathom submit holiday/ --detach
  fathom submit s3://album/2024/ https://example.com/a.jpg --out depth/
"""


@click.command(cls=JobCommand, epilog=_EXAMPLES)
@click.argument("paths", nargs=-1, required=True, type=PathOrUrl())
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Fetch the results into this folder."
)
@click.option("--detach", is_flag=True, help="Print the job's id and exit; the job continues.")
@click.option("--fresh", is_flag=True, help="Send every photo, even if its results are in --out already.")
@preset_option
@model_option
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
    preset: str | None,
    model: str | None,
    pairs: tuple[str, ...],
    sidecars: bool,
    api: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Send photos, folders of photos, or one ZIP file; wait; fetch the results.

    PATHS may instead all be addresses that the server reads: https://..., s3://bucket/key, or
    s3://bucket/prefix/ for all photos below it.

    With --out, only photos whose results are missing there are sent, and results arrive while others are
    still in work. If a run is interrupted, even killed, repeat the command to continue it.
    Without --out, Ctrl-C leaves the job running on the server.
    """
    if detach and out is not None:
        raise click.UsageError("--detach does not wait for results; fetch them later with `fathom download`.")
    options, (files, addresses) = parse_options(pairs, preset, model).to_json(), tell_apart(paths)
    display = show_progress(quiet=quiet or as_json)
    with connect(api) as fathom:
        if out is not None and files:
            refuse_inside_out(files, out)
            if not holds_archive(files):
                switches = {"sidecars": sidecars, "fresh": fresh, "as_json": as_json}
                mirror_and_exit(fathom, files, options, out, display, **switches)
        job = send(fathom, files, addresses, options, display, as_json=as_json)
        try:
            if holds_archive(files):
                job.skipped = job.ask_skipped()
            if detach:
                print_id_and_exit(job, display, as_json=as_json)
            results = collect(job, out, display, sidecars=sidecars, addresses=addresses)
        except KeyboardInterrupt:
            exit_interrupted(job, api, out)
    finish(job, results, display, as_json=as_json)


def tell_apart(places: Sequence[Path | str]) -> tuple[list[Path], list[str]]:
    """Return the paths and the addresses; one of the two is empty."""
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
    """Make a job of addresses, of a ZIP file, or of photos, uploaded behind a progress bar.

    If every photo is refused, exit as an album that failed.
    """
    try:
        if addresses:
            return fathom.submit_sources(addresses, options)
        if holds_archive(paths):
            return _send_archive(fathom, paths[0], options, display)
        return _send_photos(fathom, paths, options, display, as_json=as_json)
    except KeyboardInterrupt:
        click.echo("\nStopped while uploading; no job was started.", err=True)
        raise SystemExit(INTERRUPTED) from None


def _send_archive(fathom: Fathom, path: Path, options: Mapping[str, Any], display: Display) -> JobHandle:
    with display.line("uploading", path.stat().st_size, "bytes") as line:
        return fathom.submit_archive(path, options, on_bytes=line.advance)


def _send_photos(
    fathom: Fathom, paths: Sequence[Path], options: Mapping[str, Any], display: Display, *, as_json: bool
) -> JobHandle:
    album = require_photos(paths, readable=True)
    if not album.files:
        nothing = MirrorReport(total=len(album.refused), new_failures=album.refused, skipped=album.skipped)
        report_and_exit(nothing, None, display, as_json=as_json)
    with display.line("uploading", sum(file.size for file in album.files), "bytes") as line:
        return fathom.submit_album(album, options, on_bytes=line.advance)


def holds_archive(paths: Sequence[Path]) -> bool:
    return len(paths) == 1 and is_archive(paths[0])


def collect(
    job: JobHandle, out: Path | None, display: Display, *, sidecars: bool, addresses: Sequence[str]
) -> Results:
    """Wait for the job; fetch its results into `out`, if given, and list the images that failed."""
    follow(job, display)
    if addresses:
        # The files below a prefix are known only now.
        job.skipped = job.ask_skipped()
    if out is not None:
        return fetch_results(job, out, display, sidecars=sidecars)
    return Results(failures=list(job.images("failed")) if job.status.failed else [])


def print_id_and_exit(job: JobHandle, display: Display, *, as_json: bool) -> NoReturn:
    """Print the job's id and what was not sent with it, and exit; the job continues."""
    if as_json:
        print_json(job_json(job))
    else:
        print_skipped(display.console, job.skipped)
        print_failures(display.console, job.refused)
        click.echo(job.id)
    raise SystemExit(EXIT_CODES["partial" if job.refused else "succeeded"])


def exit_interrupted(job: JobHandle, api: str, out: Path | None) -> NoReturn:
    """Say how to fetch the results of the job, which continues, and exit as interrupted."""
    again = ["fathom", "download", job.id, "--out", str(out or "DIR")]
    if api != DEFAULT_API:
        again += ["--api", api]
    click.echo(f"\nThe job continues. Fetch its results later with:\n  {shlex.join(again)}", err=True)
    raise SystemExit(INTERRUPTED)
