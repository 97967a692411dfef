"""The Python client: `Fathom("http://127.0.0.1:8080").submit(["album"]).wait().download("out")`.

Speaks HTTP and nothing else, so that it runs where no server of ours is installed.
"""

from __future__ import annotations

import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar
from urllib.parse import quote

import httpx

from fathom.files import Album, extract_all, file_size, find_readable, refuse_empty, write_atomically, writing
from fathom.models import ImageResult, JobStatus, UploadFile
from fathom.photos.skipped import Skipped
from fathom.progress import show_progress
from fathom.transport import BodyLost, ClientError, ConnectionLost, Patience, Transport
from fathom.uploads import (
    create_upload_job,
    fits_one_request,
    new_key,
    post_archive,
    post_files,
    sourcing,
    upload_missing,
)

#: How long a wait outlives a server that is away, in seconds.
WAIT_PATIENCE = 600.0
_FIRST_POLL = 0.1
_LONGEST_POLL = 1.0
_PAGE = 1000
#: Times that a file is asked for when the connection breaks in the middle of it.
BODY_TRIES = 5

T = TypeVar("T")
OnProgress = Callable[[JobStatus], None]
OnLost = Callable[[ConnectionLost], None]


def ignore(_: Any) -> None:
    """Take a report nobody asked for."""


