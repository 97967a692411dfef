"""What a person may ask of a job. The API, the command and the pipeline read this one model."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shared.errors import InvalidOptions


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


def _split(value: Any) -> Any:
    """Accept `a,b` where a list is meant, as a command line gives it."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _clip(value: Any) -> Any:
    return tuple(_split(value)) if isinstance(value, str) else value


class Options(BaseModel):
    """The options of a job, validated; every field has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outputs: Annotated[tuple[Output, ...], BeforeValidator(_split)] = Field(
        default=(Output.HEATMAP,), min_length=1, description="The kinds of result wanted for every image."
    )
    heatmap_format: HeatmapFormat = Field(
        default=HeatmapFormat.PNG, description="`png` is indexed and lossless; `jpeg` is smaller."
    )
    colormap: Colormap = Field(
        default=Colormap.INFERNO, description="Colours of the heatmap; near is bright."
    )
    invert: bool = Field(default=False, description="Swap near and far in the heatmap.")
    clip: Annotated[tuple[float, float], BeforeValidator(_clip)] = Field(
        default=(0.0, 100.0),
        description="Percentiles of relative inverse depth that become the darkest and the brightest colour.",
    )
    size: Size = Field(
        default=Size.ORIGINAL, description="`original`: the photo's own size; `network`: as predicted."
    )
    edges: Edges = Field(
        default=Edges.SNAP,
        description="`snap`: edges of full-size maps follow the photo; `smooth`: only interpolated.",
    )
    normalize: Normalize = Field(
        default=Normalize.IMAGE,
        description="`image`: each image over its own range; `job`: one range for the whole job.",
    )

    @model_validator(mode="after")
    def _check(self) -> Options:
        low, high = self.clip
        if not 0 <= low < high <= 100:
            raise ValueError("clip must be two percentiles, 0 <= low < high <= 100")
        if len(set(self.outputs)) != len(self.outputs):
            raise ValueError("outputs must not repeat a name")
        return self

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Options:
        """Validate options given as JSON.

        Raises InvalidOptions with one sentence for each thing that is wrong.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as exc:
            raise InvalidOptions(_sentences(exc)) from exc

    @classmethod
    def from_record(cls, data: dict[str, Any]) -> Options:
        """Read options that `to_json` gave. Those without `edges` are older than it: edges were smooth.

        Raises InvalidOptions as `parse` does.
        """
        return cls.parse({"edges": Edges.SMOOTH, **data})

    @classmethod
    def from_pairs(cls, pairs: Iterable[str]) -> Options:
        """Validate options given as `name=value`, as on a command line.

        Raises InvalidOptions as `parse` does, and for a pair without `=`.
        """
        data: dict[str, Any] = {}
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals:
                raise InvalidOptions(f"An option is written name=value, not {pair!r}.")
            data[name.strip()] = value.strip()
        return cls.parse(data)

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain JSON values, defaults included."""
        return self.model_dump(mode="json")


def _sentences(exc: ValidationError) -> str:
    parts = []
    for error in exc.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(step) for step in error["loc"])
        message = error["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {message}" if where else message)
    return "; ".join(parts)
