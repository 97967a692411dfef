"""JSON Schemas of the request and response models, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.schema.operation import Operation
from api.schema.response_models import Problem

Schema = dict[str, Any]

_REF = "#/components/schemas/{model}"
_BINARY: Schema = {"type": "string", "format": "binary"}


class Models:
    """The schemas of all models of an API, each written once."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        used = dict.fromkeys(_used_by(operations))
        found, shared = models_json_schema([*used], ref_template=_REF)
        self._refs = found
        self._schemas: dict[str, Schema] = shared["$defs"]
        #: Models whose fields are inlined, as parameters or parts of a form.
        self._inlined: set[str] = set()

    def ref(self, model: type[BaseModel], mode: JsonSchemaMode = "serialization") -> Schema:
        """Return a reference to a model's schema."""
        return dict(self._refs[model, mode])

    def fields(self, model: type[BaseModel]) -> Iterator[tuple[str, Schema, bool]]:
        """Yield the fields of a request model: name, schema, and whether it is required."""
        name = self._refs[model, "validation"]["$ref"].rpartition("/")[2]
        self._inlined.add(name)
        schema = self._schemas[name]
        for field, properties in schema.get("properties", {}).items():
            yield field, _without_null(properties), field in schema.get("required", ())

    def form(self, model: type[BaseModel] | None, files: Mapping[str, str]) -> Schema:
        """Return the schema of a form: its files, which may be repeated, and the fields of a model."""
        properties: Schema = {
            name: {"type": "array", "items": _BINARY, "description": text} for name, text in files.items()
        }
        required = []
        for name, schema, is_required in () if model is None else self.fields(model):
            properties[name] = schema
            required += [name] if is_required else []
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def components(self) -> dict[str, Schema]:
        """Return the schemas that others refer to."""
        return {name: schema for name, schema in self._schemas.items() if name not in self._inlined}

    def event(self, events: Mapping[str, type[BaseModel] | None]) -> Schema:
        """Return the schema of one server-sent event of a stream."""
        data = [{"type": "object"} if model is None else self.ref(model) for model in events.values()]
        content = {"contentMediaType": "application/json", "contentSchema": {"anyOf": data}}
        return {
            "type": "object",
            "properties": {
                "event": {"enum": list(events)},
                "id": {"type": "string"},
                "data": {"type": "string", **content},
            },
            "required": ["event", "data"],
        }


def of_media(media: str) -> Schema:
    """Return the schema of a file of a media type."""
    if media == "application/json":
        return {"type": "object"}
    return {"type": "string"} if media.startswith("text/") else dict(_BINARY)


def _used_by(operations: Iterable[Operation]) -> Iterator[tuple[type[BaseModel], JsonSchemaMode]]:
    yield Problem, "serialization"
    for operation in operations:
        if operation.query is not None:
            yield operation.query, "validation"
        for body in operation.bodies:
            for model in (*filter(None, [body.model]), *body.others):
                yield model, "validation"
        for answer in operation.answers:
            for model in filter(None, (*answer.models, *answer.events.values())):
                yield model, "serialization"


def _without_null(schema: Schema) -> Schema:
    """Return the schema of a parameter: it is left out where JSON would have null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**choices[0], **rest}
