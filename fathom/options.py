"""What a person may ask of a job. The command, the API and the pipeline read it by this one rule.

It needs nothing but Python, because the client is installed without the server's libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar


class OptionsRefused(ValueError):
    """The options of a job are not as they must be."""


class Output(StrEnum):
    """A kind of result; its value is its name in the API."""

    HEATMAP = "heatmap"
    DEPTH16 = "depth16"
    PFM = "pfm"
    NPY = "npy"
    SIDE_BY_SIDE = "side_by_side"
    THUMBNAIL = "thumbnail"


class HeatmapFormat(StrEnum):
    PNG = "png"
    JPEG = "jpeg"


class Colormap(StrEnum):
    INFERNO = "inferno"
    MAGMA = "magma"
    VIRIDIS = "viridis"
    TURBO = "turbo"
    SPECTRAL = "spectral"
    GRAY = "gray"


class Size(StrEnum):
    ORIGINAL = "original"
    NETWORK = "network"


class Edges(StrEnum):
    SNAP = "snap"
    SMOOTH = "smooth"


class Normalize(StrEnum):
    IMAGE = "image"
    JOB = "job"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a job, validated; every field has a default."""

    # Pydantic reads this and the metadata of the fields: the API describes its options with them.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    outputs: tuple[Output, ...] = field(
        default=(Output.HEATMAP,),
        metadata={"description": "The kinds of result wanted for every image.", "min_length": 1},
    )
    heatmap_format: HeatmapFormat = field(
        default=HeatmapFormat.PNG,
        metadata={"description": "`png` is indexed and lossless; `jpeg` is smaller."},
    )
    colormap: Colormap = field(
        default=Colormap.INFERNO, metadata={"description": "Colours of the heatmap; near is bright."}
    )
    invert: bool = field(default=False, metadata={"description": "Swap near and far in the heatmap."})
    clip: tuple[float, float] = field(
        default=(0.0, 100.0),
        metadata={
            "description": "Percentiles of relative inverse depth that become the darkest and the "
            "brightest colour."
        },
    )
    size: Size = field(
        default=Size.ORIGINAL,
        metadata={"description": "`original`: the photo's own size; `network`: as predicted."},
    )
    edges: Edges = field(
        default=Edges.SNAP,
        metadata={
            "description": "`snap`: edges of full-size maps follow the photo; `smooth`: only interpolated."
        },
    )
    normalize: Normalize = field(
        default=Normalize.IMAGE,
        metadata={
            "description": "`image`: each image over its own range; `job`: one range for the whole job."
        },
    )

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Options:
        """Validate options given as JSON; a list may also be written `a,b`, as on a command line.

        Raises OptionsRefused with a few words for each thing that is wrong.
        """
        if not isinstance(data, Mapping):
            raise OptionsRefused("options must be a JSON object")
        read: dict[str, Any] = {}
        wrong: list[str] = []
        for name, value in data.items():
            try:
                read[name] = _READERS[name](value)
            except KeyError:
                wrong.append(f"{name} is not an option")
            except ValueError as exc:
                wrong.append(f"{name} {exc}")
        if wrong:
            raise OptionsRefused("; ".join(wrong))
        return cls(**read)

    @classmethod
    def from_record(cls, data: Mapping[str, Any]) -> Options:
        """Read options that `to_json` gave. Those without `edges` are older than it: their edges were smooth.

        Raises OptionsRefused as `parse` does.
        """
        return cls.parse({"edges": Edges.SMOOTH, **data})

    @classmethod
    def from_pairs(cls, pairs: Iterable[str]) -> Options:
        """Validate options given as `name=value`, as on a command line.

        Raises OptionsRefused as `parse` does, and for a pair without `=`.
        """
        data: dict[str, str] = {}
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals:
                raise OptionsRefused(f"An option is written name=value, not {pair!r}.")
            data[name.strip()] = value.strip()
        return cls.parse(data)

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain JSON values, defaults included."""
        return {each.name: _to_json(getattr(self, each.name)) for each in fields(self)}


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(part) for part in value]
    return value.value if isinstance(value, StrEnum) else value


def _read_parts(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list")
    return list(value)


def _read_outputs(value: Any) -> tuple[Output, ...]:
    read = _choose(Output)
    outputs = tuple(read(part) for part in _read_parts(value))
    if not outputs:
        raise ValueError("must name at least one result")
    if len(set(outputs)) != len(outputs):
        raise ValueError("must not repeat a name")
    return outputs


def _choose(kind: type[StrEnum]) -> Callable[[Any], Any]:
    """Return what reads the name of one of a kind."""

    def read(value: Any) -> StrEnum:
        try:
            return kind(value)
        except ValueError as exc:
            raise ValueError(f"must be one of {', '.join(kind)}") from exc

    return read


def _read_flag(value: Any) -> bool:
    # As pydantic reads one (https://docs.pydantic.dev/latest/api/standard_library_types/#booleans).
    word = value.lower() if isinstance(value, str) else value
    if word in (0, "0", "off", "f", "false", "n", "no"):
        return False
    if word in (1, "1", "on", "t", "true", "y", "yes"):
        return True
    raise ValueError("must be true or false")


def _read_clip(value: Any) -> tuple[float, float]:
    try:
        low, high = map(float, _read_parts(value))
        if 0 <= low < high <= 100:
            return low, high
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError("must be two percentiles, 0 <= low < high <= 100")


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "outputs": _read_outputs,
    "heatmap_format": _choose(HeatmapFormat),
    "colormap": _choose(Colormap),
    "invert": _read_flag,
    "clip": _read_clip,
    "size": _choose(Size),
    "edges": _choose(Edges),
    "normalize": _choose(Normalize),
}
