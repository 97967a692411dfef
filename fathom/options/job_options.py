"""The options of a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar

from fathom.options.fields import (
    NOTHING_ELSE,
    OptionsRefused,
    as_json,
    choice,
    custom,
    described,
    flag,
    group,
    model,
    nested,
    read_choice,
    read_fields,
    read_parts,
)
from fathom.options.groups import (
    ClipOptions,
    CloudOptions,
    Depth16Options,
    ExrOptions,
    LayersOptions,
    MeshOptions,
    NormalsOptions,
    RefocusOptions,
    StereoOptions,
)
from fathom.options.presets import expand_preset


class Output(StrEnum):
    """A kind of result; its value is its name in the API."""

    HEATMAP = "heatmap"
    DEPTH16 = "depth16"
    PFM = "pfm"
    NPY = "npy"
    COMPARISON = "comparison"
    THUMBNAIL = "thumbnail"
    EXR = "exr"
    NORMALS = "normals"
    CONTROLNET = "controlnet"
    STEREO = "stereo"
    MESH = "mesh"
    CLOUD = "cloud"
    LAYERS = "layers"
    REFOCUS = "refocus"
    EMBEDDED = "embedded"
    CLIP = "clip"


#: Outputs that are maps, so that they may have the prediction's own size.
MAPS = frozenset(
    {
        Output.HEATMAP,
        Output.DEPTH16,
        Output.PFM,
        Output.NPY,
        Output.COMPARISON,
        Output.THUMBNAIL,
        Output.EXR,
        Output.NORMALS,
        Output.CONTROLNET,
    }
)


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


class Quality(StrEnum):
    STANDARD = "standard"
    DETAILED = "detailed"


class Normalize(StrEnum):
    IMAGE = "image"
    JOB = "job"


class DepthSource(StrEnum):
    AUTO = "auto"
    MODEL = "model"
    EMBEDDED = "embedded"


def _read_outputs(value: Any) -> tuple[Output, ...]:
    read = read_choice(Output)
    outputs = tuple(read(part) for part in read_parts(value))
    if not outputs:
        raise ValueError("must name at least one result")
    if len(set(outputs)) != len(outputs):
        raise ValueError("must not repeat a name")
    return outputs


def _read_percentiles(value: Any) -> tuple[float, float]:
    try:
        low, high = map(float, read_parts(value))
        if 0 <= low < high <= 100:
            return low, high
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError("must be two percentiles, 0 <= low < high <= 100")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a job, validated; every field has a default."""

    # Pydantic reads this and the metadata of the fields: the API describes its options with them.
    __pydantic_config__: ClassVar[dict[str, Any]] = NOTHING_ELSE

    outputs: tuple[Output, ...] = custom(
        (Output.HEATMAP,), "The kinds of result wanted for every image.", _read_outputs, min_length=1
    )
    heatmap_format: HeatmapFormat = choice(
        HeatmapFormat.PNG, "`png` is indexed and lossless; `jpeg` is smaller."
    )
    colormap: Colormap = choice(Colormap.INFERNO, "Colours of the heatmap; near is bright.")
    invert: bool = flag(False, "Swap near and far in the heatmap.")
    percentiles: tuple[float, float] = custom(
        (0.0, 100.0),
        "Percentiles of relative inverse depth that become the darkest and the brightest colour.",
        _read_percentiles,
        **described(prefixItems=[{"type": "number", "minimum": 0, "maximum": 100}] * 2),
    )
    size: Size = choice(Size.ORIGINAL, "`original`: the photo's own size; `network`: as predicted, for maps.")
    edges: Edges = choice(
        Edges.SNAP, "`snap`: edges of full-size maps follow the photo; `smooth`: only interpolated."
    )
    model: str = model(
        "The network that predicts depth, one of `GET /v1/models`; without a name, the server's default."
    )
    quality: Quality = choice(
        Quality.STANDARD,
        "`standard`: one prediction, of 256 pixels; `detailed`: merged with one of 384, 2 to 3 times slower.",
    )
    normalize: Normalize = choice(
        Normalize.IMAGE, "`image`: each image over its own range; `job`: one range for the whole job."
    )
    depth_source: DepthSource = choice(
        DepthSource.AUTO,
        "`model`: what the network predicts; `embedded`: the depth that a phone stored in the photo; "
        "`auto`: that, where there is any.",
    )
    depth16: Depth16Options = group(Depth16Options())
    exr: ExrOptions = group(ExrOptions())
    normals: NormalsOptions = group(NormalsOptions())
    stereo: StereoOptions = group(StereoOptions())
    mesh: MeshOptions = group(MeshOptions())
    cloud: CloudOptions = group(CloudOptions())
    layers: LayersOptions = group(LayersOptions())
    refocus: RefocusOptions = group(RefocusOptions())
    clip: ClipOptions = group(ClipOptions())

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Options:
        """Validate options given as JSON; a list may also be written `a,b`, as on a command line.

        A `preset` among them stands for its own options, which the others override.

        Raises OptionsRefused with a few words for each thing that is wrong.
        """
        if not isinstance(data, Mapping):
            raise OptionsRefused("options must be a JSON object")
        return cls._read(expand_preset(_rename(data)))

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> Options:
        try:
            options = cls(**read_fields(cls, data))
        except OptionsRefused as exc:
            raise OptionsRefused("; ".join(exc.args)) from exc
        wrong = [*options._conflicts(data)]
        if wrong:
            raise OptionsRefused("; ".join(wrong))
        return options

    @classmethod
    def from_record(cls, data: Mapping[str, Any]) -> Options:
        """Read options that `to_json` gave, of this version or an earlier one.

        Where they say nothing of edges or of the source of depth, they are older than both: their edges were
        smooth, and the network's were the only depths. `comparison` was called `side_by_side`.

        Raises OptionsRefused as `parse` does.
        """
        outputs = [Output.COMPARISON if name == "side_by_side" else name for name in data.get("outputs", [])]
        older = {"edges": Edges.SMOOTH, "depth_source": DepthSource.MODEL}
        return cls._read(older | _rename(data) | ({"outputs": outputs} if outputs else {}))

    @classmethod
    def from_pairs(cls, pairs: Iterable[str]) -> Options:
        """Validate options given as `name=value` or `group.name=value`, as on a command line.

        Raises OptionsRefused as `parse` does, and for a pair without `=`.
        """
        return cls.parse(nested(_split(pairs)))

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain JSON values, defaults included, without the groups of other outputs."""
        names = [each.name for each in fields(self)]
        return {name: as_json(getattr(self, name)) for name in names if self._tells(name)}

    @property
    def need_labels(self) -> bool:
        """Whether a photo's label picture matters."""
        return Output.LAYERS in self.outputs and self.layers.masks

    def _tells(self, name: str) -> bool:
        """Return whether an option may matter to the outputs, and is not left to the server."""
        return bool(self.model) if name == "model" else name not in _GROUPS or name in self.outputs

    def _conflicts(self, given: Mapping[str, Any]) -> Iterator[str]:
        """Yield what in these options does not go together."""
        for name in given:
            if name in _GROUPS and name not in self.outputs:
                yield f"{name} has options, but is not among the outputs"
        if self.size is Size.NETWORK:
            for output in self.outputs:
                if output not in MAPS:
                    yield f"{output} is made at the photo's own size, not with size=network"


#: Outputs with options of their own.
_GROUPS = frozenset(Output).intersection(each.name for each in fields(Options))


def _rename(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by their names of today: `percentiles` was called `clip` before there were clips."""
    is_older = "clip" in given and not isinstance(given["clip"], Mapping)
    return {"percentiles" if is_older and name == "clip" else name: value for name, value in given.items()}


def _split(pairs: Iterable[str]) -> Iterator[tuple[str, str]]:
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise OptionsRefused(f"An option is written name=value, not {pair!r}.")
        yield name.strip(), value.strip()
