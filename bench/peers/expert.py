"""An expert's script: reduced decoding, ONNX Runtime with one thread a process, a process a core."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import onnxruntime

from bench.peers.expert_photo import draw_heatmap, read_photo
from bench.peers.folder_program import read_arguments

#: The network of this process of the pool.
_session: Any = None


def load_session(model: Path) -> Any:
    """Load the network with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def main() -> None:
    args = read_arguments(__doc__)
    outs = [args.out / path.name for path in args.photos]
    with ProcessPoolExecutor(args.cores, initializer=_start, initargs=(args.model,)) as pool:
        # Going through the results raises what went wrong.
        list(pool.map(_process, args.photos, outs))


def _start(model: Path) -> None:
    global _session
    cv2.setNumThreads(1)
    _session = load_session(model)


def _process(path: Path, out: Path) -> None:
    photo = read_photo(path.read_bytes())
    (prediction,) = _session.run(None, {"image": photo.batch})
    out.write_bytes(draw_heatmap(prediction[0], photo.size))


if __name__ == "__main__":
    main()
