"""The object store on S3: the one module that knows boto3.

It needs only what most S3 servers can do; where they differ, comments say how. Importing boto3
takes 0.12 s, the first client 0.11 s, and every further one 5 ms.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import islice
from logging import getLogger
from typing import TYPE_CHECKING, Any, BinaryIO, Self
from urllib.parse import quote

import boto3.session
from botocore import exceptions as boto
from botocore.config import Config
from botocore.parsers import ResponseParserError

from shared.errors import (
    BucketNotFound,
    FathomError,
    ObjectNotFound,
    ObjectStoreDenied,
    ObjectStoreUnavailable,
)
from shared.net.loopback import is_loopback
from shared.objectstore.port import ObjectInfo, Transfer, TransferObserver
from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

logger = getLogger(__name__)

OCTETS = "application/octet-stream"
CHUNK_BYTES = 256 * 1024
#: If the server sends no byte for so many seconds, the call has failed. The time in which a body is
#: sent, however slowly, does not count.
READ_TIMEOUT = 15.0

#: Longer streams are uploaded in parts of this size, one at a time; S3 wants at least 5 MiB.
_PART_BYTES = 8 * 2**20
#: The most parts an upload may have.
_MAX_PARTS = 10_000
#: The most keys one DeleteObjects request may name.
_DELETE_BATCH = 1000

_UNAVAILABLE = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.CredentialRetrievalError,
    boto.MetadataRetrievalError,
    # A proxy's page, or a response that was cut off, instead of XML.
    ResponseParserError,
)
_DENIED = (boto.NoCredentialsError, boto.PartialCredentialsError)

# If an error's code is listed here, the code decides; if not, its HTTP status does. The response to a
# HEAD request has no body, so botocore gives the status as the code.
_UNAVAILABLE_CODES = {
    "ConditionalRequestConflict",
    "InternalError",
    "NoSuchUpload",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
}
_DENIED_CODES = {"AccessDenied", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidToken"}
_BUCKET_EXISTS_CODES = {"BucketAlreadyExists", "BucketAlreadyOwnedByYou", "OperationAborted"}
#: Errors of servers that lack DeleteObjects, or expect another checksum.
_NO_BATCH_DELETE_CODES = {"InvalidRequest", "MethodNotAllowed", "MissingContentMD5", "NotImplemented"}


class S3ObjectStore:
    """Objects in one bucket of an S3 server. `ObjectStore`, the port, says what each method does.

    Many threads may use it. Build it after a fork, not before.
    """

    def __init__(
        self, *, client: S3Client, probe: S3Client, public: S3Client | None, bucket: str, presign_seconds: int
    ) -> None:
        """Take a client for the work, one that gives up soon, and one for the public address."""
        self._client = client
        self._probe = probe
        self._public = public
        self._bucket = bucket
        self._presign_seconds = presign_seconds
        self._observe: TransferObserver | None = None

    @classmethod
    def from_settings(cls, settings: Settings, *, attempts: int = 3) -> Self:
        """Build the store; nothing is sent yet.

        A call is tried `attempts` times in all. Workers wait for the store with breakers, so they
        use a single attempt and hear of every failure at once.
        """
        session = boto3.session.Session(
            aws_access_key_id=settings.s3_access_key,
            aws_secret_access_key=settings.s3_secret_key,
            region_name=settings.s3_region,
        )
        internal, public = settings.s3_endpoint_url, settings.s3_public_url
        return cls(
            client=_build_client(session, internal, read_timeout=READ_TIMEOUT, attempts=attempts),
            probe=_build_client(session, internal, read_timeout=5, attempts=1),
            public=_build_client(session, public, read_timeout=5, attempts=1) if public else None,
            bucket=settings.s3_bucket,
            presign_seconds=settings.presign_seconds,
        )

    def in_bucket(self, bucket: str) -> S3ObjectStore:
        """Return another bucket of the same server, over the same connections."""
        other = copy(self)
        other._bucket, other._observe = bucket, None
        return other

    def observed_by(self, observe: TransferObserver) -> S3ObjectStore:
        other = copy(self)
        other._observe = observe
        return other

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()
        self._probe.close()

    def put(self, key: str, data: bytes | memoryview, *, content_type: str = OCTETS) -> None:
        with self._observed(Transfer.WRITE, key), _translated(key):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=bytes(data), ContentType=content_type)

    def put_stream(self, key: str, stream: BinaryIO, *, content_type: str = OCTETS) -> None:
        """Write an object from a seekable stream's position to its end, in constant memory.

        The stream stays open. A long stream is uploaded in parts, and readers see the object
        only once it is complete.
        """
        size = _remaining(stream)
        if size <= _PART_BYTES:
            self.put(key, stream.read(), content_type=content_type)
        else:
            with _translated(key):
                self._put_parts(key, stream, size, content_type)

    def get(self, key: str, *, start: int | None = None, stop: int | None = None) -> bytes:
        span = _range_header(start, stop)
        if span is None:
            self.size(key)
            return b""
        try:
            with self._observed(Transfer.READ, key), _translated(key):
                return self._client.get_object(Bucket=self._bucket, Key=key, **span)["Body"].read()
        except boto.ClientError as exc:
            # The range begins at or beyond the end.
            if _status(exc) == 416:
                return b""
            raise

    def get_tagged(self, key: str, *, stop: int | None = None) -> tuple[bytes, str]:
        """Read an object, or its first bytes, and return the tag that a listing gives what was read.

        If a server gives no ETag, the time of the last change is looked up after the read. If that is the
        same as before, nothing was written in between.
        """
        span = _range_header(None, stop) or {}
        try:
            with self._observed(Transfer.READ, key), _translated(key):
                answer = self._client.get_object(Bucket=self._bucket, Key=key, **span)
                data = answer["Body"].read()
        except boto.ClientError as exc:
            # An empty object has no first byte.
            if _status(exc) != 416:
                raise
            return b"", self._listed_tag(key)
        return data, _etag(answer) or self._listed_tag(key)

    @contextmanager
    def _observed(self, transfer: Transfer, key: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        if self._observe is not None:
            self._observe(transfer, key, time.monotonic() - began)

    def _listed_tag(self, key: str) -> str:
        with _translated(key):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1)
        for entry in page.get("Contents", ()):
            if entry["Key"] == key:
                return _tag(entry)
        raise ObjectNotFound(f"There is no object under the key {key!r}.")

    def stream(
        self, key: str, *, start: int | None = None, stop: int | None = None, chunk_size: int = CHUNK_BYTES
    ) -> Iterator[bytes]:
        span = _range_header(start, stop) or {}
        with _translated(key):
            body = self._client.get_object(Bucket=self._bucket, Key=key, **span)["Body"]

        def pieces() -> Iterator[bytes]:
            with _translated(key), body:
                yield from body.iter_chunks(chunk_size)

        return pieces()

    def size(self, key: str) -> int:
        with _translated(key):
            return self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"]

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except ObjectNotFound:
            return False
        return True

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        start: dict[str, Any] = {"StartAfter": after} if after else {}
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, **start
        )
        with _translated(prefix):
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield ObjectInfo(
                        key=entry["Key"],
                        size=entry["Size"],
                        modified_at=entry["LastModified"].timestamp(),
                        tag=_tag(entry),
                    )

    def folders(self, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, Delimiter="/"
        )
        with _translated(prefix):
            for page in pages:
                for entry in page.get("CommonPrefixes", ()):
                    yield entry["Prefix"][len(prefix) :].rstrip("/")

    def delete(self, key: str) -> None:
        try:
            with _translated(key):
                self._client.delete_object(Bucket=self._bucket, Key=key)
        except ObjectNotFound:
            return

    def delete_prefix(self, prefix: str) -> int:
        if not prefix:
            raise ValueError("An empty prefix would delete everything.")
        count = 0
        for keys in _batches(self.list(prefix)):
            self._delete_batch(keys)
            count += len(keys)
        return count

    def presigned_get(
        self, key: str, *, file_name: str | None = None, content_type: str | None = None
    ) -> str | None:
        if self._public is None:
            return None
        params: dict[str, Any] = {"Bucket": self._bucket, "Key": key}
        if file_name is not None:
            params["ResponseContentDisposition"] = attachment(file_name)
        if content_type is not None:
            params["ResponseContentType"] = content_type
        with _translated(key):
            return self._public.generate_presigned_url(
                "get_object", Params=params, ExpiresIn=self._presign_seconds
            )

    def presigned_put(self, key: str, *, size: int | None = None) -> str | None:
        if self._public is None:
            return None
        params: dict[str, Any] = {"Bucket": self._bucket, "Key": key}
        if size is not None:
            # The signature includes this length, so S3 refuses any other.
            params["ContentLength"] = size
        with _translated(key):
            return self._public.generate_presigned_url(
                "put_object", Params=params, ExpiresIn=self._presign_seconds
            )

    def ensure_bucket(self) -> None:
        """Create the bucket if it is missing. Several processes may do so at once."""
        if self._bucket_exists():
            return
        region = self._client.meta.region_name
        # Amazon wants the region named, except in its first region, where naming it is an error.
        extra: dict[str, Any] = {}
        if region != "us-east-1":
            extra["CreateBucketConfiguration"] = {"LocationConstraint": region}
        with _translated():
            try:
                self._client.create_bucket(Bucket=self._bucket, **extra)
            except boto.ClientError as exc:
                # Another process was faster, or the name belongs to somebody else; then reading it fails.
                if _code(exc) not in _BUCKET_EXISTS_CODES:
                    raise
                self._client.head_bucket(Bucket=self._bucket)

    def ping(self) -> None:
        """Raise if the bucket cannot be reached, after 10 seconds at most."""
        if not self._bucket_exists():
            raise ObjectStoreUnavailable(f"The object store (S3) has no bucket {self._bucket!r}.")

    def _bucket_exists(self) -> bool:
        try:
            with _translated():
                self._probe.head_bucket(Bucket=self._bucket)
        except ObjectNotFound:
            return False
        return True

    def _put_parts(self, key: str, stream: BinaryIO, size: int, content_type: str) -> None:
        target: Any = {"Bucket": self._bucket, "Key": key}
        upload_id = self._client.create_multipart_upload(**target, ContentType=content_type)["UploadId"]
        target["UploadId"] = upload_id
        try:
            parts: Any = [
                {
                    "PartNumber": number,
                    "ETag": self._client.upload_part(**target, PartNumber=number, Body=part)["ETag"],
                }
                for number, part in enumerate(_parts(stream, size), start=1)
            ]
            self._client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        except BaseException:
            self._abandon(target)
            raise

    def _abandon(self, target: Any) -> None:
        """Free the parts of a failed upload. This may fail too, since the store may be away."""
        try:
            self._client.abort_multipart_upload(**target)
        except (boto.BotoCoreError, boto.ClientError, ResponseParserError) as exc:
            logger.warning(
                "An incomplete upload could not be abandoned: %s",
                type(exc).__name__,
                extra={"action": "abandon_upload", "key": target["Key"]},
            )

    def _delete_batch(self, keys: Sequence[str]) -> None:
        try:
            with _translated():
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
                )
        except boto.ClientError as exc:
            if _code(exc) not in _NO_BATCH_DELETE_CODES:
                raise
            for key in keys:
                self.delete(key)
            return
        for refusal in answer.get("Errors", ()):
            _raise_refusal(refusal.get("Key", ""), refusal.get("Code", ""))


def attachment(file_name: str) -> str:
    """Return a Content-Disposition that makes browsers save under `file_name`, in any script.

    It gives the name twice, as RFC 6266 advises: reduced to ASCII for old clients, and percent-encoded
    as RFC 8187 defines it.
    """
    name = re.sub(r"[\x00-\x1f\x7f/\\]", "_", file_name)
    plain = re.sub(r"[^ !#$&-~]", "_", name)
    encoded = quote(name, safe="!#$&+-.^_`|~", errors="replace")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def _build_client(
    session: boto3.session.Session, endpoint_url: str | None, *, read_timeout: float, attempts: int
) -> S3Client:
    config = Config(
        signature_version="s3v4",
        # Bucket names as host names need DNS entries, which servers other than Amazon's rarely have.
        s3={"addressing_style": "path" if endpoint_url else "auto"},
        # A proxy in the environment cannot reach a store on this machine. None lets boto3 use it.
        proxies={} if endpoint_url and is_loopback(endpoint_url) else None,
        # Only Fathom's settings decide, not AWS_ENDPOINT_URL.
        ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # missing in botocore-stubs
        connect_timeout=5,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=32,
        tcp_keepalive=True,
        # Not every server understands the trailing checksums that botocore adds by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.client("s3", endpoint_url=endpoint_url, config=config)


@contextmanager
def _translated(key: str = "") -> Iterator[None]:
    """Turn boto3's errors into Fathom's; raise those that show a mistake of ours as they are."""
    try:
        yield
    except boto.ClientError as exc:
        error = _translate(_code(exc), _status(exc), key)
        if error is None:
            raise
        raise error from exc
    except _UNAVAILABLE as exc:
        raise ObjectStoreUnavailable(_with_reason(ObjectStoreUnavailable, type(exc).__name__)) from exc
    except _DENIED as exc:
        raise ObjectStoreDenied("There are no credentials for the object store (S3).") from exc


def _translate(code: str, status: int, key: str) -> FathomError | None:
    if code == "NoSuchBucket":
        return BucketNotFound(_with_reason(BucketNotFound, code))
    if code in _UNAVAILABLE_CODES:
        return ObjectStoreUnavailable(_with_reason(ObjectStoreUnavailable, code))
    if code in _DENIED_CODES or status in (401, 403):
        return ObjectStoreDenied(_with_reason(ObjectStoreDenied, code))
    if status == 404:
        return ObjectNotFound(f"There is no object under the key {key!r}.")
    # 501 means that the server does not have the operation, so waiting does not help.
    if status in (408, 429) or (status >= 500 and status != 501):
        return ObjectStoreUnavailable(_with_reason(ObjectStoreUnavailable, code))
    return None


def _with_reason(error: type[FathomError], reason: str) -> str:
    return f"{error().message} ({reason})"


def _raise_refusal(key: str, code: str) -> None:
    """Raise for a key that DeleteObjects did not delete. A missing key counts as deleted."""
    if code == "NoSuchKey":
        return
    raise _translate(code, 0, key) or FathomError(f"The object store (S3) kept {key!r}: {code}.")


def _code(exc: boto.ClientError) -> str:
    return exc.response.get("Error", {}).get("Code", "")


def _status(exc: boto.ClientError) -> int:
    return exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')


def _tag(entry: Mapping[str, Any]) -> str:
    """Return the ETag of a listed object, or else the time of its last change and its size."""
    return _etag(entry) or f"{entry['LastModified'].isoformat()} {entry['Size']}"


def _range_header(start: int | None, stop: int | None) -> dict[str, Any] | None:
    """Return the arguments for a range of bytes, empty for the whole object; None if the range is empty."""
    first = start or 0
    if first < 0 or (stop is not None and stop < 0):
        raise ValueError(f"A range of bytes cannot begin at {start} and end at {stop}.")
    if stop is None:
        return {"Range": f"bytes={first}-"} if first else {}
    return {"Range": f"bytes={first}-{stop - 1}"} if stop > first else None


def _remaining(stream: BinaryIO) -> int:
    """Return how many bytes lie between a stream's position and its end; the position stays."""
    here = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(here)
    return end - here


def _parts(stream: BinaryIO, size: int) -> Iterator[bytes]:
    part_bytes = max(_PART_BYTES, -(-size // _MAX_PARTS))
    while part := stream.read(part_bytes):
        yield part


def _batches(objects: Iterable[ObjectInfo]) -> Iterator[list[str]]:
    keys = (entry.key for entry in objects)
    while batch := list(islice(keys, _DELETE_BATCH)):
        yield batch
