"""Files that came with photos and are none: in folders, in archives, and below prefixes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from fathom.photos.kinds import FileKind

#: Names that are kept; all are counted.
NAMED = 100


@dataclass(kw_only=True)
class Skipped:
    """How many there are, how many of them are videos and sidecars, and the first of their names."""

    count: int = 0
    videos: int = 0
    sidecars: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str, kind: FileKind) -> None:
        self.count += 1
        self.videos += kind is FileKind.VIDEO
        self.sidecars += kind is FileKind.SIDECAR
        if len(self.names) < NAMED:
            self.names.append(name)

    def __str__(self) -> str:
        """Say how many and why: `Skipped 3 files that are no photos: 2 videos, 1 sidecar.`"""
        if not self.count:
            return ""
        other = self.count - self.videos - self.sidecars
        parts = ((self.videos, "video"), (self.sidecars, "sidecar"), (other, "other file"))
        why = ", ".join(_counted(count, noun) for count, noun in parts if count)
        verb = "is no photo" if self.count == 1 else "are no photos"
        return f"Skipped {_counted(self.count, 'file')} that {verb}: {why}."

    def to_json(self) -> bytes:
        return json.dumps(vars(self), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        return cls.from_row(json.loads(data))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read what the API answers, or what a job has; one of an earlier version has no kinds."""
        kinds = {name: row.get(name, 0) for name in ("videos", "sidecars")}
        return cls(count=row["count"], names=list(row["names"]), **kinds)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
