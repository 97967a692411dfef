"""The Python client: `Fathom("http://127.0.0.1:8080").submit(["album"]).wait().download("out")`.

It speaks HTTP and nothing else, so it needs no part of the server installed. What it does is written once, in
`fathom.async_client` and `fathom.uploads`; here it runs over a blocking backend.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from fathom.async_client import AsyncJob, OnLost, OnProgress
from fathom.backends import BlockingBackend, BlockingTransport, iterate, run
from fathom.files import Album, find_readable, refuse_empty
from fathom.models import ImageResult, JobStatus, ModelInfo, UploadFile
from fathom.photos.skipped import Skipped
from fathom.proxies import ProxyTransport
from fathom.transport import Patience, Transport
from fathom.uploads import (
    OnBytes,
    announce,
    fits_one_request,
    ignore,
    post_archive,
    post_files,
    post_one_by_one,
    post_sources,
    upload_missing,
    with_preset,
)


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
        self._http = Transport(
            base_url,
            api_key=api_key,
            patience=patience,
            backend=BlockingBackend(sleep),
            transport=BlockingTransport(transport or ProxyTransport()),
        )

    def __enter__(self) -> Fathom:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        run(self._http.close())

    @property
    def base_url(self) -> httpx.URL:
        return self._http.base_url

    def submit(
        self,
        paths: Iterable[str | os.PathLike[str] | UploadFile],
        options: Mapping[str, Any] | None = None,
        *,
        preset: str | None = None,
        on_bytes: OnBytes = ignore,
    ) -> JobHandle:
        """Create a job from photos and folders, and upload them.

        `options` are as in the API: `{"outputs": ["stereo"], "stereo": {"layout": "cross"}}`. They go over
        those of a `preset` (`fathom.options.PRESETS`), such as `vr`.

        An UploadFile is sent under its own name. Of a folder all photos are sent, under their paths in
        it. Photos that can give no depth map are not sent: they are in the job's `refused`. Files that are no
        photos are counted in its `skipped`. A small album goes in one request, a larger one file by file.
        `on_bytes` hears of bytes as they leave, from several threads; bytes sent again count again.

        Raises ClientError if there is no photo to send.
        """
        album = refuse_empty(find_readable(paths))
        return self.submit_album(album, options, preset=preset, on_bytes=on_bytes)

    def submit_album(
        self,
        album: Album,
        options: Mapping[str, Any] | None = None,
        *,
        preset: str | None = None,
        on_bytes: OnBytes = ignore,
    ) -> JobHandle:
        """Create a job from what was found by `fathom.files`; as `submit` does."""
        post = post_files if fits_one_request(album.files) else post_one_by_one
        job = self._job(run(post(self._http, album.files, with_preset(options, preset), on_bytes)))
        job.refused, job.skipped = tuple(album.refused), album.skipped
        return job

    def submit_archive(
        self,
        archive: str | os.PathLike[str],
        options: Mapping[str, Any] | None = None,
        *,
        preset: str | None = None,
        on_bytes: OnBytes = ignore,
    ) -> JobHandle:
        """Create a job from a ZIP file, which the server unpacks."""
        return self._job(run(post_archive(self._http, Path(archive), with_preset(options, preset), on_bytes)))

    def submit_sources(
        self,
        addresses: Iterable[str],
        options: Mapping[str, Any] | None = None,
        *,
        preset: str | None = None,
    ) -> JobHandle:
        """Create a job from photos that the server reads itself.

        An address is `https://...`, `s3://bucket/key`, or `s3://bucket/prefix/` for all photos below it.
        """
        return self._job(run(post_sources(self._http, addresses, with_preset(options, preset))))

    def announce(
        self, files: Sequence[UploadFile], options: Mapping[str, Any], *, token: str | None = None
    ) -> JobHandle:
        """Create a job that waits for its photos; `JobHandle.upload` sends them.

        Announced again with the same `token`, and the same files and options, it is the same job.
        """
        return self._job(run(announce(self._http, files, options, token=token)))

    def job(self, job_id: str) -> JobHandle:
        """Return a job that exists on the server."""
        return self._job(run(self._http.json("GET", f"/v1/jobs/{quote(job_id, safe='')}")))

    def jobs(self) -> Iterator[JobStatus]:
        """Yield all jobs, the newest first."""
        yield from map(JobStatus.from_json, iterate(self._http.pages("/v1/jobs", "jobs", limit=100)))

    def models(self) -> list[ModelInfo]:
        """Return the networks that jobs may name, and which of them workers serve now.

        A job with `{"model": "dpt_large"}` is refused if none serves that: the ApiError has the code
        `model_unavailable`.
        """
        answer = run(self._http.json("GET", "/v1/models"))
        return [ModelInfo.from_json(item) for item in answer["models"]]

    def _job(self, answer: Mapping[str, Any]) -> JobHandle:
        return JobHandle(AsyncJob(self._http, JobStatus.from_json(answer)))


class JobHandle:
    """One job of a server, with its state as last heard of in `status`."""

    def __init__(self, job: AsyncJob) -> None:
        self._job = job
        #: Photos that were not sent with this job because they can give no depth map, each with its reason.
        self.refused: tuple[ImageResult, ...] = ()
        #: Files that were not sent because they are no photos.
        self.skipped = Skipped()

    @property
    def status(self) -> JobStatus:
        return self._job.status

    @property
    def id(self) -> str:
        return self._job.id

    def refresh(self) -> JobStatus:
        """Ask the server how the job stands."""
        return run(self._job.refresh())

    def upload(self, files: Sequence[UploadFile], on_bytes: OnBytes = ignore) -> None:
        """Upload what an announced job still lacks of its files, which are given as announced; start it.

        Raises ClientError with the reason of the first upload that failed for good.
        """
        run(upload_missing(self._job._http, self.id, files, on_bytes))

    def wait(
        self, on_progress: OnProgress = ignore, *, progress: bool = False, on_lost: OnLost = ignore
    ) -> JobHandle:
        """Wait until the job has ended, and return this handle.

        With `progress`, show a bar on standard error. If the server is away, wait up to ten
        minutes for it; `on_lost` hears of each try that failed, then ConnectionLost is raised.
        """
        run(self._job.wait(on_progress, progress=progress, on_lost=on_lost))
        return self

    def images(self, state: str | None = None) -> Iterator[ImageResult]:
        """Yield the job's images by index; with `state`, only those in it."""
        return iterate(self._job.images(state))

    def ask_skipped(self) -> Skipped:
        """Ask the server which files in the job's archives and prefixes are no photos."""
        return run(self._job.ask_skipped())

    def save(self, url: str, path: Path, *, replace: bool = False) -> bool:
        """Write an output to `path`, whole or not at all; return whether it was written.

        Unless `replace`, a file of the same size is kept. Raises NotWritten.
        """
        return run(self._job.save(url, path, replace=replace))

    def download(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write all outputs below `directory` under the photos' own names, and return their paths.

        Fetches the job's ZIP, whose names the server has made safe and unique. Raises NotWritten for the
        first file that cannot be written, once all others are.
        """
        return run(self._job.download(directory))

    def cancel(self) -> JobStatus:
        """Stop the job within one image; finished results stay."""
        return run(self._job.cancel())

    def pause(self) -> JobStatus:
        return run(self._job.pause())

    def resume(self) -> JobStatus:
        return run(self._job.resume())

    def retry(self) -> JobStatus:
        """Queue the failed images of an ended job once more."""
        return run(self._job.retry())

    def delete(self) -> None:
        """Forget the job and delete its files on the server."""
        run(self._job.delete())
