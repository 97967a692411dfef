"""Try a network in OpenVINO: `python -m worker.model.trial MODEL WEIGHTS PRECISION GRAPH`.

Some versions of OpenVINO crash while they compile some networks, and a crash ends the process. `worker.model.
engines` runs this before the first worker starts, in a process of its own. It leaves the compiled network
beside the graph, where the workers find it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from shared.errors import FathomError, ModelError
from shared.networks import find_network
from worker.model.graph import EXPORT_REFUSED
from worker.model.weights import Weights, resolve_weights

_SECONDS = 600
_ROOT = Path(__file__).parents[2]


def try_network(graph: Path, weights: Weights, precision: str) -> None:
    """Compile and run a graph once in a process of its own. Raises ModelError if it fails or crashes."""
    command = [sys.executable, "-m", "worker.model.trial"]
    command += [weights.network.name, weights.spec, precision, str(graph.absolute())]
    try:
        ended = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise ModelError(
            f"{weights.network.title} took more than {_SECONDS} seconds to run once in OpenVINO."
        ) from exc
    if ended.returncode == EXPORT_REFUSED:
        raise ModelError(json.loads(ended.stdout)["message"])
    if ended.returncode != 0:
        raise ModelError(
            f"OpenVINO ended with status {ended.returncode} when it was to run {weights.network.title}. "
            "Set FATHOM_ENGINE=torch, or choose another FATHOM_MODEL."
        )


def main(model: str, spec: str, precision: str, graph: str) -> int:
    """Compile and run a graph once, and return the exit status."""
    import numpy as np

    from worker.model.openvino_engine import OpenVinoEngine

    network = find_network(model)
    try:
        weights = resolve_weights(spec, Path(), network=network)
        engine = OpenVinoEngine(Path(graph), weights, precision=precision)
        multiple = network.preprocessing.multiple
        height, width = network.fixed_size or (4 * multiple, 4 * multiple)
        engine.predict(np.zeros((1, 3, height, width), np.float32))
    except FathomError as exc:
        print(json.dumps({"code": exc.code, "message": exc.message}))
        return EXPORT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
