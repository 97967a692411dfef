"""Check somebody's ONNX file and add it to the models of this machine.

`python -m worker.model.onnx_check CACHE SHA256 MEGABYTES DRAFT` prints the model's description. It is a
process of its own, so that a crash of OpenVINO takes nothing with it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import FathomError, ModelError, SettingsError, WeightsInvalid
from shared.model_registry import (
    check_name,
    content_path,
    drop_unused,
    file_model,
    from_json,
    read_pieces,
    register,
    store_content,
    to_json,
)
from shared.networks import MIDAS_SMALL, Near, Network, Preprocessing, Rule, WayBack, file_model_name
from worker.model.graph import GRAPH_FORMAT, ensure_graph, print_refusal
from worker.model.onnx_graph import convert, external_data, inspect
from worker.model.openvino_import import reason_of
from worker.model.trial import run_apart
from worker.model.weights import Weights, resolve_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worker.model.openvino_engine import OpenVinoEngine

#: A photograph of 4:3.
PICTURE = Path(__file__).parents[2] / "samples" / "clock.jpg"

#: Runs that are timed, and CPU-seconds after which there are no more; the fastest counts.
_RUNS, _TIMED_SECONDS = 5, 3.0

#: The least cost of a model: its pictures are decoded and its maps are drawn too.
_LEAST_COST = 0.1

_ONE_SIZE = "If it takes one size only, give --fixed HxW."

#: A map is constant if its range is at most this share of its values, which is rounding.
_FLAT = 1e-6


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What its owner says of a model; the file says the rest. All fields are JSON."""

    #: `file:N`.
    name: str
    title: str
    licence: str
    near: str
    #: The side that the rule is about, and what both sides are multiples of. A fixed size needs neither.
    input: int | None = None
    multiple: int | None = None
    rule: str = Rule.LOWER_BOUND
    longest: int | None = None
    mean: tuple[float, float, float] = MIDAS_SMALL.preprocessing.mean
    std: tuple[float, float, float] = MIDAS_SMALL.preprocessing.std
    resize: str = WayBack.CUBIC
    #: Height and width, if the network takes no other.
    fixed: tuple[int, int] | None = None


def add_model(file: Path, draft: Draft, cache_dir: Path, *, replace: bool = False) -> Network:
    """Check an ONNX file, add it to the models of this machine, and return it.

    Raises SettingsError, WeightsInvalid or ModelError, each a sentence on what is wrong with the file or what
    is said of it, and keeps nothing then.
    """
    draft = changed(draft, name=file_model_name(draft.name))
    try:
        other = external_data(file)
        if other is not None:
            raise WeightsInvalid(
                f"{file.name} has its weights in {other}, and must hold them itself: save the model as one "
                "file, as onnx.save_model does by default."
            )
        sha256 = store_content(cache_dir, read_pieces(file))
        try:
            if not replace:
                check_name(cache_dir, draft.name, sha256)
            network = _check_apart(file, draft, sha256, cache_dir)
            register(cache_dir, network)
        finally:
            drop_unused(cache_dir, sha256)
    except OSError as exc:
        raise ModelError(f"{exc.filename or file}: {exc.strerror or exc}.") from exc
    return network


def _check_apart(file: Path, draft: Draft, sha256: str, cache_dir: Path) -> Network:
    megabytes = max(1, round(file.stat().st_size / 1e6))
    arguments = [str(cache_dir.absolute()), sha256, str(megabytes), json.dumps(asdict(draft))]
    printed = run_apart("onnx_check", arguments, title=file.name, advice="It was not added.")
    return from_json(json.loads(printed.splitlines()[-1]))


def check_model(draft: Draft, sha256: str, megabytes: int, cache_dir: Path) -> Network:
    """Run a model whose content is in the cache, and return it with what its file says and what it costs.

    Raises SettingsError or WeightsInvalid, saying what is wrong.
    """
    facts = inspect(cache_dir / "models" / f"{sha256}.onnx")
    network = file_model(
        name=draft.name,
        title=draft.title,
        sha256=sha256,
        megabytes=megabytes,
        licence=draft.licence,
        near=Near(draft.near),
        parameters=facts.parameters,
        cost=1.0,
        preprocessing=to_preprocessing(draft, facts.fixed),
    )
    engine, photo = _load(network, cache_dir), _picture()
    batch = _prepare(photo, network)
    _check_run(engine, batch)
    turned = _prepare(photo.swapaxes(0, 1), network)
    if turned.shape != batch.shape:
        # Whatever depends on the size of the picture must be part of the graph.
        _check_run(engine, turned)
    cost = _cpu_seconds(lambda: engine.predict(batch)) / _default_seconds(cache_dir, photo)
    return changed(network, cost=max(_LEAST_COST, round(cost, 1)))


