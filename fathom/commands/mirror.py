"""An album's results, brought into a folder: what `fathom submit --out` and `fathom watch` do."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from fathom.commands.arguments import print_json
from fathom.commands.exit import EXIT_CODES, INTERRUPTED, leave_at_once
from fathom.commands.report import failure_json, print_failures, print_skipped
from fathom.files import Album, find_album, find_readable
from fathom.mirror.index import open_index
from fathom.mirror.plan import Wish
from fathom.mirror.report import Account, Watcher
from fathom.mirror.run import AlbumRun
from fathom.models import UploadFile
from fathom.options import Options
from fathom.photos.discovery import to_name, to_path
from fathom.progress import Display, Line
from fathom.result_names import result_names
from fathom.sync_client import Fathom
from fathom.transport import ClientError


class _Lines(Watcher):
    """Shows a run as two lines of work: what is sent, and what is done."""

    def __init__(self, display: Display, add: Callable[[str, int, str], Line]) -> None:
        self._display = display
        self._add = add
        self._lines: tuple[Line, Line] | None = None
        self._is_away = False

    def planned(self, size: int, images: int) -> None:
        # Of an album that is all here already, nothing is shown.
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
        # Once, and not at every try.
        if not self._is_away:
            self._display.say(f"{exc} Trying again.")
        self._is_away = True


def bring_album(
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
    """Bring the results of all photos below `paths` into `out`, and leave with the album's exit code."""
    try:
        album = find_some(paths, skip=out)
        account = bring(fathom, album, options, out, display, sidecars=sidecars, fresh=fresh)
    except KeyboardInterrupt:
        click.echo("\nStopped. The same command goes on where this one was.", err=True)
        leave_at_once(INTERRUPTED)
    finish_album(account, out, display, as_json=as_json)


def bring(
    fathom: Fathom,
    album: Album,
    options: Mapping[str, Any],
    out: Path,
    display: Display,
    *,
    sidecars: bool,
    fresh: bool = False,
) -> Account:
    """Bring the results of photos into `out`, behind two lines of progress."""
    paths = _result_paths(album.files, options, sidecars=sidecars)
    _refuse_over_photos(album.files, paths, out)
    wish = Wish(paths=paths, options=options, out=out, **vars(album))
    variant = {"options": dict(options), "sidecars": sidecars}
    with open_index(out, variant, fresh=fresh) as index, display.board() as add:
        return AlbumRun(fathom, index, wish, watcher=_Lines(display, add)).run()


def find_some(paths: Sequence[Path], *, skip: Path | None = None, readable: bool = False) -> Album:
    """Return what is below `paths`; that there is no photo, be it to send or to refuse, is wrong usage.

    `readable` has all files opened once, for those who send them at once.
    """
    album = find_readable(paths) if readable else find_album(paths, skip=skip)
    if not album.files and not album.refused:
        raise click.UsageError(f"There is no photo in {', '.join(map(str, paths))}. {album.skipped}".strip())
    return album


def finish_album(account: Account, out: Path | None, display: Display, *, as_json: bool) -> NoReturn:
    """Report what came of an album, name what failed, and leave with the exit code of a job that ended so."""
    if as_json:
        print_json(album_json(account, out))
    else:
        print_skipped(display.console, account.skipped)
        print_failures(display.console, account.failures)
        kept = f", {account.kept} of them from before" if account.kept else ""
        # Of several jobs none stands for the album.
        job = f"{account.jobs[0].id} " if len(account.jobs) == 1 else ""
        place = "" if out is None else f"; {account.files} files in {out}"
        click.echo(
            f"{job}{account.state}: {account.succeeded} of {account.total} images{kept}{place}", err=True
        )
    raise SystemExit(EXIT_CODES[account.state])


def album_json(account: Account, out: Path | None) -> dict[str, Any]:
    """Return an account as programs read it; an album that went as one job has all of that job's fields."""
    job = account.jobs[0].raw if len(account.jobs) == 1 and not account.kept else {}
    counts = {"total": account.total, "succeeded": account.succeeded, "failed": len(account.failures)}
    return {
        "id": None,
        **job,
        "state": account.state,
        "counts": {**counts, "pending": account.canceled},
        "jobs": [status.id for status in account.jobs],
        "kept": account.kept,
        "failures": [failure_json(image) for image in account.failures],
        "skipped": vars(account.skipped),
        "out": None if out is None else to_name(out),
        "files": account.files,
    }


def _refuse_over_photos(files: Sequence[UploadFile], paths: Sequence[Mapping[str, str]], out: Path) -> None:
    """Refuse to write a result over a photo: one that was given by itself may lie in the results' folder."""
    root = os.path.realpath(out)
    photos = {path for file in files if (path := os.path.realpath(file.path)).startswith(root)}
    if not photos:
        return
    for relative in (path for by_output in paths for path in by_output.values()):
        if os.path.realpath(out / to_path(relative)) in photos:
            raise click.UsageError(f"{out / relative} is a photo; choose another folder for the results.")


def _result_paths(
    files: Sequence[UploadFile], options: Mapping[str, Any], *, sidecars: bool
) -> list[dict[str, str]]:
    named = result_names((file.name for file in files), Options.parse(dict(options)))
    left_out = frozenset() if sidecars else frozenset({"depth"})
    return [{output: path for output, path in paths.items() if output not in left_out} for paths in named]
