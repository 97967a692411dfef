"""What comes of an album, as it is told while it goes and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from fathom.models import ImageResult, JobStatus
from fathom.photos.skipped import Skipped
from fathom.transport import ClientError


class Watcher:
    """Hears how a run goes, each time with how much is done and how much there is; from several threads."""

    def planned(self, size: int, images: int) -> None:
        """So many bytes of so many photos are to be dealt with."""

    def sent(self, done: int, total: int) -> None:
        """So many bytes are with the server."""

    def settled(self, done: int, total: int) -> None:
        """So many photos have their results here, or never will."""

    def lost(self, exc: ClientError) -> None:
        """The server is away, or takes no more for now; it is tried again."""


@dataclass(kw_only=True)
class Account:
    """What came of a run, and of those before it."""

    total: int
    #: Photos whose results were there before.
    kept: int = 0
    #: Photos whose results this run brought.
    fetched: int = 0
    #: Result files of all photos.
    files: int = 0
    #: Photos whose job was canceled before their turn.
    canceled: int = 0
    #: Failures known from earlier runs, and those this run learnt of.
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
        """The album's end, in the words for a job's."""
        if self.canceled:
            return "canceled"
        if self.failures:
            return "partial" if self.succeeded else "failed"
        return "succeeded"


@dataclass(kw_only=True)
class Tally:
    """How much is done of how much; what is done twice does not count twice."""

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
