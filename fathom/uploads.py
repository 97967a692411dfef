"""The upload protocol: an album's bytes go to the server in one request, or file by file, resumable."""

from __future__ import annotations

import asyncio
import io
import json
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from fathom.errors import ApiError, ClientError, ConnectionLost
from fathom.models import UploadFile
from fathom.options.presets import PRESET
from fathom.parallel import LIMIT
from fathom.photos.labels import ENDING, label_key
from fathom.transport import Transport

#: The largest album sent as one multipart request: files, and bytes.
ONE_REQUEST_FILES = 64
ONE_REQUEST_BYTES = 64 * 2**20
KEY_HEADER = "Idempotency-Key"
#: A round uploads all that is missing; a round that gains nothing is the last.
_MAX_ROUNDS = 20
_CHUNK = 2**16

#: Characters that a multipart file name cannot carry unchanged.
_NOT_IN_MULTIPART = re.compile(r'[\x00-\x1f"\\]')

#: Called with the number of bytes that just left; from several threads.
OnBytes = Callable[[int], None]


def ignore(_: Any) -> None:
    """Take a report that nobody asked for."""


def with_preset(options: Mapping[str, Any] | None, preset: str | None) -> Mapping[str, Any]:
    """Return options for a request, with the name of a preset, which the server expands."""
    given = options or {}
    return given if preset is None else {**given, PRESET: preset}


def fits_one_request(files: Sequence[UploadFile]) -> bool:
    """Return whether an album is small and plainly named enough for one multipart request."""
    return (
        len(files) <= ONE_REQUEST_FILES
        and not any(_NOT_IN_MULTIPART.search(file.name) for file in files)
        and sum(file.size for file in files) <= ONE_REQUEST_BYTES
    )


async def post_files(
    http: Transport, files: Sequence[UploadFile], options: Mapping[str, Any], on_bytes: OnBytes
) -> dict[str, Any]:
    """Create a job from files in one request; return the job."""
    parts = [("images", file.name, file.path) for file in files]
    parts += [("images", label_key(file.name) + ENDING, file.labels) for file in files if file.labels]
    return await _post_multipart(http, parts, options, on_bytes)


async def post_archive(
    http: Transport, archive: Path, options: Mapping[str, Any], on_bytes: OnBytes
) -> dict[str, Any]:
    """Create a job from a ZIP file in one request; return the job."""
    return await _post_multipart(http, [("archive", archive.name, archive)], options, on_bytes)


