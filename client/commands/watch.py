"""`fathom watch`: a folder whose new photos become heatmaps as they arrive."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from client.album import JobGone
from client.album_account import Account
from client.api import Fathom
from client.commands.arguments import (
    api_option,
    connect,
    json_option,
    option_option,
    out_option,
    parse_options,
    quiet_option,
    sidecars_option,
)
from client.commands.bring import bring, refuse_inside_out
from client.failure import leave_at_once
from client.index import IndexInUse
from client.models import UploadFile
from client.progress import Display, show_progress
from client.report import print_failures
from client.transport import ApiError, ConnectionLost

#: Seconds between two looks at the folder, and how long a file must have kept still.
_LOOK, _STILL = 2.0, 2.0
#: Seconds before what did not go is tried again.
_AWAY = 10.0

#: A file's size in bytes, and the time of its last change in ns.
Mark = tuple[int, int]


class NotNow(Exception):
    """The photos cannot be dealt with now; the text says why."""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@out_option
@click.option("--once", is_flag=True, help="Leave when all that is there now is done.")
@option_option
@sidecars_option
@api_option
@json_option
@quiet_option
def watch(
    folder: Path,
    out: Path,
    once: bool,
    pairs: tuple[str, ...],
    sidecars: bool,
    api: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Keep turning the new photos of DIR into heatmaps, until Ctrl-C.

    A file that is still being written is left until it keeps still. What was done before is not done
    again, and results stay when their photo goes; --out may be inside DIR. A server that is away is
    waited for. With --json, each round that did something is a line of JSON.

    \b
    Example:
      fathom watch ~/Camera --out ~/Camera/depth
    """
    options = parse_options(pairs)
    refuse_inside_out([folder], out)
    display = show_progress(quiet=quiet or as_json)
    tell = _tell_json if as_json else partial(_tell, display)
    with connect(api) as fathom:

        def take(files: Sequence[UploadFile]) -> None:
            tell(_bring(fathom, files, options, out, display, sidecars=sidecars))

        try:
            display.say(f"Watching {folder}; Ctrl-C ends.")
            Watch(folder=folder, out=out, take=take, say=display.say).keep(once=once)
        except KeyboardInterrupt:
            display.say("Stopped watching.")
            leave_at_once(0)


@dataclass(kw_only=True)
class Watch:
    """Hands the photos of a folder to `take` whenever some are new or have changed, and keep still.

    `take` may raise NotNow: the same photos are handed over again later. `sleep` and `now`, in ns since
    the epoch, are what time is made of.
    """

    folder: Path
    out: Path
    take: Callable[[Sequence[UploadFile]], None]
    say: Callable[[str], None]
    sleep: Callable[[float], object] = time.sleep
    now: Callable[[], int] = time.time_ns
    _done: dict[str, Mark] = field(default_factory=dict)
    _complaint: str = ""

    def keep(self, *, once: bool) -> None:
        """Watch for ever; `once`, until all that is there is done."""
        while True:
            try:
                is_done = self.look(patient=not once)
            except NotNow as exc:
                self._complain(str(exc))
                self.sleep(_AWAY)
                continue
            self._complaint = ""
            if once and is_done:
                return
            self.sleep(_LOOK)

    def look(self, *, patient: bool) -> bool:
        """Look once, and hand over what is new; returns whether nothing is left.

        `patient` leaves files that do not keep still yet. Raises NotNow.
        """
        seen = find_marked(self.folder, self.out)
        still = {file: mark for file, mark in seen.items() if not patient or self._keeps_still(mark)}
        if any(self._done.get(file.name) != mark for file, mark in still.items()):
            self.take(list(still))
            self._done |= {file.name: mark for file, mark in still.items()}
        return len(still) == len(seen)

    def _keeps_still(self, mark: Mark) -> bool:
        return abs(self.now() - mark[1]) > _STILL * 1e9

    def _complain(self, text: str) -> None:
        # Once, and not at every try.
        if text != self._complaint:
            self.say(f"{text} Trying again until it goes.")
        self._complaint = text


def find_marked(folder: Path, out: Path) -> dict[UploadFile, Mark]:
    """Return the photos of a folder, each with its mark. Raises NotNow if the folder cannot be read."""
    from photos.discovery import find_photos

    found: dict[UploadFile, Mark] = {}
    try:
        photos = find_photos([folder], skip=out)
    except OSError as exc:
        raise NotNow(f"Cannot read {exc.filename or folder}: {exc.strerror or exc}.") from exc
    for path, name in photos:
        try:
            stat = path.stat()
        except FileNotFoundError:
            # It went between the listing and the look.
            continue
        found[UploadFile(path=path, name=name)] = (stat.st_size, stat.st_mtime_ns)
    return found


def _bring(
    fathom: Fathom,
    files: Sequence[UploadFile],
    options: Mapping[str, Any],
    out: Path,
    display: Display,
    *,
    sidecars: bool,
) -> Account:
    """Bring the results of photos. Raises NotNow for what may go later, and ClientError for the rest."""
    # Bars come and go on a terminal; in a file they would bury the line that tells of the round.
    bars = display if display.console.is_terminal else show_progress(quiet=True)
    try:
        return bring(fathom, files, options, out, bars, sidecars=sidecars)
    except (ConnectionLost, IndexInUse, JobGone) as exc:
        raise NotNow(str(exc)) from exc
    except ApiError as exc:
        if exc.status != 429 and exc.status < 500:
            raise
        raise NotNow(str(exc)) from exc


def _tell(display: Display, account: Account) -> None:
    """Say in a line what a round did, unless it did nothing."""
    print_failures(display.console, account.new_failures)
    if _did_something(account):
        parts = [f"{account.fetched} new", f"{len(account.new_failures)} failed"]
        parts += [f"{account.canceled} canceled"] if account.canceled else []
        display.say(f"{time.strftime('%H:%M:%S')}  {', '.join(parts)}, {account.total} in all")


def _tell_json(account: Account) -> None:
    if _did_something(account):
        line = {
            "new": account.fetched,
            "failures": [
                {"name": image.name, "code": image.error_code, "message": image.error_message}
                for image in account.new_failures
            ],
            "canceled": account.canceled,
            "total": account.total,
        }
        click.echo(json.dumps(line, ensure_ascii=False))


def _did_something(account: Account) -> bool:
    return bool(account.fetched or account.new_failures or account.canceled)
