"""`fathom download`: the results of a job as files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from fathom.commands.arguments import (
    api_option,
    json_option,
    out_option,
    print_json,
    quiet_option,
    sidecars_option,
)
from fathom.commands.connection import connect, find_job, job_argument
from fathom.commands.exit import EXIT_CODES
from fathom.commands.report import failure_json, print_failures, print_skipped
from fathom.downloads import fetch_all
from fathom.errors import ClientError
from fathom.files import NotWritten, writing
from fathom.models import ImageResult
from fathom.options import Options, OptionsRefused
from fathom.photos.discovery import to_name
from fathom.progress import Display, show_progress
from fathom.result_names import result_names
from fathom.sync_client import JobHandle


@dataclass(frozen=True, kw_only=True)
class Results:
    """What became of a job: the images that failed, and how many files are in `out` now, if it is given."""

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

    A file that exists with the same size is kept, so repeat the command to continue an interrupted
    download. If the job has not ended, the results so far are fetched and the exit code is 3; otherwise it
    is that of `submit`. If a result cannot be written, its image counts as failed, and the rest is fetched.
    """
    display = show_progress(quiet=quiet or as_json)
    with connect(api) as fathom:
        handle = find_job(fathom, job)
        results = fetch_results(handle, out, display, sidecars=sidecars)
    finish(handle, results, display, as_json=as_json)


def fetch_results(job: JobHandle, out: Path, display: Display, *, sidecars: bool) -> Results:
    """Write the results that a job has by now below `out`, behind a progress bar."""
    images = list(job.images())
    named = result_paths((image.name for image in images), job.status.options, sidecars=sidecars)
    wanted = [
        (image, {output: path for output, path in paths.items() if output in image.outputs})
        for image, paths in zip(images, named, strict=True)
    ]
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    count, lost = sum(len(paths) for _, paths in wanted), dict[int, list[NotWritten]]()
    with display.line("downloading", count, "files") as line:
        for (image, paths), errors in fetch_all(job, wanted, out):
            lost[image.index] = errors
            line.advance(len(paths))
    unwritten = sum(map(len, lost.values()))
    failed = (_with_error(image, lost[image.index]) for image in images)
    failures = [image for image in failed if image.state == "failed"]
    return Results(failures=failures, out=out, files=count - unwritten, unwritten=unwritten)


def _with_error(image: ImageResult, errors: Sequence[NotWritten]) -> ImageResult:
    """Return an image as failed if one of its results could not be written."""
    if not errors:
        return image
    return replace(image, state="failed", error_code=errors[0].code, error_message=str(errors[0]))


def result_paths(names: Iterable[str], options: Mapping[str, Any], *, sidecars: bool) -> list[dict[str, str]]:
    """Return the relative paths of the results of photos, for each photo by output.

    Raises ClientError for options of a newer server, which this client cannot name.
    """
    try:
        named = result_names(names, Options.parse(dict(options)))
    except OptionsRefused as exc:
        raise ClientError(f"This client is older than the server, whose job it cannot name: {exc}.") from exc
    left_out = frozenset() if sidecars else frozenset({"depth"})
    return [{output: path for output, path in paths.items() if output not in left_out} for paths in named]


def finish(job: JobHandle, results: Results, display: Display, *, as_json: bool) -> None:
    """Report how a job ended, list what failed, and exit with the job's code."""
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
    # If the job has not ended, not every image has succeeded yet.
    raise SystemExit(EXIT_CODES.get(state, EXIT_CODES["partial"]))


def job_json(job: JobHandle) -> dict[str, Any]:
    """Return a job as JSON, which also counts the photos that were not sent with it."""
    raw, refused = job.status.raw, len(job.refused)
    counts = {**raw["counts"], "total": job.status.total + refused, "failed": job.status.failed + refused}
    named = [failure_json(image) for image in job.refused]
    return {**raw, "counts": counts, "failures": named, "skipped": vars(job.skipped)}
