"""One bad upload, and what is to become of it."""

from __future__ import annotations

from dataclasses import dataclass

#: What becomes of a file that only looks bad: it is a valid picture.
FINE = "succeeded"


@dataclass(frozen=True, kw_only=True)
class CorpusFile:
    """A file, and the code it is to fail with, or FINE."""

    name: str
    data: bytes
    expected: str


def upload(name: str, data: bytes, expected: str) -> CorpusFile:
    return CorpusFile(name=name, data=data, expected=expected)
