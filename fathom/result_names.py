"""File names for results: in the object store, and from the names people gave, made safe and unique.

The latter are used wherever results leave Fathom as files: the ZIP of a job, `fathom download`
and `fathom run`. One rule, so that all three give the same tree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from fathom.options import HeatmapFormat, Options, Output

SIDECAR = "depth.json"
_FILES = {
    Output.DEPTH16: "depth16.png",
    Output.PFM: "depth.pfm",
    Output.NPY: "depth.npy",
    Output.SIDE_BY_SIDE: "side_by_side.jpg",
    Output.THUMBNAIL: "thumbnail.jpg",
}

#: Characters no common file system takes, and control characters.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?\Z", re.IGNORECASE)
_MAX_PART_BYTES = 200
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}\Z")


def output_file(output: Output, options: Options) -> str:
    """Return the file name of an output, which depends on the heatmap's format."""
    if output is Output.HEATMAP:
        return "heatmap.jpg" if options.heatmap_format is HeatmapFormat.JPEG else "heatmap.png"
    return _FILES[output]


def output_files(options: Options) -> dict[str, str]:
    """Map the name of every output of a job, the sidecar `depth` included, to its file name."""
    files = {str(output): output_file(output, options) for output in options.outputs}
    return files | {"depth": SIDECAR}


def result_names(names: Iterable[str], options: Options) -> Iterator[dict[str, str]]:
    """Yield for each photo the relative path of each of its results, by output name.

    `a/b.JPG` gives `a/b.png` for the heatmap and `a/b.depth16.png` for `depth16`.
    Where two photos would share a path (`b.jpg` beside `b.png`, or names that differ
    in case alone), the later one keeps its full name (`a/b.png.png`), then gets a
    number; so does a photo whose result would be called like a folder of others (`b.jpg`
    beside `b.png/c.jpg`). Paths use `/`, never leave the folder, and are safe on every system.

    A path depends on the names before it, and on all folders: so `names` must be all of them.
    """
    safe = [safe_path(name) for name in names]
    free = _FreePaths(safe, output_files(options))
    return map(free.take, safe)


def safe_path(name: str) -> str:
    """Return `name` as a relative path with `/`, without any part that leaves the folder."""
    parts = [_safe_part(part) for part in re.split(r"[/\\]", name) if part.strip() not in ("", ".", "..")]
    return "/".join(parts) or "unnamed"


class _FreePaths:
    """The paths that no result has yet and no folder has ever."""

    def __init__(self, paths: Iterable[str], files: Mapping[str, str]) -> None:
        self._endings = {output: _ending(output, file) for output, file in files.items()}
        self._taken = {_fold(folder) for folder in _folders(paths)}
        #: The last number given to a path, so that photos of one name are numbered in linear time.
        self._numbers: dict[str, int] = {}

    def take(self, path: str) -> dict[str, str]:
        """Return the first free paths for a photo's results, which are free no more."""
        for base in self._bases(path):
            paths = {output: base + ending for output, ending in self._endings.items()}
            folded = {_fold(path) for path in paths.values()}
            if self._taken.isdisjoint(folded):
                self._taken |= folded
                return paths
        raise AssertionError("the numbers never end")

    def _bases(self, path: str) -> Iterator[str]:
        yield _SUFFIX.sub("", path) or path
        yield path
        key = _fold(path)
        while True:
            self._numbers[key] = self._numbers.get(key, 1) + 1
            yield f"{path} ({self._numbers[key]})"


def _folders(paths: Iterable[str]) -> set[str]:
    """Return the folders that paths lie in, and the folders of those."""
    found: set[str] = set()
    for path in paths:
        folder, slash, _ = path.rpartition("/")
        # Those of a folder that was seen before were seen as well.
        while slash and folder not in found:
            found.add(folder)
            folder, slash, _ = folder.rpartition("/")
    return found


def _ending(output: str, file: str) -> str:
    """Return `.png` for the heatmap, `.depth16.png` and the like for all else."""
    suffix = file[file.rindex(".") :]
    return suffix if output in ("heatmap", "pfm", "npy") else f".{output}{suffix}"


def _fold(path: str) -> str:
    """Return what is the same of paths that a file system may take for one (Unicode 16.0, D145)."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _safe_part(part: str) -> str:
    part = _UNSAFE.sub("_", part).strip().rstrip(". ") or "_"
    if _RESERVED.match(part):
        part = "_" + part
    encoded = part.encode()
    if len(encoded) <= _MAX_PART_BYTES:
        return part
    suffix = _SUFFIX.search(part)
    ending = suffix.group() if suffix else ""
    return encoded[: _MAX_PART_BYTES - len(ending)].decode(errors="ignore").rstrip(". ") + ending
