"""`fathom watch`: a folder whose new photos become heatmaps as they arrive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from fathom.commands.arguments import (
    ExistingPath,
    api_option,
    json_option,
    model_option,
    option_option,
    out_option,
    parse_options,
    preset_option,
    print_json,
    quiet_option,
    refuse_inside_out,
    sidecars_option,
)
from fathom.commands.connection import connect
from fathom.commands.exit import EXIT_CODES, exit_at_once
from fathom.commands.job_help import JobCommand
from fathom.commands.mirror import mirror
from fathom.commands.report import print_failures
from fathom.errors import ApiError, ClientError, ConnectionLost
from fathom.files import Album, find_album
from fathom.mirror.index import IndexFull, IndexInUse
from fathom.mirror.report import MirrorReport
from fathom.mirror.run import JobGone
from fathom.models import ImageResult
from fathom.progress import Display, show_progress
from fathom.sync_client import Fathom

#: Seconds between two looks at the folder; a file must stay the same from one look to the next.
_LOOK = 2.0
#: Seconds before the next try after NotNow.
_AWAY = 10.0

#: A file's size in bytes and the time of its last change in ns, or why it is refused.
Mark = tuple[object, object]


class NotNow(Exception):
    """The photos cannot be processed now; the text says why."""


@click.command(cls=JobCommand)
@click.argument("folder", metavar="DIR", type=ExistingPath(folder=True))
@out_option
@click.option("--once", is_flag=True, help="Exit once everything that is there now is done.")
@preset_option
@model_option
@option_option
@sidecars_option
@api_option
@json_option
@quiet_option
def watch(
    folder: Path,
    out: Path,
    once: bool,
    preset: str | None,
    model: str | None,
    pairs: tuple[str, ...],
    sidecars: bool,
    api: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Turn new photos in DIR into heatmaps as they arrive, until Ctrl-C.

    A file that is still being written waits until it stops changing. Photos that have results are not sent
    again, and results stay when their photo is deleted. --out may be inside DIR. While the server is away,
    the command waits for it. With --json, each round that did something is a line of JSON. With --once, the
    exit code is that of `submit`.

    \b
    Example:
      fathom watch ~/Camera --out ~/Camera/depth
    """
    options = parse_options(pairs, preset, model).to_json()
    refuse_inside_out([folder], out)
    display = show_progress(quiet=quiet or as_json)
    printer = RoundPrinter(display, as_json=as_json)
    with connect(api) as fathom:

        def take(album: Album) -> None:
            printer.print(_mirror_round(fathom, album, options, out, display, sidecars=sidecars))

        try:
            display.say(f"Watching {folder}; Ctrl-C ends.")
            FolderWatch(folder=folder, out=out, take=take, say=display.say).run(once=once)
        except KeyboardInterrupt:
            display.say("Stopped watching.")
            exit_at_once(0)
    raise SystemExit(EXIT_CODES[printer.state])


@dataclass(kw_only=True)
class FolderWatch:
    """Passes the photos of a folder to `take` whenever some are new or have changed, and are stable.

    A file is stable if two looks in a row find it the same. If `take` raises NotNow, it gets the same photos
    again later.
    """

    folder: Path
    out: Path
    take: Callable[[Album], None]
    say: Callable[[str], None]
    sleep: Callable[[float], object] = time.sleep
    _seen: dict[str, Mark] = field(default_factory=dict)
    _done: dict[str, Mark] = field(default_factory=dict)
    _complaint: str = ""
    _skipped: str = ""

    def run(self, *, once: bool) -> None:
        """Watch for ever; with `once`, until everything that is there is done."""
        while True:
            try:
                is_done = self.look()
            except NotNow as exc:
                self._complain(str(exc))
                self.sleep(_AWAY)
                continue
            self._complaint = ""
            if once and is_done:
                return
            self.sleep(_LOOK)

    def look(self) -> bool:
        """Look once, and pass on what is new; return whether nothing is left. Raises NotNow."""
        album, marks = find_marked(self.folder, self.out)
        still = {name: mark for name, mark in marks.items() if self._seen.get(name) == mark}
        self._seen = marks
        self._tell_skipped(str(album.skipped))
        if any(self._done.get(name) != mark for name, mark in still.items()):
            files = [file for file in album.files if file.name in still]
            refused = [photo for photo in album.refused if photo.name in still]
            self.take(Album(files=files, refused=refused, skipped=album.skipped))
            self._done |= still
        return len(still) == len(marks)

    def _tell_skipped(self, text: str) -> None:
        if text and text != self._skipped:
            self.say(text)
        self._skipped = text

    def _complain(self, text: str) -> None:
        # Say it once, not at every try.
        if text != self._complaint:
            self.say(f"{text} Trying again until it goes.")
        self._complaint = text


