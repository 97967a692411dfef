"""The pipeline: a photo's bytes in, its result files out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Self

from fathom.options import DepthSource, Edges, Options, Size
from fathom.photos.formats import HEAD_BYTES, sniff_format
from fathom.result_names import SIDECAR, output_files
from shared.errors import NoEmbeddedDepth
from shared.jobs.job import Range
from shared.jobs.object_keys import content_type
from shared.networks import WayBack
from shared.settings import Settings
from worker.model.preprocess import network_size, prepare
from worker.pipeline.decode.decode import decode, limit_decoder_threads
from worker.pipeline.decode.labels import decode_labels
from worker.pipeline.decode.png_rows import Samples
from worker.pipeline.depth import DepthMap, own_range, upsample
from worker.pipeline.detail import inputs_of, merge
from worker.pipeline.edges import Guide, make_guide
from worker.pipeline.embedded.find import EmbeddedDepth, find_depth
from worker.pipeline.embedded.stored import DepthUnusable
from worker.pipeline.interruption import never, while_wanted
from worker.pipeline.memory import trim_heap
from worker.pipeline.outputs.catalogue import least_size_for, make, release_pixels
from worker.pipeline.outputs.rendering import Rendering
from worker.pipeline.photo import Floats, Limits, Photo, full_size
from worker.pipeline.scratch import Scratch
from worker.pipeline.sidecar import Facts, encode_sidecar
from worker.pipeline.stages import Stage, Stopwatch

if TYPE_CHECKING:
    from worker.model.engine import InferenceEngine

#: A photo larger than this leaves holes in the heap.
_LARGE_BYTES, _LARGE_PIXELS = 8 * 2**20, 16_000_000


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """A file made from a photo."""

    #: The output's name in the API; `depth` for the sidecar.
    output: str
    file_name: str
    content_type: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class _Own:
    """The depth that a photo itself holds, or why it is not used."""

    depth: EmbeddedDepth | None = None
    warning: str | None = None

    @property
    def format(self) -> str | None:
        return self.depth.format if self.depth else None


@dataclass(frozen=True, kw_only=True)
class _Predicted:
    """A photo and its prediction. The map's values live in the scratch buffers."""

    photo: Photo
    #: Height and width of what the map was made from.
    cells: tuple[int, int]
    #: Height and width of every input that the network was given.
    network_sizes: tuple[tuple[int, int], ...]
    depth: DepthMap
    #: The photo's own depth if that was used.
    own: _Own


