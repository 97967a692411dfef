"""Fathom's own heatmaps of the photos, which those of the others are compared with."""

from __future__ import annotations

import dataclasses

from bench.peers.albums import Albums
from bench.peers.fathom_rows import OPTIONS
from bench.peers.judge import Expected, read_levels, read_size
from bench.peers.peer import Depth
from fathom.options import Options
from shared.settings import Settings
from worker.model.engines import load_engine
from worker.pipeline.pipeline import Pipeline


class References:
    """Makes them when they are first asked for, in f32."""

    def __init__(self, albums: Albums, settings: Settings) -> None:
        self._albums = albums
        self._settings = settings
        self._made: dict[tuple[str, Depth], list[Expected]] = {}

    def expect(self, size_class: str, depth: Depth) -> list[Expected]:
        """Return what the heatmap of each photo of a class must be like, in the order of an album."""
        key = size_class, depth
        if key not in self._made:
            pipeline = self._pipeline("exact" if depth is Depth.EXACT else "fast")
            photos = self._albums.pixels(size_class)
            self._made[key] = [_expect(photo, pipeline, depth) for photo in photos]
        return self._made[key]

    def _pipeline(self, decode: str) -> Pipeline:
        chosen = dataclasses.replace(self._settings, precision="f32", decode=decode)
        return Pipeline.from_settings(load_engine(chosen), chosen)


def _expect(photo: bytes, pipeline: Pipeline, depth: Depth) -> Expected:
    heatmap = pipeline.render(photo, Options.parse(OPTIONS))[0].data
    height, width = read_size(heatmap)
    levels = None if depth is Depth.OTHER else read_levels(heatmap)
    return Expected(height=height, width=width, levels=levels)
