"""Progress on standard error: bars on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from fathom.models import JobStatus

#: Seconds until the first plain line, and between them.
_FIRST_PLAIN, _PLAIN_EVERY = 0.5, 2.0


class Display:
    """Shows long work as it goes; made by `show_progress`, one line of work at a time.

    Without a terminal, at least the share `plain_step` of the work lies between two lines.
    """

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool,
        plain_step: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console
        self._quiet = quiet
        self._plain_step = plain_step
        self._clock = clock

    def say(self, text: str) -> None:
        if not self._quiet:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def line(self, title: str, total: int, unit: str) -> Iterator[ProgressLine]:
        """Show one line of work of `total` units until the block is left."""
        with self.board() as add:
            yield add(title, total, unit)

    @contextmanager
    def board(self) -> Iterator[Callable[[str, int, str], ProgressLine]]:
        """Show several lines of work at once; yield a function that adds one, with `line`'s arguments."""
        if self._quiet:
            yield ProgressLine
        elif self.console.is_terminal:
            with _bars(self.console) as bars:
                yield partial(_Bar, bars)
        else:
            lines: list[_PlainLine] = []

            def add(title: str, total: int, unit: str) -> ProgressLine:
                line = _PlainLine(self.console, title, total, unit, step=self._plain_step, clock=self._clock)
                lines.append(line)
                return lines[-1]

            yield add
            for line in lines:
                line.print()


class ProgressLine:
    """One line of work, which shows nothing by itself. Any thread may report progress to it."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title = title
        self.total = total
        self.done = 0
        #: The share of the work that is done, 0 to 1.
        self.share = 0.0
        self.note = ""
        self._unit = unit
        self._lock = threading.Lock()
        #: How much was done, and when, at the first progress that `track` heard of.
        self._first: tuple[int, float] | None = None

    @property
    def amount(self) -> str:
        """How much is done, in words: `3 of 8 images`, `1.5 of 20.0 MB`."""
        if self._unit == "bytes":
            return f"{self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB"
        return f"{self.done} of {self.total} {self._unit}"

    def advance(self, amount: int = 1) -> None:
        # Bytes that are sent again are reported again; the line must not exceed its total.
        self.reach(min(self.done + amount, self.total), self.total)

    def reach(self, done: int, total: int | None) -> None:
        """Show `done` of `total` units; `total` is None while it is not known."""
        with self._lock:
            self.done, self.total = done, total or done
            self.share = done / self.total if self.total else 1.0
            self.show()

    def track(self, done: int, total: int, *, now: float | None = None) -> None:
        """Show `done` of `total` with the rate since the first of them, and the time left.

        `now` is a reading of `time.monotonic`, by default the current one.
        """
        now = time.monotonic() if now is None else now
        if done and self._first is None:
            self._first = (done, now)
        if self._first is not None:
            earlier, began = self._first
            seconds = now - began
            # A rate measured over less than a second would mean nothing.
            self.note = rate_note(done - earlier, seconds, total - done, self._unit) if seconds > 1 else ""
        self.reach(done, total)

    def follow(self, status: JobStatus) -> None:
        """Show how a job stands."""
        with self._lock:
            self.done, self.total = status.succeeded + status.failed, status.total
            self.share, self.note = status.progress, _pace(status)
            self.show()

    def show(self) -> None:
        """Update the display; called under the lock."""


class _Bar(ProgressLine):
    def __init__(self, bars: Progress, title: str, total: int, unit: str) -> None:
        super().__init__(title, total, unit)
        self._bars = bars
        self._task = bars.add_task(title, total=1.0, amount=self.amount, note="")

    def show(self) -> None:
        self._bars.update(self._task, completed=self.share, amount=self.amount, note=self.note)


class _PlainLine(ProgressLine):
    def __init__(
        self,
        console: Console,
        title: str,
        total: int,
        unit: str,
        *,
        step: float,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(title, total, unit)
        self._console = console
        self._step = step
        self._clock = clock
        self._next = clock() + _FIRST_PLAIN
        self._next_share = 0.0
        self._printed = ""

    def show(self) -> None:
        if self._clock() >= self._next and self.share >= self._next_share:
            self.print()

    def print(self) -> None:
        self._next = self._clock() + _PLAIN_EVERY
        self._next_share = self.share + self._step
        text = f"{self.title}: {self.amount} ({self.share:.0%})" + (f", {self.note}" if self.note else "")
        if text != self._printed:
            self._printed = text
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<11}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[amount]}"),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def rate_note(done: int, seconds: float, left: int, unit: str) -> str:
    """Return `12.5 images/s, 8 s left`; an empty text while there is nothing to estimate from."""
    if done < 1 or seconds <= 0:
        return ""
    rate = done / seconds
    pace = f"{rate / 1e6:.1f} MB/s" if unit == "bytes" else f"{rate:.1f} {unit}/s"
    return pace + (f", {duration(left / rate)} left" if left else "")


def _pace(status: JobStatus) -> str:
    parts = [status.state] if status.state not in ("processing", "queued") else []
    if status.failed:
        parts.append(f"{status.failed} failed")
    if status.images_per_second:
        parts.append(f"{status.images_per_second:.1f} images/s")
    if status.eta_seconds is not None:
        parts.append(f"{duration(status.eta_seconds)} left")
    return ", ".join(parts)


def show_progress(*, quiet: bool, plain_step: float = 0.0) -> Display:
    """Return a display on standard error."""
    return Display(Console(stderr=True), quiet=quiet, plain_step=plain_step)


def duration(seconds: float) -> str:
    """Return seconds as `7 s`, `3:05` or `2:03:05`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
