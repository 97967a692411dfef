"""`fathom download`: the results of a job as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from fathom.commands.arguments import (
    api_option,
    connect,
    find_job,
    job_argument,
    json_option,
    out_option,
    print_json,
    quiet_option,
    sidecars_option,
)
from fathom.commands.exit import EXIT_CODES
from fathom.commands.report import failure_json, print_failures, print_skipped
from fathom.downloads import Wanted, fetch_all, plan_downloads
from fathom.files import NotWritten, writing
from fathom.models import ImageResult
from fathom.options import Options, OptionsRefused
from fathom.photos.discovery import to_name
from fathom.progress import Display, show_progress
from fathom.result_names import result_names
from fathom.sync_client import JobHandle
from fathom.transport import ClientError


@dataclass(frozen=True, kw_only=True)
class Results:
    """What came of a job: the images that failed, and how many files are in `out` now, if anywhere."""

    failures: Sequence[ImageResult]
    out: Path | None = None
    files: int = 0
    #: Files that could not be written; their images are among the failures.
    unwritten: int = 0


@click.command()
@job_argument
@out_option
@sidecars_option
@api_option
@json_option
@quiet_option
def download(job: str, out: Path, sidecars: bool, api: str, as_json: bool, quiet: bool) -> None:
    """Fetch a job's results under the photos' own names.

    Files that are there already with the same size are kept, so an interrupted
    download goes on where it was. Of a job that has not ended, what is done is
    fetched, and the exit code is 3; else it is that of `submit`. A result that cannot be written fails
    its image, and the rest is fetched.
    """
    display = show_progress(quiet=quiet or as_json)
    with connect(api) as fathom:
        handle = find_job(fathom, job)
        results = fetch_results(handle, out, display, sidecars=sidecars)
    finish(handle, results, display, as_json=as_json)


def fetch_results(job: JobHandle, out: Path, display: Display, *, sidecars: bool) -> Results:
    """Write what is done of a job below `out`, behind a progress bar."""
    images = list(job.images())
    paths = result_names((image.name for image in images), _options(job))
    left_out = frozenset() if sidecars else frozenset({"depth"})
    wanted = plan_downloads(images, paths, out, left_out=left_out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    lost: list[tuple[Wanted, NotWritten]] = []
    with display.line("downloading", len(wanted), "files") as line:
        for _ in fetch_all(job, wanted, fail=lambda file, error: lost.append((file, error))):
            line.advance()
    errors = {file.index: error for file, error in reversed(lost)}
    failed = (_with_error(image, errors.get(image.index)) for image in images)
    failures = [image for image in failed if image.state == "failed"]
    return Results(failures=failures, out=out, files=len(wanted) - len(lost), unwritten=len(lost))


def _options(job: JobHandle) -> Options:
    try:
        return Options.parse(job.status.options)
    except OptionsRefused as exc:
        raise ClientError(f"This client is older than the server, whose job it cannot name: {exc}.") from exc


def _with_error(image: ImageResult, error: NotWritten | None) -> ImageResult:
    """Return an image as failed if one of its results could not be written."""
    if error is None:
        return image
    return replace(image, state="failed", error_code=error.code, error_message=str(error))


def finish(job: JobHandle, results: Results, display: Display, *, as_json: bool) -> None:
    """Report how a job ended, name what failed, and leave with the job's exit code."""
    status = job.status
    failures = [*job.refused, *results.failures]
    state = status.state
    if state == "succeeded" and (job.refused or results.unwritten):
        state = "partial" if results.files or not results.unwritten else "failed"
    if as_json:
        out = None if results.out is None else to_name(results.out)
        named = [failure_json(image) for image in failures]
        print_json({**job_json(job), "state": state, "failures": named, "out": out, "files": results.files})
    else:
        print_skipped(display.console, job.skipped)
        print_failures(display.console, failures)
        if (error := status.raw.get("error")) is not None:
            click.echo(f"failed: {error['message']} [{error['code']}]", err=True)
        place = "" if results.out is None else f"; {results.files} files in {results.out}"
        total = status.total + len(job.refused)
        click.echo(f"{status.id} {state}: {status.succeeded} of {total} images{place}", err=True)
    # Of a job that has not ended, not every image has succeeded yet.
    raise SystemExit(EXIT_CODES.get(state, EXIT_CODES["partial"]))


def job_json(job: JobHandle) -> dict[str, Any]:
    """Return a job as programs read it, with the photos counted that were not sent with it."""
    raw, refused = job.status.raw, len(job.refused)
    counts = {**raw["counts"], "total": job.status.total + refused, "failed": job.status.failed + refused}
    named = [failure_json(image) for image in job.refused]
    return {**raw, "counts": counts, "failures": named, "skipped": vars(job.skipped)}
