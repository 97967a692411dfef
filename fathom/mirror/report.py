"""What a run of the mirror reports, while it runs and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from fathom.errors import ClientError
from fathom.models import ImageResult, JobStatus
from fathom.photos.skipped import Skipped


class MirrorProgress:
    """Hears of the progress of a run, from several threads; this one ignores it."""

    def planned(self, size: int, images: int) -> None:
        """The run will send `size` bytes and settle `images` photos."""

    def sent(self, done: int, total: int) -> None:
        """The server has `done` of `total` bytes."""

    def settled(self, done: int, total: int) -> None:
        """`done` of `total` photos have their results here, or have failed."""

    def lost(self, exc: ClientError) -> None:
        """The server is away, or takes no more for now; the run will try again."""


@dataclass(kw_only=True)
class MirrorReport:
    """The outcome of a run, together with that of earlier runs."""

    total: int
    #: Photos whose results were there before.
    kept: int = 0
    #: Photos whose results this run fetched.
    fetched: int = 0
    #: Result files of all photos.
    files: int = 0
    #: Photos whose job was canceled before their turn.
    canceled: int = 0
    #: Failures known from earlier runs, and new ones.
    known_failures: list[ImageResult] = field(default_factory=list)
    new_failures: list[ImageResult] = field(default_factory=list)
    #: Files of the album that are no photos.
    skipped: Skipped = field(default_factory=Skipped)
    #: The jobs as they ended.
    jobs: list[JobStatus] = field(default_factory=list)

    @property
    def failures(self) -> list[ImageResult]:
        return self.known_failures + self.new_failures

    @property
    def succeeded(self) -> int:
        return self.kept + self.fetched

    @property
    def state(self) -> str:
        """How the album ended, in the words for a job."""
        if self.canceled:
            return "canceled"
        if self.failures:
            return "partial" if self.succeeded else "failed"
        return "succeeded"


@dataclass(kw_only=True)
class Tally:
    """How much is done of a total; work that is done twice counts once."""

    total: int = 0
    #: Done in parts that are complete.
    whole: int = 0
    #: Done in the part that is not, and its size.
    part: int = 0
    size: int = 0

    @property
    def done(self) -> int:
        return self.whole + min(self.part, self.size)

    def begin(self, size: int) -> None:
        self.part, self.size = 0, size

    def complete(self) -> None:
        self.whole, self.part, self.size = self.whole + self.size, 0, 0
