"""One bad upload, and its expected outcome."""

from __future__ import annotations

from dataclasses import dataclass

#: The outcome of a file that only looks bad, and is a valid picture.
FINE = "succeeded"


@dataclass(frozen=True, kw_only=True)
class CorpusFile:
    """A file, and the code of its expected failure, or FINE."""

    name: str
    data: bytes
    expected: str


def upload(name: str, data: bytes, expected: str) -> CorpusFile:
    return CorpusFile(name=name, data=data, expected=expected)