def to_preprocessing(draft: Draft, found: tuple[int, int] | None) -> Preprocessing:
    """Return how a photo becomes the input of a model whose file has the fixed size `found`, or none.

    Raises SettingsError for what contradicts the file, or itself.
    """
    if found and draft.fixed and tuple(draft.fixed) != found:
        raise SettingsError(f"The file takes {_by(found)} (H x W) only, and --fixed says {_by(draft.fixed)}.")
    size = found or draft.fixed
    common: dict[str, Any] = {
        "mean": tuple(draft.mean),
        "std": tuple(draft.std),
        "way_back": WayBack(draft.resize),
    }
    if size:
        if draft.input is not None and draft.input not in size:
            raise SettingsError(f"The model takes {_by(size)} only, and --input says {draft.input}.")
        return Preprocessing(
            rule=Rule.FIXED, side=size[0], width=size[1], multiple=1, longest=max(size), **common
        )
    side, multiple, longest = _sides(draft)
    return Preprocessing(rule=Rule(draft.rule), side=side, multiple=multiple, longest=longest, **common)


def _sides(draft: Draft) -> tuple[int, int, int]:
    """Return the side, what it is a multiple of, and the longest side."""
    if draft.input is None or draft.multiple is None:
        raise SettingsError(
            "The model takes pictures of any size: say with --input and --multiple what it was trained for, "
            "or with --fixed that it takes one size."
        )
    bounded = draft.rule in (Rule.UPPER_BOUND, Rule.SQUARE)
    longest = draft.longest or (draft.input if bounded else 2 * draft.input)
    if draft.input % draft.multiple or longest % draft.multiple or longest < draft.input:
        raise SettingsError(
            f"--input ({draft.input}) and --longest ({longest}) must be multiples of {draft.multiple}, and "
            "the longest side must not be the smaller of them."
        )
    return draft.input, draft.multiple, longest


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _load(network: Network, cache_dir: Path) -> OpenVinoEngine:
    from worker.model.openvino_engine import OpenVinoEngine

    path = content_path(cache_dir, network)
    weights = Weights(name=network.name, path=path, sha256=network.sha256, network=network)
    graph = ensure_graph(weights, cache_dir, lambda weights, out: convert(path, network.near, out))
    try:
        return OpenVinoEngine(graph, weights, precision="f32")
    except ModelError as exc:
        raise WeightsInvalid(
            f"OpenVINO cannot compile the model. It says: {reason_of(exc.__cause__)}."
        ) from exc


def _check_run(engine: OpenVinoEngine, batch: NDArray[np.float32]) -> None:
    """Run a model on a picture. Raises WeightsInvalid if no map of the picture's size comes out."""
    import numpy as np

    height, width = batch.shape[2:]
    try:
        depth = engine.predict(batch)
    except ModelError as exc:
        raise WeightsInvalid(
            f"The model fails on a picture of {height} x {width}. {_ONE_SIZE} OpenVINO says: "
            f"{reason_of(exc.__cause__)}."
        ) from exc
    if depth.shape != (height, width):
        found = " x ".join(map(str, depth.shape))
        raise WeightsInvalid(
            f"The model makes {found} of a picture of {height} x {width}: both must agree. {_ONE_SIZE}"
        )
    if not np.isfinite(depth).all():
        count = depth.size - int(np.count_nonzero(np.isfinite(depth)))
        raise WeightsInvalid(
            f"{count} of the {depth.size} values that the model makes of a photo are not finite; all must be."
        )
    if float(np.ptp(depth)) <= _FLAT * float(np.abs(depth).max()):
        raise WeightsInvalid("The model makes the same value everywhere of a photo; depth must differ.")


def _picture() -> NDArray[np.uint8]:
    import cv2
    import numpy as np

    bgr = cv2.imread(str(PICTURE))
    if bgr is None:
        raise ModelError(f"The photo that models are tried on, {PICTURE}, is missing or damaged.")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _prepare(photo: NDArray[np.uint8], network: Network) -> NDArray[np.float32]:
    import numpy as np

    from worker.model.preprocess import prepare

    return prepare(np.ascontiguousarray(photo), network.preprocessing)


def _default_seconds(cache_dir: Path, photo: NDArray[np.uint8]) -> float:
    """Return the CPU-seconds of the default network on the same photo, with whatever weights are here."""
    from worker.model.openvino_engine import OpenVinoEngine

    graphs = sorted((cache_dir / "graphs").glob(f"midas-small-v{GRAPH_FORMAT}-*.xml"))
    graph = graphs[0] if graphs else ensure_graph(resolve_weights("auto", cache_dir), cache_dir)
    # Time does not depend on weights, and no prediction is used, so these stand for all.
    engine = OpenVinoEngine(graph, resolve_weights("random", cache_dir), precision="f32")
    batch = _prepare(photo, MIDAS_SMALL)
    engine.predict(batch)
    return _cpu_seconds(lambda: engine.predict(batch))


def _cpu_seconds(run: Callable[[], object]) -> float:
    """Return the CPU-seconds of a call, the least of a few."""
    spent: list[float] = []
    while len(spent) < _RUNS and sum(spent) < _TIMED_SECONDS:
        began = time.process_time()
        run()
        spent.append(time.process_time() - began)
    return min(spent)


def main(cache_dir: str, sha256: str, megabytes: str, draft: str) -> int:
    """Check a model, print its description, and return the exit status."""
    try:
        network = check_model(Draft(**json.loads(draft)), sha256, int(megabytes), Path(cache_dir))
    except FathomError as exc:
        return print_refusal(exc)
    print(json.dumps(to_json(network)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
