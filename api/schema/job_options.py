"""The options of a job in requests and answers: as JSON, and as the query for one photo.

`fathom.options` reads them; here they are described to pydantic, which describes the API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter

from fathom.options import OUTPUT_TEXTS, PRESETS, Options, OptionsRefused, Output, nested
from shared.errors import InvalidOptions

Schema = dict[str, Any]

#: Names of before.
_OLDER: dict[str, Schema] = {
    "clip": {
        "type": "string",
        "default": "0,100",
        "deprecated": True,
        "description": "The name of `percentiles` before there were clips.",
    }
}
#: Options of many photos: which outputs, by which range, where their files lie, and what lies beside them.
_NOT_OF_ONE_PHOTO = frozenset({"outputs", "normalize", "depth16.folder", "layers.masks"})


def read_options(value: Mapping[str, Any]) -> Options:
    """Return options given as JSON. Raises InvalidOptions, which is answered with its own code."""
    with _refusals_translated():
        return Options.parse(value)


@contextmanager
def _refusals_translated() -> Iterator[None]:
    try:
        yield
    except OptionsRefused as exc:
        raise InvalidOptions(str(exc)) from exc


def _read_given(value: Any) -> Any:
    """Parse options, so that wrong ones are answered with their own code."""
    return read_options(value) if isinstance(value, dict) else value


def _with_each(description: str, texts: Iterable[tuple[str, str]]) -> str:
    """Return a description of an option and of each of its values."""
    return " ".join([description, *(f"`{name}`: {text}" for name, text in texts)])


_outputs = next(each for each in fields(Options) if each.name == "outputs")
_ABOUT_OUTPUTS = _with_each(_outputs.metadata["description"], OUTPUT_TEXTS.items())
_ABOUT_PRESETS = _with_each(
    "Stands for the options of a purpose, which other given options override.",
    ((name, preset.description) for name, preset in PRESETS.items()),
)


@dataclass(frozen=True, kw_only=True)
class GivenOptions(Options):
    """The options of a new job, and a preset for those that are not given."""

    # It only describes what `read_options` takes. A factory leaves the description without a default.
    outputs: tuple[Output, ...] = field(
        default=_outputs.default, metadata={**_outputs.metadata, "description": _ABOUT_OUTPUTS}
    )
    preset: str = field(
        default_factory=str,
        metadata={"description": _ABOUT_PRESETS, "json_schema_extra": {"enum": [*PRESETS]}},
    )


#: Options in answers, as they are recorded. (A function with a return type would be described by it.)
ShownOptions = Annotated[Options, PlainSerializer(lambda options: options.to_json())]
#: Options in requests, with their preset expanded.
ReadOptions = Annotated[ShownOptions, BeforeValidator(_read_given, json_schema_input_type=GivenOptions)]


# --- one photo --------------------------------------------------------------------------


def query_fields() -> dict[str, Any]:
    """Return the options of one photo as fields of the model of a query, such as `stereo.layout`.

    They are texts, which `read_query_options` reads; their descriptions come from the options themselves.
    """
    return {
        name.replace(".", "__"): (str, Field(default="", alias=name, json_schema_extra=_only(schema)))
        for name, schema in (_described_options() | _OLDER).items()
    }


def read_query_options(given: Mapping[str, str], **others: Any) -> Options:
    """Return options given as texts by names such as `stereo.layout`, and others given as JSON.

    Raises InvalidOptions.
    """
    with _refusals_translated():
        return Options.parse(nested(iter(given.items())) | others)


def _described_options() -> dict[str, Schema]:
    described = TypeAdapter(Options).json_schema()
    flat = _flat(described, described["$defs"])
    options = {name: _as_text(schema) for name, schema in flat if name not in _NOT_OF_ONE_PHOTO}
    del options["heatmap_format"]["default"]
    options["heatmap_format"]["description"] = "By default what `Accept` asks for, else `png`."
    return options


def _flat(schema: Schema, models: Mapping[str, Schema], group: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield the options below a schema by their full names, with references resolved."""
    for name, each in schema["properties"].items():
        model = models[each["$ref"].rpartition("/")[2]] if "$ref" in each else {}
        if "properties" in model:
            yield from _flat(model, models, f"{name}.")
        else:
            yield group + name, {**model, **each}


def _as_text(schema: Schema) -> Schema:
    """Return the schema of an option in a query: a list is written `a,b`."""
    kept = {name: value for name, value in schema.items() if name not in ("$ref", "title")}
    if kept["type"] != "array":
        return kept
    default = ",".join(f"{part:g}" for part in kept["default"])
    return {"type": "string", "default": default, "description": kept["description"]}


def _only(schema: Schema) -> Callable[[Schema], None]:
    """Return what makes a field's schema this one."""

    def replace(made: Schema) -> None:
        made.clear()
        made.update(schema)

    return replace
