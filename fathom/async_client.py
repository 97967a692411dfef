"""The Python client for programs on asyncio: `async with AsyncFathom() as fathom: ...`.

The same names as in `fathom.sync_client`, with `await` before what speaks to the server.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

import httpx

from fathom.async_transport import AsyncTransport
from fathom.files import extract_all, find_readable, refuse_empty, writing
from fathom.models import ImageResult, JobStatus, UploadFile
from fathom.photos.skipped import Skipped
from fathom.progress import show_progress
from fathom.sync_client import BODY_TRIES, WAIT_PATIENCE, OnLost, OnProgress, ignore
from fathom.transport import ApiError, BodyLost, ClientError, ConnectionLost, Patience
from fathom.uploads import THREADS, announcement, new_key, sourcing

_CHUNK = 2**16
_FIRST_POLL, _LONGEST_POLL = 0.1, 1.0
_PAGE = 1000
_MAX_ROUNDS = 20


class AsyncFathom:
    """A Fathom server, for asyncio. Close it, or use it in an `async with` block.

    Every method may raise ApiError (the server refused, with a stable `code`) and
    ConnectionLost; both are ClientErrors. What may be repeated is, as long as `patience` lasts.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        patience: Patience | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if httpx.URL(base_url).scheme not in ("http", "https"):
            raise ClientError(f"The API's address must start with http:// or https://, not be {base_url!r}.")
        self._http = AsyncTransport(
            base_url, api_key=api_key, patience=patience, transport=transport, sleep=sleep
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    async def submit(
        self,
        paths: Iterable[str | os.PathLike[str] | UploadFile],
        options: Mapping[str, Any] | None = None,
    ) -> AsyncJob:
        """Create a job from photos and folders, upload them a few at once, and start it.

        What is sent of a folder, and what the job has in `refused` and `skipped`, is as in `Fathom.submit`.
        Raises ClientError if there is no photo to send; nothing is left on the server then.
        """
        album = refuse_empty(await asyncio.to_thread(find_readable, paths))
        job = await self._create(announcement(album.files, options or {}))
        job.refused, job.skipped = tuple(album.refused), album.skipped
        try:
            await job._upload(album.files)
        except BaseException:
            # What was announced will never be complete: do not leave it behind.
            await asyncio.shield(job._discard())
            raise
        return job

    async def submit_sources(
        self, addresses: Iterable[str], options: Mapping[str, Any] | None = None
    ) -> AsyncJob:
        """Create a job from photos that lie where the server reads them, as `Fathom.submit_sources` does."""
        return await self._create(sourcing(addresses, options or {}))

    async def _create(self, body: Mapping[str, Any]) -> AsyncJob:
        answer = await self._http.json("POST", "/v1/jobs", repeatable=True, headers=new_key(), json=body)
        return AsyncJob(self._http, JobStatus.from_json(answer))

    async def job(self, job_id: str) -> AsyncJob:
        """Return a job that exists on the server."""
        answer = await self._http.json("GET", f"/v1/jobs/{quote(job_id, safe='')}")
        return AsyncJob(self._http, JobStatus.from_json(answer))

    async def jobs(self) -> AsyncIterator[JobStatus]:
        """Yield all jobs, the newest first."""
        async for item in self._http.pages("/v1/jobs", "jobs", {"limit": 100}):
            yield JobStatus.from_json(item)


class AsyncJob:
    """One job of a server, with its state as last heard of in `status`."""

    def __init__(self, http: AsyncTransport, status: JobStatus) -> None:
        self._http = http
        self.status = status
        #: As in `JobHandle`: photos that were not sent, and files that are none.
        self.refused: tuple[ImageResult, ...] = ()
        self.skipped = Skipped()

    @property
    def id(self) -> str:
        return self.status.id

    @property
    def _path(self) -> str:
        return f"/v1/jobs/{self.id}"

    async def refresh(self) -> JobStatus:
        """Ask the server how the job stands."""
        self.status = JobStatus.from_json(await self._http.json("GET", self._path))
        return self.status

    async def wait(
        self, on_progress: OnProgress = ignore, *, progress: bool = False, on_lost: OnLost = ignore
    ) -> AsyncJob:
        """Wait until the job has ended, and return it; as patient as `JobHandle.wait`."""
        if progress:
            with show_progress(quiet=False).line("processing", self.status.total, "images") as line:
                return await self.wait(line.follow, on_lost=on_lost)
        poll, deadline = _FIRST_POLL, time.monotonic() + WAIT_PATIENCE
        while True:
            try:
                status = await self.refresh()
            except ConnectionLost as exc:
                if time.monotonic() >= deadline:
                    raise
                on_lost(exc)
            else:
                deadline = time.monotonic() + WAIT_PATIENCE
                on_progress(status)
                if status.ended:
                    return self
            await self._http.sleep(poll)
            poll = min(poll * 1.3, _LONGEST_POLL)

    async def images(self, state: str | None = None) -> AsyncIterator[ImageResult]:
        """Yield the job's images by index; with `state`, only those in it."""
        params = {"limit": _PAGE} | ({"state": state} if state else {})
        async for item in self._http.pages(f"{self._path}/images", "images", params):
            yield ImageResult.from_json(item)

    async def download(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write all outputs below `directory` under the photos' own names, and return their paths.

        Raises NotWritten for what cannot be written; all else is there then.
        """
        root = Path(directory)
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root) as spool:
                await self._fetch_archive(spool)
                with zipfile.ZipFile(spool) as archive:
                    return await asyncio.to_thread(extract_all, archive, root)

    async def _fetch_archive(self, spool: IO[bytes]) -> None:
        for _ in range(BODY_TRIES - 1):
            # The last try, below, may raise.
            with suppress(BodyLost):
                return await self._fetch_archive_once(spool)
        return await self._fetch_archive_once(spool)

    async def _fetch_archive_once(self, spool: IO[bytes]) -> None:
        spool.seek(0)
        spool.truncate()
        async with self._http.stream(f"{self._path}/archive") as response:
            async for chunk in response.aiter_bytes(_CHUNK):
                await asyncio.to_thread(spool.write, chunk)

    async def cancel(self) -> JobStatus:
        """Stop the job within one image; what is done stays."""
        return await self._act("cancel")

    async def pause(self) -> JobStatus:
        return await self._act("pause")

    async def resume(self) -> JobStatus:
        return await self._act("resume")

    async def retry(self) -> JobStatus:
        """Queue the failed images of an ended job once more."""
        return await self._act("retry")

    async def delete(self) -> None:
        """Forget the job and delete its files on the server."""
        await self._http.json("DELETE", self._path)

    async def _act(self, action: str) -> JobStatus:
        self.status = JobStatus.from_json(await self._http.json("POST", f"{self._path}/{action}"))
        return self.status

    async def _discard(self) -> None:
        # If this fails, it expires by itself.
        with suppress(ClientError):
            await self.delete()

    async def _upload(self, files: Sequence[UploadFile]) -> None:
        """Upload what the server lacks, in rounds for as long as they gain anything, and start the job."""
        lacking = len(files) + 1
        for _ in range(_MAX_ROUNDS):
            missing = [item async for item in self._http.pages(f"{self._path}/uploads", "uploads", {})]
            if missing and len(missing) >= lacking:
                break
            lacking = len(missing)
            await self._put_all(missing, files)
            if await self._start():
                return
        raise ClientError(f"Job {self.id} still lacks uploads.")

    async def _put_all(self, missing: Sequence[Mapping[str, Any]], files: Sequence[UploadFile]) -> None:
        free = asyncio.Semaphore(THREADS)

        async def put(item: Mapping[str, Any]) -> None:
            async with free:
                await self._http.put(item["url"], files[item["index"]].path)

        try:
            async with asyncio.TaskGroup() as group:
                for item in missing:
                    group.create_task(put(item))
        except* (ClientError, OSError) as failed:
            # The first reason is enough, and is what a caller can name in an `except`.
            raise _first(failed) from None

    async def _start(self) -> bool:
        try:
            await self._http.json("POST", f"{self._path}/start", repeatable=True)
        except ApiError as exc:
            if exc.code == "uploads_missing":
                return False
            raise
        return True


def _first(failed: BaseExceptionGroup[ClientError | OSError]) -> Exception:
    reason = failed.exceptions[0]
    while isinstance(reason, BaseExceptionGroup):
        reason = reason.exceptions[0]
    if isinstance(reason, OSError):
        return ClientError(f"Cannot read {reason.filename}: {reason.strerror or reason}.")
    return reason
