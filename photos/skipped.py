"""Files that came with photos and are none: in archives, and below prefixes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Self

#: Names that are kept; all are counted.
NAMED = 100


@dataclass(kw_only=True)
class Skipped:
    """How many there are, and the first of their names."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.names) < NAMED:
            self.names.append(name)

    def to_json(self) -> bytes:
        return json.dumps({"count": self.count, "names": self.names}, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        row = json.loads(data)
        return cls(count=row["count"], names=row["names"])
