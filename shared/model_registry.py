"""The models that were added from ONNX files: those of this machine, and those that a fleet shares.

`<cache>/models/<sha256>.onnx` is a model, and `<cache>/models/<name>.json` describes it. The object store has
the same two under `models/`. A description is written last and deleted first, so whoever reads one finds its
model, except while that is being deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from shared.errors import ModelError, ObjectNotFound, SettingsError, WeightsInvalid, WeightsUnavailable
from shared.jobs import object_keys
from shared.networks import (
    NETWORKS,
    Near,
    Network,
    Preprocessing,
    Rule,
    WayBack,
    file_model_name,
    find_network,
    is_file_model,
)
from shared.objectstore.port import ObjectStore

logger = getLogger(__name__)

_SUFFIX = ".json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 2**20
#: About what a child takes that runs a file's model: so much alone, and so many times the file's size.
_BASE_MB, _MEMORY_A_BYTE = 300, 4
#: A description has a few hundred bytes.
_MOST_BYTES = 64 * 1024


# --- on this machine --------------------------------------------------------------------


def models_folder(cache_dir: Path) -> Path:
    return cache_dir / "models"


def content_path(cache_dir: Path, network: Network) -> Path:
    """Return the path of a model's ONNX file, whether it exists or not."""
    return models_folder(cache_dir) / network.file


def find_model(name: str, cache_dir: Path) -> Network:
    """Return the official network of a name, or the model of this machine called `file:N`.

    Raises SettingsError, naming those there are, and WeightsInvalid if the description is damaged.
    """
    return find_file_model(name, cache_dir) if is_file_model(name) else find_network(name)


def find_file_model(name: str, cache_dir: Path) -> Network:
    """Return the model N of this machine, for `N` or `file:N`. Raises as `find_model` does."""
    name = file_model_name(name)
    path = _description_path(cache_dir, name)
    try:
        return _parse(path.read_bytes(), name)
    except FileNotFoundError:
        there = ", ".join([*NETWORKS, *(each.name for each in list_file_models(cache_dir))])
        raise SettingsError(
            f"There is no model {name!r} on this machine. There are {there}. `fathom model add` adds one."
        ) from None
    except ValueError as exc:
        raise WeightsInvalid(f"The description {path} is damaged: add or fetch the model again.") from exc


def list_file_models(cache_dir: Path) -> list[Network]:
    """Return the models that were added on this machine or fetched to it, by name; no damaged ones."""
    found = []
    for path in sorted(models_folder(cache_dir).glob(f"*{_SUFFIX}")):
        try:
            found.append(_parse(path.read_bytes(), file_model_name(path.name.removesuffix(_SUFFIX))))
        except (OSError, ValueError, SettingsError):
            logger.warning("%s is no description of a model.", path, extra={"action": "list_models"})
    return found


def check_name(cache_dir: Path, name: str, sha256: str) -> None:
    """Raise ModelError if a model of this machine with other content has a name."""
    known = _known(cache_dir, name)
    if known is not None and known.sha256 != sha256:
        raise ModelError(_taken(name, "on this machine"))


def store_content(cache_dir: Path, pieces: Iterable[bytes]) -> str:
    """Write a model's bytes under their SHA-256, and return that. Raises OSError."""
    digest = hashlib.sha256()
    with _part(models_folder(cache_dir)) as (part, file):
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
        _sync(file)
        part.replace(models_folder(cache_dir) / _content_name(digest.hexdigest()))
    return digest.hexdigest()


