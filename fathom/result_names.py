"""File names for results: in the object store, and from the names people gave, made safe and unique.

The latter are used wherever results leave Fathom as files: the ZIP of a job, `fathom download`
and `fathom run`. One rule, so that all three give the same tree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fathom.options import HeatmapFormat, LayersFormat, Options, Output, StereoLayout

SIDECAR = "depth.json"


@dataclass(frozen=True)
class _Result:
    """What a file of a photo is called: in the object store, and after the photo's own name."""

    file: str
    ending: str
    #: The folder that holds these results of all photos, with `/`; empty if they have none of their own.
    folder: str = ""


_RESULTS = {
    Output.DEPTH16: _Result("depth16.png", ".depth16.png"),
    Output.PFM: _Result("depth.pfm", ".pfm"),
    Output.NPY: _Result("depth.npy", ".npy"),
    # Jobs that were stored before this output had its name have the file under this one.
    Output.COMPARISON: _Result("side_by_side.jpg", ".comparison.jpg"),
    Output.THUMBNAIL: _Result("thumbnail.jpg", ".thumbnail.jpg"),
    Output.EXR: _Result("depth.exr", ".exr"),
    Output.NORMALS: _Result("normals.png", ".normals.png"),
    Output.CONTROLNET: _Result("controlnet.png", ".controlnet.png"),
    Output.MESH: _Result("mesh.glb", ".glb"),
    Output.CLOUD: _Result("cloud.ply", ".ply"),
    Output.REFOCUS: _Result("refocus.jpg", ".refocus.jpg"),
    Output.EMBEDDED: _Result("embedded.jpg", ".embedded.jpg"),
}

#: By these ends of a file's name, players for headsets know how both views lie in it.
_STEREO_ENDINGS = {
    StereoLayout.SBS_FULL: "_LRF_Full_SBS.jpg",
    StereoLayout.SBS_HALF: "_LR.jpg",
    StereoLayout.TB_FULL: "_TBF_fulltb.jpg",
    StereoLayout.TB_HALF: "_TB.jpg",
    StereoLayout.CROSS: "_RLF_cross.jpg",
    StereoLayout.ANAGLYPH: "_redcyan.jpg",
    StereoLayout.RGBD: "_RGBD.jpg",
}

#: Characters no common file system takes, and control characters.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?\Z", re.IGNORECASE)
_MAX_PART_BYTES = 200
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}\Z")


def output_files(options: Options) -> dict[str, str]:
    """Map the name of every result of a photo, the sidecar `depth` included, to its file name.

    An output has one result, of its own name; a stereo pair has two, `stereo_left` and `stereo_right`, and
    layers with masks have `labels` too.
    """
    return {name: result.file for name, result in _results(options).items()}


def _results(options: Options) -> dict[str, _Result]:
    """Return all results of a photo by name, the sidecar last."""
    results: dict[str, _Result] = {}
    for output in options.outputs:
        results |= _results_of(output, options)
    return results | {"depth": _Result(SIDECAR, ".depth.json")}


def _results_of(output: Output, options: Options) -> dict[str, _Result]:
    match output:
        case Output.HEATMAP:
            kind = "jpg" if options.heatmap_format is HeatmapFormat.JPEG else "png"
            return {output: _Result(f"heatmap.{kind}", f".{kind}")}
        case Output.DEPTH16 if options.depth16.folder:
            return {output: _Result("depth16.png", ".png", options.depth16.folder + "/")}
        case Output.STEREO if options.stereo.layout is StereoLayout.PAIR:
            return {f"stereo_{eye}": _Result(f"stereo_{eye}.jpg", f"_{eye}.jpg") for eye in ("left", "right")}
        case Output.STEREO:
            ending = _STEREO_ENDINGS[options.stereo.layout]
            return {output: _Result(f"stereo{ending}", ending)}
        case Output.LAYERS:
            return _layers(options)
        case Output.CLIP:
            kind = options.clip.format
            return {output: _Result(f"clip.{kind}", f".clip.{kind}")}
        case _:
            return {output: _RESULTS[output]}


def _layers(options: Options) -> dict[str, _Result]:
    is_psd = options.layers.format is LayersFormat.PSD
    layers = _Result("layers.psd", ".psd") if is_psd else _Result("layers.zip", ".layers.zip")
    labels = {"labels": _Result("labels.json", ".labels.json")} if options.layers.masks else {}
    return {Output.LAYERS: layers, **labels}


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
    free = _FreePaths(safe, _results(options))
    return map(free.take, safe)


def safe_path(name: str) -> str:
    """Return `name` as a relative path with `/`, without any part that leaves the folder."""
    parts = [_safe_part(part) for part in re.split(r"[/\\]", name) if part.strip() not in ("", ".", "..")]
    return "/".join(parts) or "unnamed"


class _FreePaths:
    """The paths that no result has yet and no folder has ever."""

    def __init__(self, paths: Iterable[str], results: Mapping[str, _Result]) -> None:
        self._results = results
        folders = _folders(paths)
        tops = {result.folder for result in results.values()}
        self._taken = {_fold(top + folder) for top in tops for folder in folders}
        #: The last number given to a path, so that photos of one name are numbered in linear time.
        self._numbers: dict[str, int] = {}

    def take(self, path: str) -> dict[str, str]:
        """Return the first free paths for a photo's results, which are free no more."""
        for base in self._bases(path):
            paths = {name: result.folder + base + result.ending for name, result in self._results.items()}
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
