"""Getting an album's bytes to the server: in one request, or file by file, resumable."""

from __future__ import annotations

import io
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fathom.models import UploadFile
from fathom.parallel import map_unordered
from fathom.transport import ApiError, ClientError, ConnectionLost, Transport

#: The largest album sent as one multipart request: files, and bytes.
ONE_REQUEST_FILES = 64
ONE_REQUEST_BYTES = 64 * 2**20
THREADS = 8
KEY_HEADER = "Idempotency-Key"
#: A round uploads all that is missing; a round that gains nothing is the last.
_MAX_ROUNDS = 20

#: Characters that a multipart file name cannot carry unchanged.
_NOT_IN_MULTIPART = re.compile(r'[\x00-\x1f"\\]')

#: Called with the number of bytes that just left; from several threads.
OnBytes = Callable[[int], None]


def fits_one_request(files: Sequence[UploadFile]) -> bool:
    """Tell whether an album is small and plainly named enough for one multipart request."""
    return (
        len(files) <= ONE_REQUEST_FILES
        and not any(_NOT_IN_MULTIPART.search(file.name) for file in files)
        and sum(file.size for file in files) <= ONE_REQUEST_BYTES
    )


def post_files(
    http: Transport, files: Sequence[UploadFile], options: Mapping[str, Any], on_bytes: OnBytes
) -> dict[str, Any]:
    """Create a job from files in one request; returns the job."""
    parts = [("images", file.name, file.path) for file in files]
    return _post_multipart(http, parts, options, on_bytes)


def post_archive(
    http: Transport, archive: Path, options: Mapping[str, Any], on_bytes: OnBytes
) -> dict[str, Any]:
    """Create a job from a ZIP file; returns the job."""
    return _post_multipart(http, [("archive", archive.name, archive)], options, on_bytes)


def create_upload_job(
    http: Transport, files: Sequence[UploadFile], options: Mapping[str, Any], *, token: str | None = None
) -> dict[str, Any]:
    """Announce an album; returns the job with the addresses of its first uploads.

    Announced again with the same `token`, and the same files and options, it is the same job.
    """
    answer = http.json(
        "POST",
        "/v1/jobs",
        repeatable=True,
        headers=new_key() if token is None else {KEY_HEADER: token},
        json=announcement(files, options),
    )
    return dict(answer)


def new_key() -> dict[str, str]:
    """Return the header that lets a request be sent again: the same job is the answer."""
    return {KEY_HEADER: str(uuid.uuid4())}


def sourcing(addresses: Iterable[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that names photos by where they lie."""
    return {"sources": [_source(address) for address in addresses], "options": dict(options)}


def _source(address: str) -> dict[str, str]:
    if not address.startswith("s3://"):
        return {"url": address}
    # A bucket alone is all that is in it.
    is_prefix = address.endswith("/") or "/" not in address.removeprefix("s3://")
    return {"s3_prefix" if is_prefix else "s3": address}


def announcement(files: Sequence[UploadFile], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that announces an album."""
    uploads = [{"name": _plain(file.name), "size": file.size} for file in files]
    return {"uploads": uploads, "options": dict(options)}


def upload_missing(
    http: Transport,
    job_id: str,
    first_page: Mapping[str, Any] | None,
    files: Sequence[UploadFile],
    on_bytes: OnBytes,
) -> None:
    """Upload what the job still lacks and start it.

    Addresses that expired and connections that broke are made good in further
    rounds, each with fresh addresses, as long as a round gains anything.

    Raises ClientError with the reason of the first upload that failed for good.
    """
    page = first_page
    for _ in range(_MAX_ROUNDS):
        uploaded, error = _upload_round(http, _missing(http, job_id, page), files, on_bytes)
        if error is None and _start(http, job_id):
            return
        if not uploaded:
            raise error or ClientError(f"Job {job_id} still lacks uploads that are not named.")
        page = None
    raise ClientError(f"Job {job_id} still lacks uploads after {_MAX_ROUNDS} rounds.")


def _missing(http: Transport, job_id: str, page: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield the uploads a job lacks, page by page, from `page` on or from the first."""
    if page is None:
        page = http.json("GET", f"/v1/jobs/{job_id}/uploads")
    while True:
        yield from page["uploads"]
        cursor = page.get("next_cursor")
        if cursor is None:
            return
        page = http.json("GET", f"/v1/jobs/{job_id}/uploads", params={"cursor": cursor})


def _upload_round(
    http: Transport, missing: Iterable[Mapping[str, Any]], files: Sequence[UploadFile], on_bytes: OnBytes
) -> tuple[int, ClientError | None]:
    """Upload each missing file once; returns how many arrived, and the first error."""

    def put(upload: Mapping[str, Any]) -> ClientError | None:
        try:
            _put_file(http, upload["url"], files[upload["index"]].path, on_bytes)
        except (ApiError, ConnectionLost) as exc:
            return exc
        return None

    errors = list(map_unordered(put, missing, threads=THREADS))
    failed = [error for error in errors if error is not None]
    return len(errors) - len(failed), failed[0] if failed else None


def _put_file(http: Transport, url: str, path: Path, on_bytes: OnBytes) -> None:
    # Presigned addresses carry their own permission; no header is added to it.
    with ExitStack() as stack:
        http.send(
            lambda: http.build("PUT", http.url(url), content=stack.enter_context(_open(path, on_bytes))),
            repeatable=True,
        )


def _start(http: Transport, job_id: str) -> bool:
    """Start a job, which may be repeated; False if the server says that uploads are missing."""
    try:
        http.json("POST", f"/v1/jobs/{job_id}/start", repeatable=True)
    except ApiError as exc:
        if exc.code == "uploads_missing":
            return False
        raise
    return True


def _post_multipart(
    http: Transport, parts: Sequence[tuple[str, str, Path]], options: Mapping[str, Any], on_bytes: OnBytes
) -> dict[str, Any]:
    # Sent again with the same key after a lost answer, it is the same job.
    key = new_key()
    with ExitStack() as stack:
        response = http.send(
            lambda: http.build(
                "POST",
                http.url("/v1/jobs"),
                headers=key,
                data={"options": json.dumps(dict(options))},
                files=[
                    (field, (_plain(name), stack.enter_context(_open(path, on_bytes))))
                    for field, name, path in parts
                ],
            ),
            repeatable=True,
        )
    return dict(response.json())


def _plain(name: str) -> str:
    """Return `name` as Unicode; bytes of a file name that are not UTF-8 become U+FFFD."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _open(path: Path, on_bytes: OnBytes) -> CountedFile:
    try:
        return CountedFile(path, on_bytes)
    except OSError as exc:
        raise ClientError(f"Cannot read {path}: {exc.strerror or exc}.") from exc


class CountedFile(io.FileIO):
    """A file that tells how many of its bytes were read."""

    def __init__(self, path: Path, on_bytes: OnBytes) -> None:
        super().__init__(path, "rb")
        self._on_bytes = on_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self._on_bytes(len(data))
        return data
