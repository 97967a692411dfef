"""What a person reads at the end: a job in one line, and the images that failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fathom.models import ImageResult, JobStatus
from fathom.photos.skipped import Skipped
from fathom.progress import duration

#: How many failures are listed one by one; those of a large album would fill the terminal.
_LISTED = 50
_STYLES = {"succeeded": "green", "partial": "yellow", "failed": "red", "canceled": "dim", "expired": "dim"}
#: Invisible characters that many scripts and emoji need.
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


def print_jobs(console: Console, jobs: Sequence[JobStatus]) -> None:
    """List jobs as a table for a person: a short id, age, state, progress, rate."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("job", "age", "state", "done", "", "rate", "left"):
        table.add_column(column)
    for job in jobs:
        rate = f"{job.images_per_second:.1f}/s" if job.images_per_second and not job.ended else ""
        left = "" if job.eta_seconds is None or job.ended else duration(job.eta_seconds)
        failed = Text(f" {job.failed} failed", style="red") if job.failed else Text("")
        done = Text(f"{job.succeeded + job.failed}/{job.total}") + failed
        bar = ProgressBar(total=1.0, completed=job.progress, width=20)
        state = Text(job.state, style=_STYLES.get(job.state, "cyan"))
        table.add_row(job.id[:8], age(job.created_at, now=datetime.now(UTC)), state, done, bar, rate, left)
    console.print(table)


def age(moment: str, *, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was, in its largest unit: `12 s`, `5 min`, `3 h`, `2 d`."""
    try:
        seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return ""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def print_failures(console: Console, failures: Sequence[ImageResult]) -> None:
    """List the images that failed, each with its code and the reason in a sentence."""
    if not failures:
        return
    table = Table(title=f"{len(failures)} failed", title_justify="left", title_style="bold red")
    for column in ("image", "code", "why"):
        table.add_column(column, overflow="fold")
    for image in failures[:_LISTED]:
        # Names are untrusted: as Text they cannot carry markup, and control characters are replaced.
        row = (image.name, image.error_code or "", image.error_message or "")
        table.add_row(*(Text(printable(cell)) for cell in row))
    if console.is_terminal:
        console.print(table)
    else:
        _print_plain(console, failures[:_LISTED])
    if len(failures) > _LISTED:
        rest = len(failures) - _LISTED
        console.print(Text(f"... and {rest} more; `fathom images JOB --state failed` lists all."))


def print_skipped(console: Console, skipped: Skipped) -> None:
    """Say how many files are no photos, if any are."""
    if text := str(skipped):
        console.print(Text(text), soft_wrap=True)


def failure_json(image: ImageResult) -> dict[str, Any]:
    """Return a failure as JSON; it has no index if the photo belongs to no job."""
    data = image.to_json()
    if image.index < 0:
        del data["index"]
    return data


def _print_plain(console: Console, failures: Sequence[ImageResult]) -> None:
    for image in failures:
        line = f"failed: {image.name}  [{image.error_code}] {image.error_message}"
        console.print(Text(printable(line)), soft_wrap=True)


def printable(text: str) -> str:
    """Return `text` with U+FFFD for what a terminal would obey: controls and changes of direction."""
    return "".join(char if char.isprintable() or char in _JOINERS else "\ufffd" for char in text)
