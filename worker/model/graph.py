"""The exported network: one graph for every shape, made once and cached under its weights' hash.

The export runs in a process of its own, so the caller never loads torch: a child stays small, and starts
fast once the graph is cached.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import FathomError, ModelError, SettingsError, WeightsInvalid, WeightsUnavailable
from shared.networks import MIDAS_SMALL, Near, Network
from worker.model.weights import Weights, resolve_weights

#: Part of every graph's name. Raise it when the exported graph changes for the same weights.
GRAPH_FORMAT = 2

EXPORT_FORMATS = ("onnx", "openvino")

#: Exit status of the export when it printed an error of ours, as JSON.
EXPORT_REFUSED = 3

#: Packages that the export imports; the Docker image of the workers lacks them.
_NEEDED_TO_EXPORT = ("torch", "timm", "onnx", "safetensors")

#: Writes the graph of some weights to a path, and its constants beside it.
Export = Callable[[Weights, Path], None]

_EXPORT_SECONDS = 300
_EXPORT_FOLDER = "export-"
_ROOT = Path(__file__).parents[2]


def graph_path(weights: Weights, cache_dir: Path) -> Path:
    """Return the path of the cached graph of `weights`, whether it exists or not."""
    name = _file_graph(weights.network) if weights.network.is_file else weights.network.name.replace("_", "-")
    return cache_dir / "graphs" / f"{name}-v{GRAPH_FORMAT}-{weights.sha256}.xml"


def _file_graph(network: Network) -> str:
    """Return what a graph made from a file depends on beside the file."""
    return "onnx" if network.near is Near.HIGH else "onnx-negated"


def constants_path(graph: Path) -> Path:
    """Return the path of the weights of an OpenVINO graph, beside it."""
    return graph.with_suffix(".bin")


def ensure_graph(weights: Weights, cache_dir: Path, export: Export | None = None) -> Path:
    """Return the path of the graph of `weights`, exporting it first if it is not cached.

    If several processes ask at once, one exports and the others wait for it. The graph takes float32
    N x 3 x H x W, normalised RGB with H and W multiples that the network wants, and returns N x H x W.
    `export` writes it, by default in a process of its own. Raises ModelError if that fails.
    """
    path = graph_path(weights, cache_dir)
    if path.exists():
        return path
    try:
        with _locked(path.parent):
            if not path.exists():
                _export(weights, path, export or _run_export)
    except OSError as exc:
        raise ModelError(f"The depth network cannot be cached in {path.parent}: {exc.strerror}.") from exc
    return path


def export_model(
    weights_spec: str,
    cache_dir: Path,
    format: str,
    out: Path,
    export: Export | None = None,
    *,
    network: Network = MIDAS_SMALL,
) -> tuple[Path, ...]:
    """Write the network for use elsewhere, as `format` `onnx` or `openvino`; return the files written.

    `openvino` writes `out`, whose name must end in .xml, and a .bin beside it. `export` is that of
    `ensure_graph`. Raises ModelError if a file cannot be written.
    """
    if format not in EXPORT_FORMATS:
        raise ModelError(f"The format must be {' or '.join(EXPORT_FORMATS)}, not {format!r}.")
    if format == "openvino" and out.suffix != ".xml":
        raise ModelError(f"An OpenVINO network is written to a file whose name ends in .xml, not to {out}.")
    weights = resolve_weights(weights_spec, cache_dir, network=network)
    export = export or _run_export
    try:
        if format == "onnx":
            return _write_onnx(weights, out, export)
        return _write_openvino(weights, cache_dir, out, export)
    except OSError as exc:
        raise ModelError(f"{out} cannot be written: {exc.strerror}.") from exc


def _write_onnx(weights: Weights, out: Path, export: Export) -> tuple[Path, ...]:
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=_EXPORT_FOLDER) as folder:
        written = Path(folder) / "network.onnx"
        export(weights, written)
        os.replace(written, out)
    return (out,)


def _write_openvino(weights: Weights, cache_dir: Path, out: Path, export: Export) -> tuple[Path, ...]:
    graph = ensure_graph(weights, cache_dir, export)
    shutil.copyfile(constants_path(graph), constants_path(out))
    shutil.copyfile(graph, out)
    return out, constants_path(out)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`. The kernel frees it when its holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "export.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _export(weights: Weights, path: Path, export: Export) -> None:
    """Export the graph of `weights` to `path`, which appears last."""
    for left_behind in path.parent.glob(f"{_EXPORT_FOLDER}*"):
        # Only the holder of the lock writes here, so this is left from an export that was killed.
        shutil.rmtree(left_behind, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=_EXPORT_FOLDER) as folder:
        written = Path(folder) / path.name
        export(weights, written)
        os.replace(constants_path(written), constants_path(path))
        os.replace(written, path)


def missing_to_prepare() -> list[str]:
    """Return the packages that preparing a network takes and that are not installed here."""
    return [name for name in (*_NEEDED_TO_EXPORT, "openvino") if importlib.util.find_spec(name) is None]


def _require_packages() -> None:
    missing = [name for name in _NEEDED_TO_EXPORT if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"Preparing the depth network for these weights takes {', '.join(missing)}: run "
            "`pip install -e '.[model]'` in Fathom's folder, or copy the cache's folder `graphs` from "
            "a machine that has prepared it."
        )


def _run_export(weights: Weights, out: Path) -> None:
    """Run `python -m worker.model.export`, or convert a file, and translate the failure."""
    network = weights.network
    if not network.is_file:
        _require_packages()
        _run("export", network.name, weights.spec, weights.sha256, str(out.absolute()))
    elif out.suffix == ".onnx":
        shutil.copyfile(weights.spec, out)
    else:
        _run("onnx_graph", weights.spec, str(network.near), str(out.absolute()))


def _run(module: str, *arguments: str) -> None:
    # Hide the warnings of torch's exporter: users can do nothing about them.
    command = [sys.executable, "-W", "ignore", "-m", f"worker.model.{module}", *arguments]
    try:
        ended = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, timeout=_EXPORT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise ModelError(f"Preparing the depth network took more than {_EXPORT_SECONDS} seconds.") from exc
    if ended.returncode == EXPORT_REFUSED:
        raise read_refusal(ended.stdout)
    if ended.returncode != 0:
        last_line = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ModelError(f"Preparing the depth network ended with status {ended.returncode}: {last_line}")


def print_refusal(error: FathomError) -> int:
    """Print an error of ours for the process that started this one, and return the exit status."""
    print(json.dumps({"code": error.code, "message": error.message}))
    return EXPORT_REFUSED


def read_refusal(stdout: str) -> FathomError:
    """Return the error that a process printed."""
    error = json.loads(stdout)
    kinds: dict[str, type[FathomError]] = {
        kind.code: kind for kind in (SettingsError, WeightsInvalid, WeightsUnavailable)
    }
    return kinds.get(error["code"], ModelError)(error["message"])
