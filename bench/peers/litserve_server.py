"""LitServe with the same network: `python -m bench.peers.litserve_server MODEL PORT`.

Takes a JPEG at /predict, and answers with the heatmap. Two workers
batch what waits; photos of a batch that have the same shape go through the network together.
"""

# Without `from __future__ import annotations`: LitServe reads the annotation of `decode_request` as it is.
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import litserve
import numpy as np
from fastapi import Body, Response
from numpy.typing import NDArray

from bench.peers.expert import load_session
from bench.peers.expert_photo import ExpertPhoto, draw_heatmap, read_photo

_WORKERS = 2
_MAX_BATCH = 4
_BATCH_SECONDS = 0.01

#: The body as it is. A form would need python-multipart, which brings a second package called `multipart`.
Jpeg = Annotated[bytes, Body(media_type="image/jpeg")]
Prediction = tuple[NDArray[np.float32], tuple[int, int]]


class DepthApi(litserve.LitAPI):
    """Reads a photo, infers a batch, draws a heatmap."""

    def __init__(self, model: Path) -> None:
        super().__init__(max_batch_size=_MAX_BATCH, batch_timeout=_BATCH_SECONDS)
        self._model = model

    def setup(self, device: str) -> None:
        """Load the network in a worker, with one thread."""
        cv2.setNumThreads(1)
        self._session = load_session(self._model)

    def decode_request(self, request: Jpeg) -> ExpertPhoto:
        return read_photo(request)

    def batch(self, inputs: Sequence[ExpertPhoto]) -> Sequence[ExpertPhoto]:
        """Return the photos as they are: their shapes differ, so `predict` stacks them."""
        return inputs

    def predict(self, x: Sequence[ExpertPhoto]) -> list[Prediction]:
        predictions: dict[int, NDArray[np.float32]] = {}
        for shape in {photo.batch.shape for photo in x}:
            alike = [index for index, photo in enumerate(x) if photo.batch.shape == shape]
            stacked = np.concatenate([x[index].batch for index in alike])
            predictions |= zip(alike, self._session.run(None, {"image": stacked})[0], strict=True)
        return [(predictions[index], photo.size) for index, photo in enumerate(x)]

    def unbatch(self, output: list[Prediction]) -> list[Prediction]:
        return output

    def encode_response(self, output: Prediction) -> Response:
        return Response(content=draw_heatmap(*output), media_type="image/jpeg")


def main(model: str, port: str) -> None:
    server = litserve.LitServer(
        DepthApi(Path(model)),
        accelerator="cpu",
        workers_per_device=_WORKERS,
        timeout=False,
        # ZeroMQ between the processes, which its manual recommends for large answers.
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1", port=int(port), num_api_servers=1, generate_client_file=False, log_level="warning"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
