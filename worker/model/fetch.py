"""Fetch official checkpoints. Nothing else in Fathom requests anything from the internet by itself."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from shared.errors import ModelError, WeightsUnavailable
from shared.networks import MIDAS_SMALL, Network
from worker.model.download import Part, Progress, download, kept_if_continuable
from worker.model.weights import Weights, fetch_command, official_path, sha256_of

#: Called with a sentence for the user.
Say = Callable[[str], object]

#: An endless response must not fill the disk: so many bytes, and twice those of a larger file.
_MAX_BYTES = 256 * 2**20
_OFFLINE = "Fathom continues with the weights it has; try `{command}` again later."
_KEPT = "The {megabytes:.1f} MB that have arrived are kept, and `{command}` continues there."


def fetch_official(
    cache_dir: Path,
    *,
    timeout: float = 5.0,
    progress: Progress | None = None,
    say: Say | None = None,
    network: Network = MIDAS_SMALL,
    mirror: str | None = None,
    url: str | None = None,
    sha256: str | None = None,
) -> Path:
    """Download a network's official checkpoint into the cache, verify it, and return its path.

    If the cache has the right checkpoint, keep it; if it has a part of it, continue. If another process
    fetches it, wait for that, and tell `say`. `timeout` is in seconds: until the response begins, and between
    two pieces of it. `url` is where the file is, `mirror` the address of a folder that has it, and `sha256`
    the start, or all, of its hash; by default, those of the catalogue. Where PyTorch is installed, its
    entries are checked too. Raises WeightsUnavailable, and then keeps what has arrived if it can be
    continued, or ModelError for a wrong file, and then keeps nothing of it.
    """
    url = _address(network, mirror) if url is None else url
    sha256 = network.sha256 if sha256 is None else sha256
    path = official_path(cache_dir, network)
    if _is_right(path, sha256):
        return path
    try:
        with _locked(path, say or _ignore):
            # Another process may just have fetched it.
            if not _is_right(path, sha256):
                _fetch(path, url, sha256, network, timeout, progress or _ignore)
    except OSError as exc:
        raise ModelError(f"The checkpoint cannot be written to {path.parent}: {exc.strerror}.") from exc
    return path


def _fetch(path: Path, url: str, sha256: str, network: Network, timeout: float, progress: Progress) -> None:
    part = Part(path.with_name(f"{path.name}.part"))
    with kept_if_continuable(part, url), _hinting(network, part, url):
        download(url, part, timeout=timeout, progress=progress, most_bytes=_most_bytes(network))
        _accept(part, path, sha256, url, network)


def _is_right(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path).startswith(sha256)


@contextlib.contextmanager
def _locked(path: Path, say: Say) -> Iterator[None]:
    """Hold the lock of the file at `path`. The kernel frees it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another process is fetching {path.name}; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _address(network: Network, mirror: str | None) -> str:
    return network.url if mirror is None else f"{mirror.rstrip('/')}/{network.file}"


def _most_bytes(network: Network) -> int:
    return max(_MAX_BYTES, 2 * network.megabytes * 10**6)


@contextlib.contextmanager
def _hinting(network: Network, part: Part, url: str) -> Iterator[None]:
    """Say at the end of an error what to do about it."""
    try:
        yield
    except WeightsUnavailable as exc:
        hint = _OFFLINE if not part.validator(url) else _KEPT
        hint = hint.format(command=fetch_command(network), megabytes=part.size / 1e6)
        raise WeightsUnavailable(f"{exc.message} {hint}") from exc


def _accept(part: Part, path: Path, sha256: str, url: str, network: Network) -> None:
    """Move a complete part to `path`. Raises ModelError, and deletes it, if it is not what was asked for."""
    try:
        _verify(part.path, sha256, url, network)
    except ModelError:
        # Continuing it would end here every time.
        part.discard()
        raise
    os.replace(part.path, path)
    part.discard()


def _verify(part: Path, sha256: str, url: str, network: Network) -> None:
    """Raise ModelError unless `part` has the hash and, where PyTorch can check them, the right entries."""
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(sha256):
        raise ModelError(
            f"What {url} sent is not the official checkpoint: its SHA-256 starts with "
            f"{found[: len(sha256)]}, not {sha256}. Nothing was kept."
        )
    if all(importlib.util.find_spec(package) for package in ("torch", "timm")):
        from worker.model.checkpoint import load_network

        load_network(Weights(name="official", path=part, sha256=found, network=network))


def _ignore(*_: object) -> None:
    """Report to nobody."""