class Fathom:
    """A Fathom server. Close it, or use it in a `with` block.

    Every method may raise ApiError (the server refused, with a stable `code`)
    and ConnectionLost; both are ClientErrors.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        patience: Patience | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if httpx.URL(base_url).scheme not in ("http", "https"):
            raise ClientError(f"The API's address must start with http:// or https://, not be {base_url!r}.")
        self._http = Transport(base_url, api_key=api_key, patience=patience, transport=transport, sleep=sleep)
        self._sleep = sleep

    def __enter__(self) -> Fathom:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    @property
    def base_url(self) -> httpx.URL:
        return self._http.base_url

    @property
    def transport(self) -> Transport:
        """What this client speaks through, for those who need more of the API than it offers."""
        return self._http

    def handle(self, answer: Mapping[str, Any]) -> JobHandle:
        """Return the job that an answer of the API describes."""
        return JobHandle(self, JobStatus.from_json(answer))

    def submit(
        self,
        paths: Iterable[str | os.PathLike[str] | UploadFile],
        options: Mapping[str, Any] | None = None,
        *,
        on_bytes: Callable[[int], None] = ignore,
    ) -> JobHandle:
        """Create a job from photos and folders, and upload them.

        An UploadFile is sent under its own name; of a folder all photos are sent, under their paths in
        it. What could give no depth map is not sent: the job has it in `refused`, and counts in `skipped`
        what is no photo. A small album goes in one request, a larger one file by file. `on_bytes` is
        told of bytes as they leave, from several threads; bytes sent again count again.

        Raises ClientError if there is no photo to send.
        """
        return self.submit_album(refuse_empty(find_readable(paths)), options, on_bytes=on_bytes)

    def submit_album(
        self,
        album: Album,
        options: Mapping[str, Any] | None = None,
        *,
        on_bytes: Callable[[int], None] = ignore,
    ) -> JobHandle:
        """Create a job from what was found by `fathom.files`; as `submit` does."""
        job = self._send(album.files, options or {}, on_bytes)
        job.refused, job.skipped = tuple(album.refused), album.skipped
        return job

    def _send(
        self, files: Sequence[UploadFile], options: Mapping[str, Any], on_bytes: Callable[[int], None]
    ) -> JobHandle:
        if fits_one_request(files):
            return self.handle(post_files(self._http, files, options, on_bytes))
        created = create_upload_job(self._http, files, options)
        job = self.handle(created)
        try:
            upload_missing(self._http, job.id, created, files, on_bytes)
        except BaseException:
            # What was announced will never be complete: do not leave it behind.
            with suppress(ClientError):
                job.delete()
            raise
        return job

    def submit_archive(
        self,
        archive: str | os.PathLike[str],
        options: Mapping[str, Any] | None = None,
        *,
        on_bytes: Callable[[int], None] = ignore,
    ) -> JobHandle:
        """Create a job from a ZIP file, which the server unpacks."""
        return self.handle(post_archive(self._http, Path(archive), options or {}, on_bytes))

    def submit_sources(self, addresses: Iterable[str], options: Mapping[str, Any] | None = None) -> JobHandle:
        """Create a job from photos that lie where the server reads them.

        An address is `https://...`, `s3://bucket/key`, or `s3://bucket/prefix/` for all photos below it.
        """
        body = sourcing(addresses, options or {})
        return self.handle(self._http.json("POST", "/v1/jobs", repeatable=True, headers=new_key(), json=body))

    def job(self, job_id: str) -> JobHandle:
        """Return a job that exists on the server."""
        return self.handle(self._http.json("GET", f"/v1/jobs/{quote(job_id, safe='')}"))

    def jobs(self) -> Iterator[JobStatus]:
        """Yield all jobs, the newest first."""
        yield from map(JobStatus.from_json, self._pages("/v1/jobs", "jobs", {"limit": 100}))

    def _pages(self, path: str, field: str, params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        page = self._http.json("GET", path, params=params)
        yield from page[field]
        while (cursor := page.get("next_cursor")) is not None:
            page = self._http.json("GET", path, params={**params, "cursor": cursor})
            yield from page[field]


class JobHandle:
    """One job of a server, with its state as last heard of in `status`."""

    def __init__(self, fathom: Fathom, status: JobStatus) -> None:
        self._fathom = fathom
        self._http = fathom._http
        self.status = status
        #: Photos that were not sent with this job because they can give no depth map, each with its reason.
        self.refused: tuple[ImageResult, ...] = ()
        #: Files that were not sent because they are no photos.
        self.skipped = Skipped()

    @property
    def id(self) -> str:
        return self.status.id

    @property
    def _path(self) -> str:
        return f"/v1/jobs/{self.id}"

    def refresh(self) -> JobStatus:
        """Ask the server how the job stands."""
        self.status = JobStatus.from_json(self._http.json("GET", self._path))
        return self.status

    def wait(
        self, on_progress: OnProgress = ignore, *, progress: bool = False, on_lost: OnLost = ignore
    ) -> JobHandle:
        """Wait until the job has ended, and return this handle.

        With `progress`, behind a bar on standard error. Outlives a server that is away for up
        to ten minutes; `on_lost` hears of it at each try, then ConnectionLost is raised.
        """
        if progress:
            with show_progress(quiet=False).line("processing", self.status.total, "images") as line:
                return self.wait(line.follow, on_lost=on_lost)
        poll, deadline = _FIRST_POLL, time.monotonic() + WAIT_PATIENCE
        while True:
            try:
                status = self.refresh()
            except ConnectionLost as exc:
                if time.monotonic() >= deadline:
                    raise
                on_lost(exc)
            else:
                deadline = time.monotonic() + WAIT_PATIENCE
                on_progress(status)
                if status.ended:
                    return self
            self._fathom._sleep(poll)
            poll = min(poll * 1.3, _LONGEST_POLL)

    def images(self, state: str | None = None) -> Iterator[ImageResult]:
        """Yield the job's images by index; with `state`, only those in it."""
        params = {"limit": _PAGE} | ({"state": state} if state else {})
        yield from map(ImageResult.from_json, self._fathom._pages(f"{self._path}/images", "images", params))

    def ask_skipped(self) -> Skipped:
        """Ask the server what is no photo of the job's archives, and below its prefixes."""
        return Skipped.from_row(self._http.json("GET", f"{self._path}/skipped"))

    def save(self, url: str, path: Path, *, replace: bool = False) -> bool:
        """Write an output to `path`, whole or not at all.

        Unless `replace`, a file of the same size is kept; False then. Raises NotWritten.
        """
        return repeat_lost(lambda: self._save_once(url, path, replace=replace))

    def _save_once(self, url: str, path: Path, *, replace: bool) -> bool:
        with self._http.stream(url) as response:
            size = response.headers.get("Content-Length")
            if not replace and size is not None and file_size(path) == int(size):
                return False
            write_atomically(path, response.iter_bytes(2**16))
        return True

    def download(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write all outputs below `directory` under the photos' own names, and return their paths.

        Fetches the job's ZIP, whose names the server has made safe and unique. Raises NotWritten
        for what cannot be written; all else is there then.
        """
        root = Path(directory)
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root) as spool:
                repeat_lost(lambda: self._fetch_archive(spool))
                with zipfile.ZipFile(spool) as archive:
                    return extract_all(archive, root)

    def _fetch_archive(self, spool: IO[bytes]) -> None:
        spool.seek(0)
        spool.truncate()
        with self._http.stream(f"{self._path}/archive") as response:
            for chunk in response.iter_bytes(2**16):
                spool.write(chunk)

    def cancel(self) -> JobStatus:
        """Stop the job within one image; what is done stays."""
        return self._act("cancel")

    def pause(self) -> JobStatus:
        return self._act("pause")

    def resume(self) -> JobStatus:
        return self._act("resume")

    def retry(self) -> JobStatus:
        """Queue the failed images of an ended job once more."""
        return self._act("retry")

    def delete(self) -> None:
        """Forget the job and delete its files on the server."""
        self._http.json("DELETE", self._path)

    def _act(self, action: str) -> JobStatus:
        self.status = JobStatus.from_json(self._http.json("POST", f"{self._path}/{action}"))
        return self.status


def repeat_lost(fetch: Callable[[], T]) -> T:
    """Fetch something again whose connection broke in the middle, a few times."""
    for _ in range(BODY_TRIES - 1):
        # The last try, below, may raise.
        with suppress(BodyLost):
            return fetch()
    return fetch()
