"""Download official checkpoints. Nothing else in Fathom requests anything from the internet by itself."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from shared.errors import ModelError, WeightsUnavailable
from shared.net.loopback import is_loopback
from shared.networks import MIDAS_SMALL, Network
from worker.model.weights import Weights, fetch_command, official_path, sha256_of

#: Called with the bytes received and, where the server says so, the bytes in all.
Progress = Callable[[int, int | None], None]

#: An endless response must not fill the disk: so many bytes, and twice those of a larger file.
_MAX_BYTES = 256 * 2**20
_CHUNK = 2**20
_OFFLINE = "Fathom continues with the weights it has; try `{command}` again later."


def fetch_official(
    cache_dir: Path,
    *,
    timeout: float = 5.0,
    progress: Progress | None = None,
    network: Network = MIDAS_SMALL,
    mirror: str | None = None,
    url: str | None = None,
    sha256: str | None = None,
) -> Path:
    """Download a network's official checkpoint into the cache, verify it, and return its path.

    If the cache has the right checkpoint, keep it. `timeout` is in seconds: until the response begins, and
    between two pieces of it. `url` is where the file is, `mirror` the address of a folder that has it, and
    `sha256` the start, or all, of its hash; by default, those of the catalogue. Where PyTorch is installed,
    its entries are checked too. Raises ModelError, and then leaves no file.
    """
    url = _address(network, mirror) if url is None else url
    sha256 = network.sha256 if sha256 is None else sha256
    path = official_path(cache_dir, network)
    if path.is_file() and sha256_of(path).startswith(sha256):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _part_of(path) as part:
            with _hinting(network):
                _download(url, part, timeout, progress or _no_progress, _most_bytes(network))
            _verify(part, sha256, url, network)
            os.replace(part, path)
    except OSError as exc:
        raise ModelError(f"The checkpoint cannot be written to {path.parent}: {exc.strerror}.") from exc
    return path


@contextlib.contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """Yield a path to write to before renaming it to `path`; delete what is left there."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _address(network: Network, mirror: str | None) -> str:
    return network.url if mirror is None else f"{mirror.rstrip('/')}/{network.file}"


def _most_bytes(network: Network) -> int:
    return max(_MAX_BYTES, 2 * network.megabytes * 10**6)


@contextlib.contextmanager
def _hinting(network: Network) -> Iterator[None]:
    """Say at the end of an error what to do about it."""
    try:
        yield
    except WeightsUnavailable as exc:
        raise WeightsUnavailable(f"{exc.message} {_OFFLINE.format(command=fetch_command(network))}") from exc


def _download(url: str, part: Path, timeout: float, progress: Progress, most_bytes: int) -> None:
    try:
        with _client(url, timeout) as client:
            response = _answer(client, url, timeout)
            with contextlib.closing(response), part.open("wb") as file:
                for piece in _pieces(response, progress, most_bytes):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
    except httpx.HTTPError as exc:
        raise WeightsUnavailable(f"The download from {url} broke off: {_reason(exc)}.") from exc


def _client(url: str, timeout: float) -> httpx.Client:
    try:
        # No proxy of the environment reaches a server on this machine.
        return httpx.Client(timeout=timeout, follow_redirects=True, trust_env=not is_loopback(url))
    except (ImportError, ValueError, httpx.InvalidURL) as exc:
        reason = "the proxy that the environment names is of a kind that cannot be used"
        raise WeightsUnavailable(f"{url} cannot be reached: {reason}.") from exc


def _answer(client: httpx.Client, url: str, timeout: float) -> httpx.Response:
    """Return the response with its body unread, or give up after `timeout` seconds in all.

    A thread waits for it, because httpx limits each step alone and the name lookup not at all, which may
    take half a minute without a network.
    """
    answers: queue.Queue[httpx.Response | Exception] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(client.send(client.build_request("GET", url), stream=True))
        except Exception as exc:
            # Every error goes to the caller, whose thread waits for it.
            answers.put(exc)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty as exc:
        raise WeightsUnavailable(f"No answer from {url} within {timeout:g} seconds.") from exc
    if isinstance(answer, httpx.HTTPError):
        raise WeightsUnavailable(f"{url} cannot be reached: {_reason(answer)}.") from answer
    if isinstance(answer, Exception):
        raise answer
    return answer


def _pieces(response: httpx.Response, progress: Progress, most_bytes: int) -> Iterator[bytes]:
    response.raise_for_status()
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    done = 0
    for piece in response.iter_bytes(_CHUNK):
        done += len(piece)
        if done > most_bytes:
            raise ModelError(
                f"{response.url} sends more than {most_bytes // 2**20} MB: that is no checkpoint."
            )
        progress(done, total)
        yield piece


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


def _reason(exc: httpx.HTTPError) -> str:
    if isinstance(exc, httpx.HTTPStatusError):
        return f"the server answered {exc.response.status_code}"
    if isinstance(exc, httpx.TimeoutException):
        return "the server stopped answering"
    return str(exc) or type(exc).__name__


def _no_progress(done: int, total: int | None) -> None:
    """Report to nobody."""