def find_marked(folder: Path, out: Path) -> tuple[Album, dict[str, Mark]]:
    """Return the album in a folder, and for each photo by name a mark that changes with it.

    Raises NotNow if the folder cannot be read.
    """
    try:
        # A photo that cannot be read is refused by name; a folder that cannot be read is an error.
        with os.scandir(folder):
            album = find_album([folder], skip=out)
    except (OSError, ClientError) as exc:
        reason = f"Cannot read {folder}: {exc.strerror or exc}." if isinstance(exc, OSError) else str(exc)
        raise NotNow(reason) from exc
    marks: dict[str, Mark] = {photo.name: (photo.error_code, photo.error_message) for photo in album.refused}
    for file in album.files:
        # A file that was deleted since the listing will be missing at the next look.
        with suppress(OSError):
            stat = file.path.stat()
            marks[file.name] = (stat.st_size, stat.st_mtime_ns)
    return album, marks


def _mirror_round(
    fathom: Fathom,
    album: Album,
    options: Mapping[str, Any],
    out: Path,
    display: Display,
    *,
    sidecars: bool,
) -> MirrorReport:
    """Mirror the results of photos. Raises NotNow for errors that may pass, and ClientError for others."""
    # On a terminal, bars disappear; in a file they would bury the line about the round.
    bars = display if display.console.is_terminal else show_progress(quiet=True)
    try:
        return mirror(fathom, album, options, out, bars, sidecars=sidecars)
    except (ConnectionLost, IndexFull, IndexInUse, JobGone) as exc:
        raise NotNow(str(exc)) from exc
    except ApiError as exc:
        if exc.status != 429 and exc.status < 500:
            raise
        raise NotNow(str(exc)) from exc


class RoundPrinter:
    """Prints what rounds did, in lines for a person or in lines of JSON."""

    def __init__(self, display: Display, *, as_json: bool) -> None:
        #: The state of everything in the folder.
        self.state = "succeeded"
        self._display = display
        self._as_json = as_json
        #: Photos that were refused before; every round reports them again.
        self._refused: set[tuple[str, str | None]] = set()

    def print(self, report: MirrorReport) -> None:
        """Print a line about a round, unless it did nothing."""
        self.state = report.state
        failures = [image for image in report.new_failures if self._is_news(image)]
        self._refused |= {_what(image) for image in failures if image.index < 0}
        if not (report.fetched or failures or report.canceled):
            return
        if self._as_json:
            print_json(_line(report, failures), indent=None)
        else:
            self._say(report, failures)

    def _is_news(self, image: ImageResult) -> bool:
        return image.index >= 0 or _what(image) not in self._refused

    def _say(self, report: MirrorReport, failures: Sequence[ImageResult]) -> None:
        print_failures(self._display.console, failures)
        parts = [f"{report.fetched} new", f"{len(failures)} failed"]
        parts += [f"{report.canceled} canceled"] if report.canceled else []
        self._display.say(f"{time.strftime('%H:%M:%S')}  {', '.join(parts)}, {report.total} in all")


def _what(image: ImageResult) -> tuple[str, str | None]:
    return image.name, image.error_code


def _line(report: MirrorReport, failures: Sequence[ImageResult]) -> dict[str, Any]:
    return {
        "new": report.fetched,
        "failures": [
            {"name": image.name, "code": image.error_code, "message": image.error_message}
            for image in failures
        ],
        "canceled": report.canceled,
        "total": report.total,
    }
