"""What can be done to the traffic of a server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """How a proxy treats requests, or whole connections."""

    #: Forward everything.
    PASS = "pass"
    #: Let nobody connect, and reset who is connected.
    REFUSE = "refuse"
    #: Accept connections and forward nothing until the mode changes; then go on where it was.
    HANG = "hang"
    #: Forward late and a few bytes at a time.
    SLOW = "slow"
    #: Answer 503 SlowDown, as S3 does, and forward nothing. HTTP only.
    ANSWER_503 = "answer_503"
    #: Forward the request, wait for the server's answer, drop it and reset the connection.
    SWALLOW_ANSWER = "swallow_answer"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mode, and what it applies to. Methods and paths are known of HTTP only."""

    mode: Mode
    #: Only requests with these methods; empty means all.
    methods: frozenset[str] = frozenset()
    #: Only requests whose path has this in it.
    path: str = ""
    #: Only so many requests; those that follow pass. None means all.
    times: int | None = None
    #: Of SLOW: the wait before a request and before its answer, in seconds.
    latency: float = 0.0
    #: Of SLOW: the speed of each direction; None is as fast as it goes.
    bytes_per_second: float | None = None

    @property
    def selects(self) -> bool:
        """Whether it applies to some requests and not to others."""
        return bool(self.methods or self.path or self.times is not None)

    def applies_to(self, method: str, path: str) -> bool:
        return (not self.methods or method in self.methods) and self.path in path


PASS = Fault(mode=Mode.PASS)