async def post_sources(
    http: Transport, addresses: Iterable[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Create a job from photos that the server reads itself; return the job."""
    sources = [_source(address) for address in addresses]
    return await _create(http, {"sources": sources, "options": dict(options)})


async def announce(
    http: Transport, files: Sequence[UploadFile], options: Mapping[str, Any], *, token: str | None = None
) -> dict[str, Any]:
    """Announce an album; return the job with the addresses of its first uploads.

    Announced again with the same `token`, and the same files and options, it is the same job.
    """
    uploads = [{"name": _plain(file.name), "size": file.size} for file in files]
    return await _create(http, {"uploads": uploads, "options": dict(options)}, token)


async def post_one_by_one(
    http: Transport, files: Sequence[UploadFile], options: Mapping[str, Any], on_bytes: OnBytes = ignore
) -> dict[str, Any]:
    """Announce an album, upload it a few files at once, and start it; return the job as announced.

    If that fails or is cancelled, nothing is left on the server.
    """
    created = await announce(http, files, options)
    try:
        await upload_missing(http, created["id"], files, on_bytes, first_page=created)
    except BaseException:
        # The job will never be complete.
        await http.backend.finish(_discard(http, created["id"]))
        raise
    return created


async def upload_missing(
    http: Transport,
    job_id: str,
    files: Sequence[UploadFile],
    on_bytes: OnBytes = ignore,
    *,
    first_page: Mapping[str, Any] | None = None,
) -> None:
    """Upload what the job still lacks, from `first_page` of the list on if it is given, and start the job.

    If addresses expire or connections break, another round begins with fresh addresses, as long as
    each round gains anything.

    Raises ClientError with the reason of the first upload that failed for good.
    """
    for _ in range(_MAX_ROUNDS):
        missing = http.pages(f"/v1/jobs/{job_id}/uploads", "uploads", first=first_page)
        uploaded, error = await _upload_round(http, missing, files, on_bytes)
        error = error or await _upload_labels(http, job_id, files)
        if error is None and await _start(http, job_id):
            return
        if not uploaded:
            raise error or ClientError(f"Job {job_id} still lacks uploads that are not named.")
        first_page = None
    raise ClientError(f"Job {job_id} still lacks uploads after {_MAX_ROUNDS} rounds.")


async def _upload_round(
    http: Transport,
    missing: AsyncGenerator[Mapping[str, Any]],
    files: Sequence[UploadFile],
    on_bytes: OnBytes,
) -> tuple[int, ClientError | None]:
    """Upload each missing file once; return how many arrived, and the first error."""

    async def put(upload: Mapping[str, Any]) -> ClientError | None:
        try:
            await _put_file(http, upload["url"], files[upload["index"]].path, on_bytes)
        except (ApiError, ConnectionLost) as exc:
            return exc
        return None

    errors = await http.backend.gather(put, missing, limit=LIMIT)
    failed = [error for error in errors if error is not None]
    return len(errors) - len(failed), failed[0] if failed else None


async def _upload_labels(http: Transport, job_id: str, files: Sequence[UploadFile]) -> ClientError | None:
    """Upload the label pictures, again if they are there; return the first error."""

    async def put(labelled: tuple[int, Path]) -> ClientError | None:
        index, path = labelled
        try:
            await _put_file(http, f"/v1/jobs/{job_id}/uploads/{index}/labels", path, ignore)
        except (ApiError, ConnectionLost) as exc:
            return exc
        return None

    async def labelled() -> AsyncGenerator[tuple[int, Path]]:
        for index, file in enumerate(files):
            if file.labels:
                yield index, file.labels

    errors = await http.backend.gather(put, labelled(), limit=LIMIT)
    return next((error for error in errors if error is not None), None)


async def _put_file(http: Transport, url: str, path: Path, on_bytes: OnBytes) -> None:
    def build() -> httpx.Request:
        with _reading(path):
            size = path.stat().st_size
        # Without its size the body would be sent in chunks, which S3 does not take.
        bare = http.build("PUT", url, headers={"Content-Length": str(size)})
        return httpx.Request("PUT", bare.url, headers=bare.headers, stream=_FileBody(path, on_bytes))

    await http.send(build, repeatable=True)


async def _start(http: Transport, job_id: str) -> bool:
    """Start a job; return False if the server says that uploads are missing."""
    try:
        await http.json("POST", f"/v1/jobs/{job_id}/start", repeatable=True)
    except ApiError as exc:
        if exc.code == "uploads_missing":
            return False
        raise
    return True


async def _discard(http: Transport, job_id: str) -> None:
    # If this fails, the job expires by itself.
    with suppress(ClientError):
        await http.json("DELETE", f"/v1/jobs/{job_id}")


async def _create(http: Transport, body: Mapping[str, Any], token: str | None = None) -> dict[str, Any]:
    answer = await http.json("POST", "/v1/jobs", repeatable=True, headers=_key(token), json=body)
    return dict(answer)


async def _post_multipart(
    http: Transport, parts: Sequence[tuple[str, str, Path]], options: Mapping[str, Any], on_bytes: OnBytes
) -> dict[str, Any]:
    headers, data = _key(), {"options": json.dumps(dict(options))}
    with ExitStack() as stack:

        def build() -> httpx.Request:
            files = [
                (field, (_plain(name), stack.enter_context(CountedFile(path, on_bytes))))
                for field, name, path in parts
            ]
            return http.build("POST", "/v1/jobs", headers=headers, data=data, files=files)

        response = await http.send(build, repeatable=True)
    return dict(response.json())


def _key(token: str | None = None) -> dict[str, str]:
    """Return the header that lets a submission be sent again: the server answers with the same job."""
    return {KEY_HEADER: token or str(uuid.uuid4())}


def _source(address: str) -> dict[str, str]:
    if not address.startswith("s3://"):
        return {"url": address}
    # A bucket alone means all that is in it.
    is_prefix = address.endswith("/") or "/" not in address.removeprefix("s3://")
    return {"s3_prefix" if is_prefix else "s3": address}


def _plain(name: str) -> str:
    """Return `name` as Unicode; bytes of a file name that are not UTF-8 become U+FFFD."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ClientError(f"Cannot read {path}: {exc.strerror or exc}.") from exc


class CountedFile(io.FileIO):
    """A file that reports how many of its bytes were read. Raises ClientError if it cannot be read."""

    def __init__(self, path: Path, on_bytes: OnBytes) -> None:
        with _reading(path):
            super().__init__(path, "rb")
        self._path = path
        self._on_bytes = on_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        with _reading(self._path):
            data = super().read(-1 if size is None else size) or b""
        self._on_bytes(len(data))
        return data


class _FileBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A file as the body of a request, for either kind of transport."""

    def __init__(self, path: Path, on_bytes: OnBytes) -> None:
        self._path = path
        self._on_bytes = on_bytes

    def __iter__(self) -> Iterator[bytes]:
        with CountedFile(self._path, self._on_bytes) as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # Opened here and not in a thread: a cancelled call there would leave the file open.
        with CountedFile(self._path, self._on_bytes) as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk
