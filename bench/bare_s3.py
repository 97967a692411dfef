"""Read objects and listings of S3 over plain HTTP, with requests signed by AWS Signature Version 4.

A checker of the object store must not use the code that it checks.
Source: "Signature Calculations for the Authorization Header", Amazon S3 API Reference.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Self
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import httpx

_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class BareS3:
    """Reads one bucket at `endpoint`, with path-style URLs. A context manager."""

    def __init__(
        self, endpoint: str, bucket: str, access_key: str, secret_key: str, region: str = "us-east-1"
    ) -> None:
        self._host = urlsplit(endpoint).netloc
        self._bucket = bucket
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        self._http = httpx.Client(base_url=endpoint, timeout=30.0, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def list(self, prefix: str, *, page_size: int = 1000) -> Iterator[tuple[str, int]]:
        """Yield key and size of every object below `prefix`. Raises httpx.HTTPError, like `get`."""
        token: str | None = None
        while True:
            query = {"list-type": "2", "max-keys": str(page_size), "prefix": prefix}
            page = ElementTree.fromstring(
                self._get("", query | ({"continuation-token": token} if token else {}))
                .raise_for_status()
                .content
            )
            for entry in page.iterfind("{*}Contents"):
                yield entry.findtext("{*}Key", ""), int(entry.findtext("{*}Size", "0"))
            token = page.findtext("{*}NextContinuationToken")
            if page.findtext("{*}IsTruncated") != "true" or token is None:
                return

    def get(self, key: str) -> bytes | None:
        """Return an object; None if there is none."""
        answer = self._get(key, {})
        return None if answer.status_code == 404 else answer.raise_for_status().content

    def _get(self, key: str, query: Mapping[str, str]) -> httpx.Response:
        path = quote(f"/{self._bucket}/{key}", safe="/-_.~")
        encoded = "&".join(f"{quote(k, safe='')}={quote(query[k], safe='-_.~')}" for k in sorted(query))
        headers = self._sign(path, encoded, datetime.now(UTC))
        return self._http.get(f"{path}?{encoded}" if encoded else path, headers=headers)

    def _sign(self, path: str, query: str, now: datetime) -> dict[str, str]:
        day, stamp = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": self._host, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": stamp}
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = "\n".join(["GET", path, query, lines, names, _EMPTY_SHA256])
        scope = f"{day}/{self._region}/s3/aws4_request"
        hashed = hashlib.sha256(request.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashed])
        signature = hmac.new(self._key(day), text.encode(), hashlib.sha256).hexdigest()
        credential = f"Credential={self._access_key}/{scope}"
        authorization = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
        return headers | {"authorization": authorization}

    def _key(self, day: str) -> bytes:
        key = b"AWS4" + self._secret_key.encode()
        for word in (day, self._region, "s3", "aws4_request"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        return key
