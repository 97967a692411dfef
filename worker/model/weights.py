"""Which weights the network runs with. Reading them is `worker.model.checkpoint`'s.

Nothing here imports torch: a worker that finds its exported graph in the cache needs the
weights' hash alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SettingsError, WeightsInvalid, WeightsUnavailable

#: The file of release v2_1 of isl-org/MiDaS.
OFFICIAL_FILE = "midas_v21_small_256.pt"

#: How the SHA-256 of that file starts: the authors' hash prefix, as torch.hub writes it into names.
OFFICIAL_SHA256 = "70d6b9c8"

#: The bundled weights, beside this module.
STARTER_PATH = Path(__file__).with_name("starter.safetensors")

SUFFIXES = (".pt", ".safetensors")

#: Stands in for the hash of a file; the number changes with the formula in `checkpoint`.
_RANDOM_FORMULA = b"fathom random weights, formula 1"

_WAYS_OUT = (
    "Run `fathom model fetch` to download the official checkpoint, set FATHOM_WEIGHTS to the "
    "path of a .pt or .safetensors file, or set FATHOM_WEIGHTS=random to try the system out "
    "with output that means nothing."
)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights that were found: what to call them, where they lie, and what they hash to."""

    #: `official`, `starter`, `random`, or the name of the file.
    name: str
    #: None for `random`, which is made by a formula.
    path: Path | None
    #: Lower-case hexadecimal SHA-256 of the file's bytes.
    sha256: str

    @property
    def proven_in_bf16(self) -> bool:
        """True for weights with which bf16 was measured to move the normalised depth by less than 0.5 %.

        With the starter weights it is 0.32 % on average (docs/starter-weights.md). The rounding
        errors of a network depend on its weights, so nothing follows from that for others.
        """
        return self.name == "starter"

    @property
    def spec(self) -> str:
        """Return what leads `resolve_weights` to these weights again, from any directory."""
        return "random" if self.path is None else str(self.path)


def official_path(cache_dir: Path) -> Path:
    """Return where the official checkpoint lies once fetched."""
    return cache_dir / "weights" / OFFICIAL_FILE


def resolve_weights(
    spec: str,
    cache_dir: Path,
    *,
    starter: Path = STARTER_PATH,
    official_sha256: str = OFFICIAL_SHA256,
) -> Weights:
    """Find the weights that `spec`, a value of FATHOM_WEIGHTS, stands for.

    `auto` takes the official checkpoint if it was fetched, else the bundled starter weights.
    `official_sha256` is the start, or all, of the hash that the official file must have.
    Raises WeightsUnavailable if there is no such file, WeightsInvalid if the official one has
    another hash, and SettingsError if `spec` is neither a known word nor the path of a .pt or
    .safetensors file.
    """
    if spec == "random":
        return Weights(name="random", path=None, sha256=hashlib.sha256(_RANDOM_FORMULA).hexdigest())
    candidates = _candidates(spec, cache_dir, starter)
    for name, path in candidates.items():
        if path.is_file():
            weights = Weights(name=name, path=path.absolute(), sha256=sha256_of(path))
            _check_official(weights, official_sha256)
            return weights
    raise WeightsUnavailable(_not_found(spec, list(candidates.values())))


def sha256_of(path: Path) -> str:
    """Return the lower-case hexadecimal SHA-256 of a file. Raises WeightsUnavailable if unreadable."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise WeightsUnavailable(f"The weights {path} cannot be read: {exc.strerror}.") from exc


def _candidates(spec: str, cache_dir: Path, starter: Path) -> dict[str, Path]:
    """Map names to the paths they may be found at, the preferred first."""
    bundled = {"official": official_path(cache_dir), "starter": starter}
    if spec == "auto":
        return bundled
    if spec in bundled:
        return {spec: bundled[spec]}
    path = Path(spec).expanduser()
    if path.suffix not in SUFFIXES:
        raise SettingsError(
            "FATHOM_WEIGHTS must be auto, official, starter, random, or the path of a .pt or "
            f".safetensors file, not {spec!r}."
        )
    return {path.name: path}


def _check_official(weights: Weights, sha256: str) -> None:
    """Refuse a file that lies where the official checkpoint belongs and is another."""
    if weights.name == "official" and not weights.sha256.startswith(sha256):
        raise WeightsInvalid(
            f"{weights.path} is not the official checkpoint: its SHA-256 starts with "
            f"{weights.sha256[:8]}, not {sha256[:8]}. Delete it and run `fathom model fetch`."
        )


def _not_found(spec: str, paths: list[Path]) -> str:
    looked = " nor ".join(str(path) for path in paths)
    kind = "neither " if len(paths) > 1 else "no file "
    return f"No weights for FATHOM_WEIGHTS={spec}: there is {kind}{looked}. {_WAYS_OUT}"
