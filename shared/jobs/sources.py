"""Sources: photos that lie elsewhere. A submission names them, and workers read them from there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from shared.errors import InvalidSource
from shared.jobs.job import Source

#: Bucket names of S3, and of servers that allow more.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]\Z")
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
#: Most bytes of a key, as S3 has it.
_MAX_KEY = 1024


@dataclass(frozen=True, kw_only=True)
class S3Address:
    """An object, or a prefix, in a bucket."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One line of `sources.jsonl`: the address of a photo, or a prefix below which photos lie."""

    url: str | None = None
    s3: str | None = None
    s3_prefix: str | None = None
    #: The photo's name; None if its address gives the name.
    name: str | None = None


def parse_s3(text: str, *, prefix: bool = False) -> S3Address:
    """Read `s3://bucket/key`; the key of a prefix may be empty.

    A key is taken literally. A key with `.` or `..` between slashes is refused, because servers that keep
    objects in folders would follow it into another bucket.

    Raises InvalidSource.
    """
    scheme, _, rest = text.partition("://")
    bucket, slash, key = rest.partition("/")
    if scheme != "s3" or not _BUCKET.match(bucket) or (not prefix and not (slash and key)):
        raise InvalidSource("An S3 source is written s3://bucket/key.")
    if _UNFIT.search(key) or len(key.encode()) > _MAX_KEY or {".", ".."} & set(key.split("/")):
        raise InvalidSource("The key of an S3 source is not one that can be read.")
    return S3Address(bucket=bucket, key=key)


def url_name(url: str) -> str:
    """Return the name that a URL gives a photo: the last part of the path."""
    parts = urlsplit(url)
    return unquote(parts.path, errors="replace").rstrip("/").rsplit("/", 1)[-1] or parts.netloc


def key_name(key: str) -> str:
    """Return the name that a key gives a photo: its last part."""
    return key.rstrip("/").rsplit("/", 1)[-1] or key


def name_below(prefix: str, key: str) -> str:
    """Return the name of a photo below a prefix: its path after the prefix's last slash."""
    folder = prefix[: prefix.rfind("/") + 1]
    return key.removeprefix(folder).lstrip("/") or key


def encode_listings(listings: Iterable[Listing]) -> bytes:
    """Return `sources.jsonl`."""
    rows = ({k: v for k, v in vars(listing).items() if v is not None} for listing in listings)
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def decode_listings(data: bytes) -> tuple[Listing, ...]:
    """Read what `encode_listings` wrote."""
    return tuple(Listing(**json.loads(line)) for line in data.split(b"\n") if line)


def to_source(listing: Listing, index: int) -> Source:
    """Return the manifest's line for a single photo, not a prefix."""
    if listing.url is not None:
        return Source(index=index, name=listing.name or url_name(listing.url), url=listing.url)
    address = parse_s3(listing.s3 or "")
    return Source(index=index, name=listing.name or key_name(address.key), s3=str(address))
