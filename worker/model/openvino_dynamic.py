"""The network of dynamic shape on OpenVINO, compiled once and then cached beside its graph.

Reading the compiled network takes a quarter of the time that compiling takes, and gives the same predictions.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import logging
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.model.graph import constants_path
from worker.model.mmap_release import MappedFile
from worker.model.openvino_import import import_openvino

logger = logging.getLogger(__name__)


class DynamicNetwork:
    """Runs a graph at any shape."""

    def __init__(self, graph: Path, device: str, properties: dict[str, Any]) -> None:
        """Read the compiled network, or compile the graph. Raises RuntimeError, as OpenVINO does."""
        self._core = import_openvino().Core()
        self._device = device
        self._properties = properties
        cached = compiled_path(graph, self._core, device, properties)
        compiled = self._read(cached)
        self._file = MappedFile(cached)
        if compiled is None:
            compiled = self._compile(graph)
            self._file = MappedFile(constants_path(graph))
            store_compiled(compiled, cached)
        self._request = compiled.create_infer_request()
        # OpenVINO has copied the weights into its own layouts.
        self._file.release()

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the network predicts. Raises RuntimeError."""
        self._request.infer([batch], share_inputs=True)
        # The tensor belongs to the request, and the next picture overwrites it.
        depth: NDArray[np.float32] = self._request.get_output_tensor(0).data[0].copy()
        self._file.release_after(batch.shape)
        return depth

    def _read(self, path: Path) -> Any | None:
        """Return a network compiled before; None if there is none that can be read."""
        try:
            # OpenVINO reads the weights from here as long as it lives.
            self._bytes = _map(path)
            tensor = import_openvino().Tensor(_as_array(self._bytes), shared_memory=True)
            return self._core.import_model(tensor, self._device, self._properties)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RuntimeError) as exc:
            # It is made again.
            extra = {"action": "read_compiled_network"}
            logger.warning("%s cannot be used, so it is made again: %s", path, exc, extra=extra)
            return None

    def _compile(self, graph: Path) -> Any:
        network = self._core.read_model(graph)
        shape = network.input(0).get_partial_shape()
        shape[0] = 1
        network.reshape(shape)
        return self._core.compile_model(network, self._device, self._properties)


def compiled_path(graph: Path, core: Any, device: str, properties: dict[str, Any]) -> Path:
    """Return the path of a compiled network, which names all that it depends on besides the graph."""
    facts = [
        import_openvino().get_version(),
        core.get_property(device, "FULL_DEVICE_NAME"),
        sorted(core.get_property(device, "OPTIMIZATION_CAPABILITIES")),
        sorted(properties.items()),
    ]
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    return graph.with_name(f"{graph.stem}-{key}.blob")


def store_compiled(compiled: Any, path: Path) -> None:
    """Write a compiled network for the processes that start later; it appears whole or not at all.

    If another process does so, or the cache cannot be written, do nothing.
    """
    try:
        with _locked(path) as is_mine:
            if is_mine:
                _write_whole(path, compiled.export_model().getbuffer())
    except OSError as exc:
        # Each process compiles the network itself then, as this one did.
        logger.info("%s cannot be written: %s", path, exc, extra={"action": "store_compiled_network"})


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Try to lock a file beside `path`; yield whether that succeeded. The kernel frees it with its holder."""
    with path.with_name("compile.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _write_whole(path: Path, data: memoryview) -> None:
    # Only the holder of the lock writes here; what a killed one left is overwritten.
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(data)
        # The name must not survive a power failure that the bytes do not survive.
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _map(path: Path) -> mmap.mmap:
    """Map a file for reading; all processes of a machine share its pages.

    Raises OSError, and ValueError if the file is empty.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _as_array(mapped: mmap.mmap) -> NDArray[np.uint8]:
    """Return a mapping as the kind of array that OpenVINO takes.

    OpenVINO insists on an array that can be written, although it only reads; a write would end the process.
    The array does not keep the mapping alive.
    """
    address = np.frombuffer(mapped, np.uint8).ctypes.data
    return np.ctypeslib.as_array((ctypes.c_uint8 * len(mapped)).from_address(address))
