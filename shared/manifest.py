"""The manifest: one JSON line an image, written once, before the job is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterable

from shared.jobs import Source


def encode_manifest(sources: Iterable[Source]) -> bytes:
    """Return the manifest as UTF-8; line n is image n."""
    lines = (
        json.dumps({"index": s.index, "name": s.name, "size": s.size}, ensure_ascii=False) for s in sources
    )
    return "".join(line + "\n" for line in lines).encode()


def decode_manifest(data: bytes) -> tuple[Source, ...]:
    """Read what `encode_manifest` wrote.

    A name may hold any character but a line break inside JSON is escaped, so
    splitting at `\\n` alone (not at every Unicode line break) is exact.
    """
    rows = (json.loads(line) for line in data.split(b"\n") if line)
    return tuple(Source(index=r["index"], name=r["name"], size=r["size"]) for r in rows)