class Pipeline:
    """Turns photos into results, one at a time, on one thread.

    It keeps large buffers from photo to photo, so a pipeline must not be shared between
    threads. The same photo, options and engine give the same bytes, but for those of an MP4.
    """

    def __init__(self, engine: InferenceEngine, *, limits: Limits, exact: bool = False) -> None:
        """`exact` decodes every pixel of a JPEG even where a smaller picture would do."""
        self._engine = engine
        self._limits = limits
        self._exact = exact
        self._scratch = Scratch()
        self._stopwatch = Stopwatch()
        limit_decoder_threads()

    @classmethod
    def from_settings(cls, engine: InferenceEngine, settings: Settings) -> Self:
        return cls(engine, limits=Limits.from_settings(settings), exact=settings.decode == "exact")

    @property
    def seconds(self) -> Mapping[Stage, float]:
        """Seconds spent in each stage on the latest photo, even if it failed."""
        return self._stopwatch.seconds

    def measure(self, data: bytes, options: Options) -> Range:
        """Return the range that a photo adds to the common range of its job.

        It is the range that `render` would use by default, after clipping at the percentiles.
        Raises as `render` does.
        """
        return own_range(self._predict(data, options).depth, options.percentiles)

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]:
        """Return a photo's result files, the sidecar last: it marks the others as complete.

        `common`, the range of a job, replaces the photo's own range in heatmaps. `labels` is the file of the
        photo's label picture: a PNG, upright, whose gray values or palette indices number the things in the
        photo, 0 for none. Only layers with masks use it. `is_unwanted` is asked before every result, and
        before every frame of a clip.

        Raises an ImageError for a photo or labels that cannot be processed, ModelError, and Interrupted once
        the results are not wanted.
        """
        predicted = self._predict(data, options)
        span = common or own_range(predicted.depth, options.percentiles)
        files = self._make_files(data, labels, predicted, options, span, is_unwanted)
        facts = Facts(
            info=self._engine.info,
            options=options,
            photo=predicted.photo,
            depth=predicted.depth,
            span=span,
            common=common is not None,
            cells=predicted.cells,
            network_sizes=predicted.network_sizes,
            embedded_format=predicted.own.format,
            warning=predicted.own.warning,
            sha256=hashlib.sha256(data).hexdigest(),
        )
        if len(data) > _LARGE_BYTES or predicted.photo.height * predicted.photo.width > _LARGE_PIXELS:
            trim_heap()
        return (*files, _file("depth", SIDECAR, encode_sidecar(facts)))

    def _make_files(
        self,
        data: bytes,
        labels: bytes | None,
        predicted: _Predicted,
        options: Options,
        span: Range,
        is_unwanted: Callable[[], bool],
    ) -> list[ResultFile]:
        rendering = Rendering(
            source=data,
            labels=self._decode_labels(labels, predicted.photo, options),
            photo=predicted.photo,
            depth=predicted.depth,
            span=span,
            options=options,
            info=self._engine.info,
            embedded_format=predicted.own.format,
            scratch=self._scratch,
            stopwatch=self._stopwatch,
            is_unwanted=is_unwanted,
        )
        files = {name: file for name, file in output_files(options).items() if name != "depth"}
        return [_file(name, files[name], make(name, rendering)) for name in while_wanted(files, is_unwanted)]

    def _decode_labels(self, labels: bytes | None, photo: Photo, options: Options) -> Samples | None:
        if labels is None or not options.need_labels:
            return None
        with self._stopwatch.time(Stage.DECODE):
            return decode_labels(labels, photo.height, photo.width, self._limits)

    def _predict(self, data: bytes, options: Options) -> _Predicted:
        self._stopwatch = watch = Stopwatch()
        found = sniff_format(data[:HEAD_BYTES])
        preprocessing = self._engine.info.network.preprocessing
        inputs = inputs_of(preprocessing, options.quality)
        largest = partial(network_size, preprocessing=inputs[-1])
        least_size = full_size if self._exact else least_size_for(options, largest, found)
        with watch.time(Stage.DECODE):
            photo = decode(data, self._limits, least_size=least_size)
            own = self._find_own(data, photo, options)
        if own.depth:
            return self._take_own(own, own.depth.values, photo, options)
        with watch.time(Stage.PREPARE):
            batches = [prepare(photo.rgb, each) for each in inputs]
            sizes = tuple((batch.shape[2], batch.shape[3]) for batch in batches)
            guide = _guide(photo, sizes[-1], options)
        photo = release_pixels(photo, options)
        with watch.time(Stage.INFER):
            predictions = [self._engine.predict(batch) for batch in batches]
        with watch.time(Stage.UPSAMPLE):
            depth = self._upsample(reduce(merge, predictions), photo, guide, options, preprocessing.way_back)
        return _Predicted(photo=photo, cells=sizes[-1], network_sizes=sizes, depth=depth, own=own)

    def _find_own(self, data: bytes, photo: Photo, options: Options) -> _Own:
        """Look for depth in a photo, if the options want it. Raises NoEmbeddedDepth if they require it."""
        if options.depth_source is DepthSource.MODEL:
            return _Own()
        try:
            found = find_depth(data, photo, self._limits)
        except DepthUnusable as exc:
            if options.depth_source is DepthSource.EMBEDDED:
                raise NoEmbeddedDepth(f"The depth in the photo cannot be used. {exc}") from exc
            return _Own(warning=f"The depth in the photo cannot be used, so the network's is. {exc}")
        if found is None and options.depth_source is DepthSource.EMBEDDED:
            raise NoEmbeddedDepth
        return _Own(depth=found)

    def _take_own(self, own: _Own, values: Floats, photo: Photo, options: Options) -> _Predicted:
        """Use the photo's own depth as it is: it was measured on the photo, and has its edges."""
        photo = release_pixels(photo, options)
        with self._stopwatch.time(Stage.UPSAMPLE):
            depth = self._upsample(values, photo, None, options)
        height, width = values.shape
        return _Predicted(photo=photo, cells=(height, width), network_sizes=(), depth=depth, own=own)

    def _upsample(
        self,
        prediction: Floats,
        photo: Photo,
        guide: Guide | None,
        options: Options,
        way_back: WayBack = WayBack.CUBIC,
    ) -> DepthMap:
        original = options.size is Size.ORIGINAL
        height, width = (photo.height, photo.width) if original else prediction.shape
        return upsample(prediction, height, width, self._scratch, guide, way_back)


def _guide(photo: Photo, cells: tuple[int, int], options: Options) -> Guide | None:
    """Return what a map of the photo's size needs to know of it, if its edges are to follow the photo's."""
    if options.edges is not Edges.SNAP or options.size is not Size.ORIGINAL:
        return None
    return make_guide(photo.rgb, photo.height, photo.width, cells)


def _file(output: str, file_name: str, data: bytes) -> ResultFile:
    return ResultFile(output=output, file_name=file_name, content_type=content_type(file_name), data=data)
