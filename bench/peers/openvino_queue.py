"""OpenVINO as its manual recommends it for throughput: `AsyncInferQueue` and the throughput hint.

A pool of threads decodes ahead, the queue infers, and its callbacks hand the predictions to the
same pool, which draws the heatmaps. Each shape of photos gets a network compiled for it alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.peers.expert_photo import ExpertPhoto, draw_heatmap, read_photo
from bench.peers.folder_program import FolderArguments, read_arguments
from worker.model.openvino_import import import_openvino


class Queues:
    """One `AsyncInferQueue` for each shape of input, made when it is first seen."""

    def __init__(self, args: FolderArguments, pool: ThreadPoolExecutor) -> None:
        self._openvino = import_openvino()
        self._core = self._openvino.Core()
        self._args = args
        self._pool = pool
        self._queues: dict[tuple[int, ...], Any] = {}
        self._drawn: list[Future[None]] = []

    def infer(self, photo: ExpertPhoto, out: Path) -> None:
        """Start an inference as soon as a request is idle; its heatmap is drawn once it has ended."""
        shape = photo.batch.shape
        if shape not in self._queues:
            self._queues[shape] = self._make_queue(shape)
        self._queues[shape].start_async({0: photo.batch}, (photo, out))

    def wait(self) -> None:
        """Wait for all heatmaps. Raises what went wrong."""
        for queue in self._queues.values():
            queue.wait_all()
        for future in self._drawn:
            future.result()

    def _make_queue(self, shape: tuple[int, ...]) -> Any:
        model = self._core.read_model(self._args.model)
        model.reshape(list(shape))
        properties = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": self._args.precision,
            "INFERENCE_NUM_THREADS": self._args.cores,
        }
        queue = self._openvino.AsyncInferQueue(self._core.compile_model(model, "CPU", properties))
        queue.set_callback(self._take)
        return queue

    def _take(self, request: Any, userdata: tuple[ExpertPhoto, Path]) -> None:
        photo, out = userdata
        # The request is used again as soon as this returns.
        prediction = request.get_output_tensor().data[0].copy()
        self._drawn.append(self._pool.submit(_draw, prediction, photo.size, out))


def _read(path: Path) -> ExpertPhoto:
    return read_photo(path.read_bytes())


def _draw(prediction: NDArray[np.float32], size: tuple[int, int], out: Path) -> None:
    out.write_bytes(draw_heatmap(prediction, size))


def main() -> None:
    args = read_arguments(__doc__)
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(args.cores) as pool:
        queues = Queues(args, pool)
        for path, photo in _read_ahead(pool, args.photos, 2 * args.cores):
            queues.infer(photo, args.out / path.name)
        queues.wait()


def _read_ahead(
    pool: ThreadPoolExecutor, paths: Iterable[Path], ahead: int
) -> Iterator[tuple[Path, ExpertPhoto]]:
    """Yield each photo in order, while the pool reads this many more."""
    reading: deque[tuple[Path, Future[ExpertPhoto]]] = deque()
    for path in paths:
        reading.append((path, pool.submit(_read, path)))
        if len(reading) > ahead:
            first, future = reading.popleft()
            yield first, future.result()
    for first, future in reading:
        yield first, future.result()


if __name__ == "__main__":
    main()
