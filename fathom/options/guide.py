"""The options of a job in a few words, for help: what each output is, and what may be given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any, Final

from fathom.options.job_options import Options, Output

#: What each output is.
OUTPUT_TEXTS: Final[Mapping[Output, str]] = {
    Output.HEATMAP: "Depth as colours, a PNG or JPEG.",
    Output.DEPTH16: "Depth as a 16-bit gray PNG.",
    Output.PFM: "Depth as floats, a PFM.",
    Output.NPY: "Depth as floats, an array of NumPy.",
    Output.COMPARISON: "The photo beside its heatmap, a JPEG.",
    Output.THUMBNAIL: "The photo and its heatmap, small, a JPEG.",
    Output.EXR: "Depth as floats, an OpenEXR.",
    Output.NORMALS: "Normals of the surface, a PNG.",
    Output.CONTROLNET: "Depth as ControlNet takes it, an 8-bit gray PNG.",
    Output.STEREO: "Views for both eyes, a JPEG, or two.",
    Output.MESH: "A surface in the photo's colours, a GLB.",
    Output.CLOUD: "Points in the photo's colours, a PLY.",
    Output.LAYERS: "The photo in layers by depth, a PSD, or a ZIP of PNGs.",
    Output.REFOCUS: "The photo focused anew, a JPEG.",
    Output.EMBEDDED: "The photo with its depth inside, a JPEG.",
    Output.CLIP: "A camera that moves before the photo, an MP4, WebP or GIF that loops.",
}
#: Characters of values that may not fit into the rest of a line.
_LONG = 50


@dataclass(frozen=True, kw_only=True)
class OptionText:
    """An option for people: its name, the values that it takes with the default first, and what it does."""

    name: str
    values: str
    description: str


def option_texts(options: Any = Options()) -> Iterator[OptionText]:  # noqa: B008 - it is frozen
    """Yield the options of all jobs, or those of a group, such as `StereoOptions()`; no groups."""
    for each in fields(options):
        value = getattr(options, each.name)
        if not is_dataclass(value):
            values = _values(value, each.metadata)
            yield OptionText(name=each.name, values=values, description=each.metadata["description"])


def group_texts(output: Output) -> Iterator[OptionText]:
    """Yield the options that only one output has."""
    group = getattr(Options(), output, None)
    yield from () if group is None else option_texts(group)


def _values(default: Any, metadata: Mapping[str, Any]) -> str:
    choices = _choices(default, metadata)
    if choices:
        text = "|".join(dict.fromkeys([_plain(default), *choices]))
        # A line can end only at a space.
        return text if len(text) < _LONG else text.replace("|", " | ")
    if "ge" in metadata:
        return f"{_plain(default)} ({_plain(metadata['ge'])} to {_plain(metadata['le'])})"
    return _plain(default) or "NAME"


def _choices(default: Any, metadata: Mapping[str, Any]) -> list[str]:
    """Return all values of an option that takes few."""
    if isinstance(default, StrEnum):
        return [*type(default)]
    if isinstance(default, bool):
        return ["true", "false"]
    return [*map(_plain, metadata.get("json_schema_extra", {}).get("enum", ()))]


def _plain(value: Any) -> str:
    """Return a value as a command line takes it."""
    if isinstance(value, tuple):
        return ",".join(map(_plain, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
