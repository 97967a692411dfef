"""What `fathom doctor` finds: how bad it is, a sentence about it, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, ERROR = "ok", "warning", "error"

#: Seconds between two clocks above which presigned URLs expire early, and above which they are refused.
CLOCKS, CLOCKS_BROKEN = 60.0, 900.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    part: str
    level: str
    message: str
    #: How to fix it; empty if there is nothing to fix.
    remedy: str = ""


def ok(part: str, message: str) -> Finding:
    return Finding(part=part, level=OK, message=message)


def warning(part: str, message: str, remedy: str) -> Finding:
    return Finding(part=part, level=WARNING, message=message, remedy=remedy)


def error(part: str, message: str, remedy: str) -> Finding:
    return Finding(part=part, level=ERROR, message=message, remedy=remedy)


def judge_clock(part: str, server: str, ahead: float) -> Finding:
    """Judge by how many seconds a server's clock is ahead of this machine's."""
    text = f"Its clock and this machine's differ by {abs(ahead):.1f} s."
    remedy = "Let all machines take their time from NTP."
    if abs(ahead) > CLOCKS_BROKEN:
        return error(part, f"{text} {server} refuses what is signed with such a difference.", remedy)
    return warning(part, text, remedy) if abs(ahead) > CLOCKS else ok(part, text)
