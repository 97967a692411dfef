"""Sources: photos that lie elsewhere, named in a request and read from there by the workers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from shared.errors import InvalidSource
from shared.jobs.job import Source

#: Bucket names of S3 and of the servers that are laxer.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]\Z")
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
#: Bytes of a key, by S3.
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
    """One line of `sources.jsonl`: a photo by its address, or a prefix below which photos lie."""

    url: str | None = None
    s3: str | None = None
    s3_prefix: str | None = None
    #: What the photo is to be called; None where its address says it.
    name: str | None = None


def parse_s3(text: str, *, prefix: bool = False) -> S3Address:
    """Read `s3://bucket/key`; of a prefix the key may be empty.

    A key is taken literally. One with `.` or `..` between slashes is refused: servers that keep objects
    in folders would follow it into another bucket.

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
    """Return what a photo is called by its URL: the last part of the path."""
    parts = urlsplit(url)
    return unquote(parts.path, errors="replace").rstrip("/").rsplit("/", 1)[-1] or parts.netloc


def key_name(key: str) -> str:
    """Return what a photo is called by its key: the last part of it."""
    return key.rstrip("/").rsplit("/", 1)[-1] or key


def name_below(prefix: str, key: str) -> str:
    """Return what a photo found below a prefix is called: its path from the prefix's last slash on."""
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
    """Return the image that a single photo, no prefix, becomes."""
    if listing.url is not None:
        return Source(index=index, name=listing.name or url_name(listing.url), url=listing.url)
    address = parse_s3(listing.s3 or "")
    return Source(index=index, name=listing.name or key_name(address.key), s3=str(address))
