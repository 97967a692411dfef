"""Fetching a job's outputs file by file: in parallel, resumable, and never outside the folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from client.api import JobHandle
from client.files import inside
from client.models import ImageResult
from client.parallel import map_unordered

THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file to fetch: where it is, and where it goes."""

    url: str
    path: Path


def plan_downloads(
    images: Iterable[ImageResult],
    paths: Iterable[Mapping[str, str]],
    root: Path,
    *,
    left_out: frozenset[str] = frozenset(),
) -> list[Wanted]:
    """Return the files to fetch for images and their relative paths by output, both by index.

    Outputs named in `left_out` are not fetched. Raises ClientError for a path that leaves `root`.
    """
    return [
        Wanted(url=url, path=inside(root, by_output[output]))
        for image, by_output in zip(images, paths, strict=True)
        for output, url in image.outputs.items()
        if output in by_output and output not in left_out
    ]


def fetch_all(job: JobHandle, wanted: Iterable[Wanted]) -> Iterator[bool]:
    """Fetch files, a few at once; yields for each whether it was new.

    A file that is there already with the same size is left as it is.
    """
    return map_unordered(lambda file: job.save(file.url, file.path), wanted, threads=THREADS)
