"""What a person reads at the end: a job in one line, and the images that failed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.models import ImageResult, JobStatus

#: Failures listed one by one; of a large album that failed as a whole, these suffice.
_LISTED = 50
#: Invisible, and part of many scripts and emoji.
_JOINERS = "\u200c\u200d"


def describe(status: JobStatus) -> str:
    """Return a job as one line of text."""
    parts = [f"{status.id}  {status.state:<10}  {status.succeeded} of {status.total} images done"]
    if status.failed:
        parts.append(f"{status.failed} failed")
    if status.images_per_second and not status.ended:
        parts.append(f"{status.images_per_second:.1f} images/s")
    if status.eta_seconds is not None and not status.ended:
        parts.append(f"{duration(status.eta_seconds)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds as `7 s`, `3:05` or `2:03:05`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def print_failures(console: Console, failures: Sequence[ImageResult]) -> None:
    """List the images that failed, each with its code and the reason in a sentence."""
    if not failures:
        return
    table = Table(title=f"{len(failures)} failed", title_justify="left", title_style="bold red")
    for column in ("image", "code", "why"):
        table.add_column(column, overflow="fold")
    for image in failures[:_LISTED]:
        # Names are a stranger's data: as Text they cannot carry markup, and control characters are cut.
        row = (image.name, image.error_code or "", image.error_message or "")
        table.add_row(*(Text(printable(cell)) for cell in row))
    if console.is_terminal:
        console.print(table)
    else:
        _print_plain(console, failures[:_LISTED])
    if len(failures) > _LISTED:
        rest = len(failures) - _LISTED
        console.print(Text(f"... and {rest} more; `fathom images JOB --state failed` lists all."))


def _print_plain(console: Console, failures: Sequence[ImageResult]) -> None:
    for image in failures:
        line = f"failed: {image.name}  [{image.error_code}] {image.error_message}"
        console.print(Text(printable(line)), soft_wrap=True)


def printable(text: str) -> str:
    """Return `text` without characters that a terminal would obey: controls and changes of direction."""
    return "".join(char if char.isprintable() or char in _JOINERS else "\ufffd" for char in text)
