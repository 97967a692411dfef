"""Run an embedded stack for a benchmark, and run albums on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.album import AlbumPhoto
from fathom.models import UploadFile
from fathom.sync_client import Fathom

OPTIONS = {"heatmap_format": "jpeg"}
_POLL = 0.02
_READY_WITHIN = 180.0


@dataclass(frozen=True, kw_only=True)
class RunningStack:
    """A running `fathom up`."""

    folder: Path
    #: The process of `fathom up`, above all others.
    pid: int

    @property
    def info(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "stack.json").read_text()))

    @property
    def worker(self) -> int:
        return int(self.info["pids"]["workers"][0])

    def children(self) -> list[int]:
        """Return the children of the only worker, which process the images."""
        return processes.children(self.worker)

    def others(self) -> list[int]:
        """Return every other process of the stack: servers, API, and the parent of the worker."""
        pids = self.info["pids"]
        apis = processes.descendants(pids["api"])
        return [pids["redis"], pids["s3"], *apis, self.worker]


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """The time that an album took, in seconds."""

    images: int
    #: From the submission to the end of the job.
    wall: float
    children_cpu: float
    others_cpu: float

    def summary(self) -> dict[str, float]:
        return {
            "images": self.images,
            "wall_images_per_second": round(self.images / self.wall, 2),
            "images_per_second_of_worker_cpu": round(self.images / self.children_cpu, 2),
            "worker_cpu_ms_per_image": round(1000 * self.children_cpu / self.images, 1),
            "servers_cpu_ms_per_image": round(1000 * self.others_cpu / self.images, 1),
            "busy": round(self.children_cpu / self.wall, 3),
        }


def run_album(fathom: Fathom, stack: RunningStack, album: Sequence[Path]) -> JobRun:
    """Run an album as one job, and delete the job."""
    job = fathom.submit(name_files(album), OPTIONS)
    began = time.monotonic()
    children, others = stack.children(), stack.others()
    cpu = processes.cpu_seconds(children), processes.cpu_seconds(others)
    done = job.refresh().succeeded
    poll("The end of the job", lambda: job.refresh().ended, every=0.1)
    wall = time.monotonic() - began
    used = processes.cpu_seconds(children) - cpu[0], processes.cpu_seconds(others) - cpu[1]
    if job.status.succeeded != len(album):
        raise SystemExit(f"{job.status.failed} of {len(album)} photos failed.")
    job.delete()
    return JobRun(images=len(album) - done, wall=wall, children_cpu=used[0], others_cpu=used[1])


def name_files(album: Sequence[Path]) -> list[UploadFile]:
    return [UploadFile(path=path, name=f"{number}{path.suffix}") for number, path in enumerate(album)]


def write_pictures(folder: Path, pictures: Iterator[AlbumPhoto]) -> list[Path]:
    paths = []
    for picture in pictures:
        paths.append(folder / picture.name)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(picture.data)
    return paths


@contextmanager
def run_stack(
    folder: Path, *, concurrency: int, environ: Mapping[str, str] | None = None
) -> Iterator[RunningStack]:
    """Run `fathom up` while the block runs, with `environ` added to its environment."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "fathom.cli", "up", "--port", "0", "--data", str(folder)]
    command += ["--workers", "1", "--concurrency", str(concurrency)]
    with (folder / "up.log").open("wb") as log:
        everything = {**os.environ, **(environ or {})}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=everything)
    try:
        ready = folder / "stack.json"
        poll("The stack", lambda: ready.exists() or process.poll() is not None, seconds=_READY_WITHIN)
        if process.poll() is not None:
            raise SystemExit((folder / "up.log").read_text())
        yield RunningStack(folder=folder, pid=process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def poll(what: str, check: Callable[[], bool], *, seconds: float = 600.0, every: float = _POLL) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:g} s.")
        time.sleep(every)
