"""The Python client for programs on asyncio: `async with AsyncFathom() as fathom: ...`.

The same names as in `fathom.sync_client`, with `await` before what speaks to the server.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import zipfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar
from urllib.parse import quote

import httpx

from fathom.backends import AsyncioBackend
from fathom.errors import BodyLost, ConnectionLost
from fathom.files import atomic_file, extract_all, file_size, find_readable, refuse_empty, writing
from fathom.models import ImageResult, JobStatus, ModelInfo, UploadFile
from fathom.photos.skipped import Skipped
from fathom.progress import show_progress
from fathom.proxies import AsyncProxyTransport
from fathom.transport import Patience, Transport
from fathom.uploads import ignore, post_one_by_one, post_sources, with_preset

#: How long a wait outlives a server that is away, in seconds.
WAIT_PATIENCE = 600.0
#: Times that a file is asked for when the connection breaks in the middle of it.
BODY_TRIES = 5
_FIRST_POLL, _LONGEST_POLL = 0.1, 1.0
_PAGE = 1000
_CHUNK = 2**16

T = TypeVar("T")
OnProgress = Callable[[JobStatus], None]
OnLost = Callable[[ConnectionLost], None]


class AsyncFathom:
    """A Fathom server, for asyncio. Close it, or use it in an `async with` block.

    Every method may raise ApiError (the server refused, with a stable `code`) and
    ConnectionLost; both are ClientErrors. Requests that may be repeated are, as long as `patience` lasts.
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
        self._http = Transport(
            base_url,
            api_key=api_key,
            patience=patience,
            backend=AsyncioBackend(sleep),
            transport=transport or AsyncProxyTransport(),
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
        *,
        preset: str | None = None,
    ) -> AsyncJob:
        """Create a job from photos and folders, upload them a few at once, and start it.

        It takes from a folder, and reports in the job's `refused` and `skipped`, what `Fathom.submit` does;
        `options` and `preset` are as there.
        If it fails or is cancelled, nothing is left on the server. Raises ClientError if there is no photo to
        send.
        """
        album = refuse_empty(await asyncio.to_thread(find_readable, paths))
        job = self._job(await post_one_by_one(self._http, album.files, with_preset(options, preset)))
        job.refused, job.skipped = tuple(album.refused), album.skipped
        return job

    async def submit_sources(
        self,
        addresses: Iterable[str],
        options: Mapping[str, Any] | None = None,
        *,
        preset: str | None = None,
    ) -> AsyncJob:
        """Create a job from photos that the server reads itself, as `Fathom.submit_sources` does."""
        return self._job(await post_sources(self._http, addresses, with_preset(options, preset)))

    async def job(self, job_id: str) -> AsyncJob:
        """Return a job that exists on the server."""
        return self._job(await self._http.json("GET", f"/v1/jobs/{quote(job_id, safe='')}"))

    async def jobs(self) -> AsyncGenerator[JobStatus]:
        """Yield all jobs, the newest first."""
        async for item in self._http.pages("/v1/jobs", "jobs", limit=100):
            yield JobStatus.from_json(item)

    async def models(self) -> list[ModelInfo]:
        """Return the networks that jobs may name, and which of them workers serve now."""
        answer = await self._http.json("GET", "/v1/models")
        return [ModelInfo.from_json(item) for item in answer["models"]]

    def _job(self, answer: Mapping[str, Any]) -> AsyncJob:
        return AsyncJob(self._http, JobStatus.from_json(answer))


class AsyncJob:
    """One job of a server, with its state as last heard of in `status`."""

    def __init__(self, http: Transport, status: JobStatus) -> None:
        self._http = http
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
            await self._http.backend.sleep(poll)
            poll = min(poll * 1.3, _LONGEST_POLL)

    async def images(self, state: str | None = None) -> AsyncGenerator[ImageResult]:
        """Yield the job's images by index; with `state`, only those in it."""
        params: dict[str, Any] = {"limit": _PAGE} | ({"state": state} if state else {})
        async for item in self._http.pages(f"{self._path}/images", "images", **params):
            yield ImageResult.from_json(item)

    async def ask_skipped(self) -> Skipped:
        """Ask the server which files in the job's archives and prefixes are no photos."""
        return Skipped.from_row(await self._http.json("GET", f"{self._path}/skipped"))

    async def save(self, url: str, path: Path, *, replace: bool = False) -> bool:
        """Write an output to `path`, whole or not at all, as `JobHandle.save` does."""
        return await _repeat_lost(lambda: self._save_once(url, path, replace=replace))

    async def _save_once(self, url: str, path: Path, *, replace: bool) -> bool:
        async with self._http.stream(url) as response:
            size = response.headers.get("Content-Length")
            if not replace and size is not None and file_size(path) == int(size):
                return False
            with atomic_file(path) as file:
                await self._copy(response, file)
        return True

    async def download(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write all outputs below `directory` under the photos' own names, and return their paths.

        Raises NotWritten for the first file that cannot be written, once all others are.
        """
        root = Path(directory)
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root) as spool:
                await _repeat_lost(lambda: self._fetch_archive(spool))
                with zipfile.ZipFile(spool) as archive:
                    return await self._http.backend.call(extract_all, archive, root)

    async def _fetch_archive(self, spool: IO[bytes]) -> None:
        spool.seek(0)
        spool.truncate()
        async with self._http.stream(f"{self._path}/archive") as response:
            await self._copy(response, spool)

    async def _copy(self, response: httpx.Response, file: IO[bytes]) -> None:
        async for chunk in response.aiter_bytes(_CHUNK):
            await self._http.backend.call(file.write, chunk)

    async def cancel(self) -> JobStatus:
        """Stop the job within one image; finished results stay."""
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


async def _repeat_lost(fetch: Callable[[], Awaitable[T]]) -> T:
    """Fetch a body again if its connection breaks in the middle, a few times."""
    for _ in range(BODY_TRIES - 1):
        # The last try, below, may raise.
        with suppress(BodyLost):
            return await fetch()
    return await fetch()
