"""Mirror the results of an album into a folder: what `fathom submit --out` and `fathom watch` do."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from fathom.commands.arguments import print_json
from fathom.commands.download import result_paths
from fathom.commands.exit import EXIT_CODES, INTERRUPTED, exit_at_once
from fathom.commands.report import failure_json, print_failures, print_skipped
from fathom.errors import ClientError
from fathom.files import Album, find_album, find_readable
from fathom.mirror.index import open_index
from fathom.mirror.plan import MirrorRequest
from fathom.mirror.report import MirrorProgress, MirrorReport
from fathom.mirror.run import MirrorRun
from fathom.models import UploadFile
from fathom.photos.discovery import to_name, to_path
from fathom.progress import Display, ProgressLine
from fathom.sync_client import Fathom


class _Lines(MirrorProgress):
    """Shows a run as two lines of work: what is sent, and what is done."""

    def __init__(self, display: Display, add: Callable[[str, int, str], ProgressLine]) -> None:
        self._display = display
        self._add = add
        self._lines: tuple[ProgressLine, ProgressLine] | None = None
        self._is_away = False

    def planned(self, size: int, images: int) -> None:
        # If all results are here already, show nothing.
        if images:
            self._lines = (self._add("uploading", size, "bytes"), self._add("processing", images, "images"))

    def sent(self, done: int, total: int) -> None:
        self._show(0, done, total)

    def settled(self, done: int, total: int) -> None:
        self._show(1, done, total)

    def _show(self, line: int, done: int, total: int) -> None:
        self._is_away = False
        if self._lines is not None:
            self._lines[line].track(done, total)

    def lost(self, exc: ClientError) -> None:
        # Say it once, not at every try.
        if not self._is_away:
            self._display.say(f"{exc} Trying again.")
        self._is_away = True


def mirror_and_exit(
    fathom: Fathom,
    paths: Sequence[Path],
    options: Mapping[str, Any],
    out: Path,
    display: Display,
    *,
    sidecars: bool,
    fresh: bool,
    as_json: bool,
) -> NoReturn:
    """Mirror the results of all photos below `paths` into `out`, and exit with the album's code."""
    try:
        album = require_photos(paths, skip=out)
        report = mirror(fathom, album, options, out, display, sidecars=sidecars, fresh=fresh)
    except KeyboardInterrupt:
        click.echo("\nStopped. Repeat the command to continue.", err=True)
        exit_at_once(INTERRUPTED)
    report_and_exit(report, out, display, as_json=as_json)


def mirror(
    fathom: Fathom,
    album: Album,
    options: Mapping[str, Any],
    out: Path,
    display: Display,
    *,
    sidecars: bool,
    fresh: bool = False,
) -> MirrorReport:
    """Mirror the results of photos into `out`, behind two lines of progress."""
    paths = result_paths((file.name for file in album.files), options, sidecars=sidecars)
    _refuse_over_photos(album.files, paths, out)
    request = MirrorRequest(album=album, paths=paths, options=options, out=out)
    variant = {"options": dict(options), "sidecars": sidecars}
    with open_index(out, variant, fresh=fresh) as index, display.board() as add:
        return MirrorRun(fathom, index, request, progress=_Lines(display, add)).run()


def require_photos(paths: Sequence[Path], *, skip: Path | None = None, readable: bool = False) -> Album:
    """Return the photos in `paths`; if there are none, not even refused ones, that is wrong usage.

    With `readable`, open each file once, and refuse those that cannot be read.
    """
    album = find_readable(paths) if readable else find_album(paths, skip=skip)
    if not album.files and not album.refused:
        raise click.UsageError(f"There is no photo in {', '.join(map(str, paths))}. {album.skipped}".strip())
    return album


def report_and_exit(report: MirrorReport, out: Path | None, display: Display, *, as_json: bool) -> NoReturn:
    """Report what became of an album, list what failed, and exit with the code of a job that ended so."""
    if as_json:
        print_json(report_json(report, out))
    else:
        print_skipped(display.console, report.skipped)
        print_failures(display.console, report.failures)
        kept = f", {report.kept} of them from before" if report.kept else ""
        # One of several jobs does not stand for the album.
        job = f"{report.jobs[0].id} " if len(report.jobs) == 1 else ""
        place = "" if out is None else f"; {report.files} files in {out}"
        click.echo(f"{job}{report.state}: {report.succeeded} of {report.total} images{kept}{place}", err=True)
    raise SystemExit(EXIT_CODES[report.state])


def report_json(report: MirrorReport, out: Path | None) -> dict[str, Any]:
    """Return a report as JSON; if the album was sent as one job, with all fields of that job."""
    job = report.jobs[0].raw if len(report.jobs) == 1 and not report.kept else {}
    counts = {"total": report.total, "succeeded": report.succeeded, "failed": len(report.failures)}
    return {
        "id": None,
        **job,
        "state": report.state,
        "counts": {**counts, "pending": report.canceled},
        "jobs": [status.id for status in report.jobs],
        "kept": report.kept,
        "failures": [failure_json(image) for image in report.failures],
        "skipped": vars(report.skipped),
        "out": None if out is None else to_name(out),
        "files": report.files,
    }


def _refuse_over_photos(files: Sequence[UploadFile], paths: Sequence[Mapping[str, str]], out: Path) -> None:
    """Refuse to overwrite a photo with a result: a photo given by its own path may be in `out`."""
    root = os.path.realpath(out)
    photos = {path for file in files if (path := os.path.realpath(file.path)).startswith(root)}
    if not photos:
        return
    for relative in (path for by_output in paths for path in by_output.values()):
        if os.path.realpath(out / to_path(relative)) in photos:
            raise click.UsageError(f"{out / relative} is a photo; choose another folder for the results.")
