"""Fetching a job's outputs file by file: in parallel, resumable, and never outside the folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fathom.files import NotWritten, below, inside
from fathom.models import ImageResult
from fathom.parallel import map_unordered
from fathom.sync_client import JobHandle


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file to fetch: where it is, and where it goes."""

    url: str
    path: Path
    #: What `path` must not lead out of, by whatever links.
    root: Path | None = None
    #: The image it is a result of.
    index: int = -1


def _raise(_: Wanted, error: NotWritten) -> None:
    raise error


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
        Wanted(url=url, path=below(root, by_output[output]), root=root, index=image.index)
        for image, by_output in zip(images, paths, strict=True)
        for output, url in image.outputs.items()
        if output in by_output and output not in left_out
    ]


def fetch_all(
    job: JobHandle, wanted: Iterable[Wanted], *, fail: Callable[[Wanted, NotWritten], None] = _raise
) -> Iterator[bool]:
    """Fetch files, a few at once; yields for each whether it was new.

    A file that is there already with the same size is left as it is. One that cannot be written is
    given to `fail`, which raises by default.
    """
    for file, outcome in map_unordered(partial(_fetch, job), wanted):
        if isinstance(outcome, NotWritten):
            fail(file, outcome)
        yield outcome is True


def _fetch(job: JobHandle, file: Wanted) -> tuple[Wanted, bool | NotWritten]:
    try:
        if file.root is not None:
            inside(file.root, file.path.relative_to(file.root).as_posix())
        return file, job.save(file.url, file.path)
    except NotWritten as exc:
        return file, exc
