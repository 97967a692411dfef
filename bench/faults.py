"""The faults that a proxy can inject into the traffic of a server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """How a proxy treats requests, or whole connections."""

    #: Forward everything.
    PASS = "pass"
    #: Refuse new connections and reset open ones.
    REFUSE = "refuse"
    #: Accept connections, but forward nothing until the mode changes.
    HANG = "hang"
    #: Forward with a delay, a few bytes at a time.
    SLOW = "slow"
    #: Answer 503 SlowDown, as S3 does, without forwarding the request. HTTP only.
    ANSWER_503 = "answer_503"
    #: Forward the request, wait for the response, drop it, and reset the connection.
    DROP_RESPONSE = "drop_response"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mode, and the requests to which it applies. Only HTTP has methods and paths."""

    mode: Mode
    #: Only requests with these methods; empty means all.
    methods: frozenset[str] = frozenset()
    #: Only requests whose path contains this.
    path: str = ""
    #: Only this many requests; later ones pass. None means all.
    times: int | None = None
    #: For SLOW: the delay before a request and before its response, in seconds.
    latency: float = 0.0
    #: For SLOW: the speed of each direction; None means no limit.
    bytes_per_second: float | None = None

    @property
    def selects(self) -> bool:
        """Whether the fault applies to some requests only."""
        return bool(self.methods or self.path or self.times is not None)

    def applies_to(self, method: str, path: str) -> bool:
        return (not self.methods or method in self.methods) and self.path in path


PASS = Fault(mode=Mode.PASS)
