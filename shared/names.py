"""File names for results: from the names people gave, made safe and unique.

Used wherever results leave Fathom as files: the ZIP of a job, `fathom download`
and `fathom run`. One rule, so that all three give the same tree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from shared.layout import output_files
from shared.options import Options

#: Characters no common file system takes, and control characters.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?\Z", re.IGNORECASE)
_MAX_PART_BYTES = 200
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}\Z")


def result_names(names: Iterable[str], options: Options) -> Iterator[dict[str, str]]:
    """Yield for each photo the relative path of each of its results, by output name.

    `a/b.JPG` gives `a/b.png` for the heatmap and `a/b.depth16.png` for `depth16`.
    Where two photos would share a path (`b.jpg` beside `b.png`, or names that differ
    in case alone), the later one keeps its full name (`a/b.png.png`), then gets a
    number. Paths use `/`, never leave the folder, and are safe on every system.
    """
    files = output_files(options)
    taken: set[str] = set()
    for name in names:
        yield _first_free(name, files, taken)


def safe_path(name: str) -> str:
    """Return `name` as a relative path with `/`, without any part that leaves the folder."""
    parts = [_safe_part(part) for part in re.split(r"[/\\]", name) if part.strip() not in ("", ".", "..")]
    return "/".join(parts) or "unnamed"


def _first_free(name: str, files: dict[str, str], taken: set[str]) -> dict[str, str]:
    for base in _bases(safe_path(name)):
        paths = {output: base + _ending(output, file) for output, file in files.items()}
        folded = {_fold(path) for path in paths.values()}
        if taken.isdisjoint(folded):
            taken |= folded
            return paths
    raise AssertionError("the numbers never end")


def _bases(path: str) -> Iterator[str]:
    yield _SUFFIX.sub("", path) or path
    yield path
    number = 2
    while True:
        yield f"{path} ({number})"
        number += 1


def _ending(output: str, file: str) -> str:
    """Return `.png` for the heatmap, `.depth16.png` and the like for all else."""
    suffix = file[file.rindex(".") :]
    return suffix if output in ("heatmap", "pfm", "npy") else f".{output}{suffix}"


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _safe_part(part: str) -> str:
    part = _UNSAFE.sub("_", part).strip().rstrip(". ") or "_"
    if _RESERVED.match(part):
        part = "_" + part
    encoded = part.encode()
    if len(encoded) <= _MAX_PART_BYTES:
        return part
    suffix = _SUFFIX.search(part)
    ending = suffix.group() if suffix else ""
    return encoded[: _MAX_PART_BYTES - len(ending)].decode(errors="ignore") + ending
