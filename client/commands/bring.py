"""An album's results, brought into a folder: what `fathom submit --out` and `fathom watch` do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from client.album import AlbumRun
from client.album_account import Account, Watcher
from client.album_plan import Wish
from client.api import Fathom
from client.commands.arguments import print_json
from client.failure import EXIT_CODES, INTERRUPTED, CommandFailed, leave_at_once
from client.index import open_index
from client.models import ImageResult, UploadFile
from client.progress import Display, Line
from client.report import print_failures
from client.transport import ClientError


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
    refuse_inside_out(paths, out)
    try:
        files = find_files(paths, out)
        account = bring(fathom, files, options, out, display, sidecars=sidecars, fresh=fresh)
    except KeyboardInterrupt:
        click.echo("\nStopped. The same command goes on where this one was.", err=True)
        leave_at_once(INTERRUPTED)
    finish_album(account, out, display, as_json=as_json)


def bring(
    fathom: Fathom,
    files: Sequence[UploadFile],
    options: Mapping[str, Any],
    out: Path,
    display: Display,
    *,
    sidecars: bool,
    fresh: bool = False,
) -> Account:
    """Bring the results of photos into `out`, behind two lines of progress."""
    paths = _result_paths(files, options, sidecars=sidecars)
    wish = Wish(files=files, paths=paths, options=options, out=out)
    variant = {"options": dict(options), "sidecars": sidecars}
    with open_index(out, variant, fresh=fresh) as index, display.board() as add:
        return AlbumRun(fathom, index, wish, watcher=_Lines(display, add)).run()


def find_files(paths: Sequence[Path], skip: Path | None) -> list[UploadFile]:
    """Return the photos below `paths`; what lies in `skip` are results, not photos."""
    from photos.discovery import find_photos

    try:
        photos = find_photos(paths, skip=skip)
    except OSError as exc:
        raise CommandFailed(f"Cannot read {exc.filename or paths[0]}: {exc.strerror or exc}.") from exc
    if not photos:
        raise click.UsageError(f"There is no photo in {', '.join(map(str, paths))}.")
    return [UploadFile(path=path, name=name) for path, name in photos]


def refuse_inside_out(paths: Sequence[Path], out: Path) -> None:
    """Refuse a folder of photos that is also the results', which would be taken for photos the next time."""
    for path in paths:
        if path.resolve() == out.resolve():
            raise click.UsageError(
                f"--out must be another folder than {path}; it may lie inside, such as {path / 'depth'}."
            )


def finish_album(account: Account, out: Path, display: Display, *, as_json: bool) -> NoReturn:
    """Report what came of an album, name what failed, and leave with the exit code of a job that ended so."""
    if as_json:
        print_json(album_json(account, out))
    else:
        print_failures(display.console, account.failures)
        kept = f", {account.kept} of them from before" if account.kept else ""
        # Of several jobs none stands for the album.
        job = f"{account.jobs[0].id} " if len(account.jobs) == 1 else ""
        click.echo(
            f"{job}{account.state}: {account.succeeded} of {account.total} images{kept}; "
            f"{account.files} files in {out}",
            err=True,
        )
    raise SystemExit(EXIT_CODES[account.state])


def album_json(account: Account, out: Path) -> dict[str, Any]:
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
        "failures": [_failure_json(image) for image in account.failures],
        "out": str(out),
        "files": account.files,
    }


def _failure_json(image: ImageResult) -> dict[str, Any]:
    data = image.to_json()
    if image.index < 0:
        del data["index"]
    return data


def _result_paths(
    files: Sequence[UploadFile], options: Mapping[str, Any], *, sidecars: bool
) -> list[dict[str, str]]:
    from shared.names import result_names
    from shared.options import Options

    named = result_names((file.name for file in files), Options.parse(dict(options)))
    left_out = frozenset() if sidecars else frozenset({"depth"})
    return [{output: path for output, path in paths.items() if output not in left_out} for paths in named]
