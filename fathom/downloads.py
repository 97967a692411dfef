"""Fetch a job's outputs file by file: in parallel, resumable, and never outside the folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fathom.files import NotWritten, inside
from fathom.models import ImageResult
from fathom.parallel import map_unordered
from fathom.sync_client import JobHandle

#: An image and the relative paths for its outputs, by the output's name.
Wanted = tuple[ImageResult, Mapping[str, str]]


def fetch_all(
    job: JobHandle, wanted: Iterable[Wanted], root: Path, *, replace: bool = False
) -> Iterator[tuple[Wanted, list[NotWritten]]]:
    """Fetch outputs into `root`, several images at once; yield each, and why some of its files are missing.

    Unless `replace`, a file of the same size is kept. Raises ClientError for a path that leaves `root`.
    """

    def fetch(each: Wanted) -> tuple[Wanted, list[NotWritten]]:
        image, paths = each
        errors = []
        for output, path in paths.items():
            try:
                job.save(image.outputs[output], inside(root, path), replace=replace)
            except NotWritten as exc:
                errors.append(exc)
        return each, errors

    return map_unordered(fetch, wanted)
