"""Try a network in OpenVINO: `python -m worker.model.trial MODEL WEIGHTS PRECISION GRAPH CACHE`.

Some versions of OpenVINO crash while they compile some networks, and a crash ends the process. `worker.model.
engines` runs this before the first worker starts, in a process of its own. It leaves the compiled network
beside the graph, where the workers find it.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from shared.errors import FathomError, ModelError
from shared.model_registry import find_model
from shared.networks import Network
from worker.model.graph import EXPORT_REFUSED, print_refusal, read_refusal
from worker.model.weights import Weights, resolve_weights

_SECONDS = 600
_ROOT = Path(__file__).parents[2]


def try_network(graph: Path, weights: Weights, precision: str, cache_dir: Path) -> None:
    """Compile and run a graph once in a process of its own, unless that was done here with this OpenVINO.

    Raises ModelError if it fails or crashes.
    """
    tried = graph.with_name(f"{graph.stem}-{version('openvino')}-{precision}.tried")
    if tried.exists():
        return
    network = weights.network
    run_apart(
        "trial",
        [network.name, weights.spec, precision, str(graph.absolute()), str(cache_dir.absolute())],
        title=network.title,
        advice="Set FATHOM_ENGINE=torch, or choose another FATHOM_MODEL.",
    )
    # If the cache cannot be written, the next worker tries again.
    with suppress(OSError):
        tried.touch()


def run_apart(module: str, arguments: list[str], *, title: str, advice: str) -> str:
    """Run a module of `worker.model` in a process of its own, and return what it printed.

    Raises the error that it printed, and ModelError with `advice` if it crashed or took too long.
    """
    command = [sys.executable, "-m", f"worker.model.{module}", *arguments]
    try:
        ended = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise ModelError(f"{title} took more than {_SECONDS} seconds to run once in OpenVINO.") from exc
    if ended.returncode == EXPORT_REFUSED:
        raise read_refusal(ended.stdout)
    if ended.returncode != 0:
        raise ModelError(
            f"OpenVINO ended with status {ended.returncode} when it was to run {title}. {advice}"
        )
    return ended.stdout


def main(model: str, spec: str, precision: str, graph: str, cache_dir: str) -> int:
    """Compile and run a graph once, and return the exit status."""
    import numpy as np

    from worker.model.openvino_engine import OpenVinoEngine

    network = find_model(model, Path(cache_dir))
    try:
        weights = resolve_weights(spec, Path(cache_dir), network=network)
        engine = OpenVinoEngine(Path(graph), weights, precision=precision)
        engine.predict(np.zeros((1, 3, *_input_size(network)), np.float32))
    except FathomError as exc:
        return print_refusal(exc)
    return 0


def _input_size(network: Network) -> tuple[int, int]:
    """Return height and width of an input that the network takes; a small one where it is known to do."""
    # The parent of a worker imports this module, and loads no arrays.
    from worker.model.preprocess import network_size

    if network.is_file:
        return network_size(3, 4, network.preprocessing)
    side = 4 * network.preprocessing.multiple
    return network.fixed_size or (side, side)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