def read_pieces(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes a megabyte at a time. Raises OSError."""
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def register(cache_dir: Path, network: Network) -> None:
    """Describe a model whose content is there, in place of what had its name. Raises OSError."""
    before = _known(cache_dir, network.name)
    with _part(models_folder(cache_dir)) as (part, file):
        file.write(_to_bytes(network))
        _sync(file)
        part.replace(_description_path(cache_dir, network.name))
    if before is not None:
        drop_unused(cache_dir, before.sha256)


def remove(cache_dir: Path, name: str) -> None:
    """Remove a model from this machine, with its graphs. Raises SettingsError if there is none."""
    name = file_model_name(name)
    known = _known(cache_dir, name)
    path = _description_path(cache_dir, name)
    if not path.exists():
        find_file_model(name, cache_dir)
    path.unlink(missing_ok=True)
    if known is not None:
        drop_unused(cache_dir, known.sha256)


def drop_unused(cache_dir: Path, sha256: str) -> None:
    """Delete a model's content and graphs, unless a description names it."""
    if any(each.sha256 == sha256 for each in list_file_models(cache_dir)):
        return
    (models_folder(cache_dir) / _content_name(sha256)).unlink(missing_ok=True)
    for path in (cache_dir / "graphs").glob(f"*{sha256}*"):
        path.unlink(missing_ok=True)


def has_content(cache_dir: Path, network: Network) -> bool:
    """Return whether a model's file is on this machine and undamaged. Raises OSError if it is unreadable."""
    path = content_path(cache_dir, network)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == network.sha256


# --- in the object store ----------------------------------------------------------------


def share(objects: ObjectStore, cache_dir: Path, name: str, *, replace: bool = False) -> Network:
    """Put a model of this machine into the object store, from where workers take it, and return it.

    What is there already is not sent again, unless `replace` is set. Raises ModelError if the name belongs to
    another shared model and is not to be replaced, or if the file here is damaged; and as `find_model` and
    the store do.
    """
    network = find_file_model(name, cache_dir)
    shared = _known_shared(objects, network.name)
    if shared is not None and shared.sha256 != network.sha256 and not replace:
        raise ModelError(_taken(network.name, "in the object store"))
    if not has_content(cache_dir, network):
        raise WeightsInvalid(f"The file of {network.name} on this machine is damaged: add the model again.")
    path, key = content_path(cache_dir, network), object_keys.model(network.file)
    if replace or not _has_size(objects, key, path.stat().st_size):
        with path.open("rb") as file:
            objects.put_stream(key, file)
    objects.put(_description_key(network.name), _to_bytes(network), content_type="application/json")
    if shared is not None:
        _drop_unused_shared(objects, shared.sha256)
    return network


def unshare(objects: ObjectStore, name: str) -> None:
    """Delete a model from the object store. Raises WeightsUnavailable if it is not shared."""
    name = file_model_name(name)
    key = _description_key(name)
    if not objects.exists(key):
        raise WeightsUnavailable(f"The model {name} is not shared.")
    known = _known_shared(objects, name)
    objects.delete(key)
    if known is not None:
        _drop_unused_shared(objects, known.sha256)


def list_shared(objects: ObjectStore) -> list[Network]:
    """Return the models of the object store, by name; no damaged ones."""
    found = []
    for entry in objects.list(object_keys.MODELS):
        name = f"file:{entry.key.removeprefix(object_keys.MODELS).removesuffix(_SUFFIX)}"
        if entry.key.endswith(_SUFFIX) and is_file_model(name):
            known = _known_shared(objects, name)
            found += [known] if known is not None else []
    return sorted(found, key=lambda network: network.name)


def fetch_shared(objects: ObjectStore, cache_dir: Path, name: str) -> Network:
    """Take a shared model to this machine, in place of what has its name here, and return it.

    Nothing is downloaded if its content is here already. Several processes may do so at once. Raises
    WeightsUnavailable if it is not shared, WeightsInvalid if it is damaged, ModelError if it cannot be
    written, and as the store does.
    """
    name = file_model_name(name)
    try:
        network = _parse(objects.get(_description_key(name), stop=_MOST_BYTES), name)
        if not has_content(cache_dir, network):
            _download(objects, cache_dir, network)
        if _known(cache_dir, name) != network:
            register(cache_dir, network)
    except ObjectNotFound as exc:
        raise WeightsUnavailable(f"The model {name} is not shared.") from exc
    except ValueError as exc:
        raise WeightsInvalid(f"The shared description of {name} is damaged: share the model again.") from exc
    except OSError as exc:
        raise ModelError(f"{name} cannot be written to {cache_dir}: {exc.strerror}.") from exc
    return network


def _download(objects: ObjectStore, cache_dir: Path, network: Network) -> None:
    pieces = objects.stream(object_keys.model(network.file), chunk_size=_CHUNK)
    found = store_content(cache_dir, pieces)
    if found != network.sha256:
        drop_unused(cache_dir, found)
        raise WeightsInvalid(
            f"The shared file of {network.name} is damaged: its SHA-256 starts with {found[:8]}, not "
            f"{network.sha256[:8]}. Share the model again with --replace."
        )


def _known_shared(objects: ObjectStore, name: str) -> Network | None:
    """Return a shared model; None if there is none, or its description is damaged."""
    try:
        return _parse(objects.get(_description_key(name), stop=_MOST_BYTES), name)
    except ObjectNotFound:
        return None
    except ValueError:
        logger.warning("The shared description of %s is damaged.", name, extra={"action": "list_models"})
        return None


def _drop_unused_shared(objects: ObjectStore, sha256: str) -> None:
    if all(each.sha256 != sha256 for each in list_shared(objects)):
        objects.delete(object_keys.model(_content_name(sha256)))


def _has_size(objects: ObjectStore, key: str, size: int) -> bool:
    try:
        return objects.size(key) == size
    except ObjectNotFound:
        return False


# --- descriptions -----------------------------------------------------------------------


def to_json(network: Network) -> dict[str, Any]:
    """Return the description of a file's model as `<name>.json` has it."""
    p = network.preprocessing
    return {
        "name": network.name,
        "title": network.title,
        "sha256": network.sha256,
        "megabytes": network.megabytes,
        "licence": network.weights_licence,
        "near": str(network.near),
        "parameters": network.parameters,
        "cost": round(network.cost, 3),
        "preprocessing": {
            "rule": str(p.rule),
            "side": p.side,
            "width": p.width,
            "multiple": p.multiple,
            "longest": p.longest,
            "mean": list(p.mean),
            "std": list(p.std),
            "way_back": str(p.way_back),
        },
    }


def from_json(data: Any) -> Network:
    """Return the model that a description is of. Raises KeyError, TypeError or ValueError."""
    if not is_file_model(data["name"]) or not _SHA256.fullmatch(data["sha256"]):
        # Both become parts of paths.
        raise ValueError("The name or the hash is malformed.")
    return file_model(
        name=data["name"],
        title=str(data["title"]),
        sha256=data["sha256"],
        megabytes=int(data["megabytes"]),
        licence=str(data["licence"]),
        near=Near(data["near"]),
        parameters=int(data["parameters"]),
        cost=float(data["cost"]),
        preprocessing=_to_preprocessing(data["preprocessing"]),
    )


def file_model(
    *,
    name: str,
    title: str,
    sha256: str,
    megabytes: int,
    licence: str,
    near: Near,
    parameters: int,
    cost: float,
    preprocessing: Preprocessing,
) -> Network:
    """Return a model from a file; `cost` is how many times the default network's time it takes."""
    fixed = preprocessing.rule is Rule.FIXED
    return Network(
        name=name,
        title=title,
        encoder="",
        preprocessing=preprocessing,
        file=_content_name(sha256),
        url="",
        sha256=sha256,
        megabytes=megabytes,
        code_licence=licence,
        weights_licence=licence,
        parameters=parameters,
        gflop=0.0,
        cost=cost,
        memory_mb=_BASE_MB + _MEMORY_A_BYTE * megabytes,
        tier=None,
        suits="added from a file",
        fixed_size=(preprocessing.side, preprocessing.width) if fixed else None,
        near=near,
    )


def _to_preprocessing(data: Any) -> Preprocessing:
    return Preprocessing(
        rule=Rule(data["rule"]),
        side=int(data["side"]),
        width=int(data["width"]),
        multiple=int(data["multiple"]),
        longest=int(data["longest"]),
        mean=_triple(data["mean"]),
        std=_triple(data["std"]),
        way_back=WayBack(data["way_back"]),
    )


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _parse(data: bytes, name: str) -> Network:
    """Return the model of a description. Raises ValueError if it is damaged, or of another name."""
    try:
        network = from_json(json.loads(data))
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"The description lacks {exc}.") from exc
    if network.name != name:
        raise ValueError(f"It describes {network.name}.")
    return network


def _to_bytes(network: Network) -> bytes:
    return (json.dumps(to_json(network), ensure_ascii=False, indent=2) + "\n").encode()


def _known(cache_dir: Path, name: str) -> Network | None:
    """Return a model of this machine; None if there is none, or its description is damaged."""
    return next((each for each in list_file_models(cache_dir) if each.name == name), None)


def _description_path(cache_dir: Path, name: str) -> Path:
    return models_folder(cache_dir) / _description_name(name)


def _description_key(name: str) -> str:
    return object_keys.model(_description_name(name))


def _description_name(name: str) -> str:
    return f"{name.removeprefix('file:')}{_SUFFIX}"


def _content_name(sha256: str) -> str:
    return f"{sha256}.onnx"


def _taken(name: str, where: str) -> str:
    return f"Another model {where} has the name {name}: choose another, or replace it with --replace."


@contextmanager
def _part(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Open a new file of a folder for writing, to be renamed; delete it if it is not."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{uuid4().hex}.part"
    try:
        with part.open("xb") as file:
            yield part, file
    finally:
        part.unlink(missing_ok=True)


def _sync(file: BinaryIO) -> None:
    # The name must not survive a power failure that the bytes do not survive.
    file.flush()
    os.fsync(file.fileno())
