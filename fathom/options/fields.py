"""How the fields of options are declared, and how their values are read.

A declaration holds all that is known of a field: its default, its bounds, its description, and how a
value is read that was given as JSON or as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, fields, is_dataclass
from enum import StrEnum
from math import isfinite
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: A network: an official one by its name, or a registered file.
_MODEL = re.compile(r"(file:)?[a-z0-9][a-z0-9_.-]{0,62}")
#: A folder's name that every system takes.
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")

# As pydantic reads one (https://docs.pydantic.dev/latest/api/standard_library_types/#booleans).
_FALSE = (0, "0", "off", "f", "false", "n", "no")
_TRUE = (1, "1", "on", "t", "true", "y", "yes")


class OptionsRefused(ValueError):
    """The options of a job are not as they must be."""


#: The settings of the groups for pydantic, which describes the options of the API by their fields.
NOTHING_ELSE: Final[dict[str, Any]] = {"extra": "forbid"}


def custom(default: Any, description: str, read: Callable[[Any], Any], **limits: Any) -> Any:
    """Declare a field. `read` returns its value, or raises ValueError saying what it must be."""
    return field(default=default, metadata={"description": description, "read": read, **limits})


def described(**schema: Any) -> dict[str, Any]:
    """Return what JSON Schema says of a field beyond its type and its bounds, as pydantic takes it."""
    return {"json_schema_extra": schema}


def choice(default: StrEnum, description: str) -> Any:
    """Declare one of a kind of names."""
    return custom(default, description, read_choice(type(default)))


def flag(default: bool, description: str) -> Any:
    """Declare a truth value."""
    return custom(default, description, _read_flag)


def number(default: float, low: float, high: float, description: str) -> Any:
    """Declare a number from `low` to `high`."""

    def read(value: Any) -> float:
        read = as_number(value)
        if not low <= read <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return read

    return custom(default, description, read, ge=low, le=high)


def whole_number(default: int, low: int, high: int, description: str) -> Any:
    """Declare a whole number from `low` to `high`."""

    def read(value: Any) -> int:
        read = as_number(value)
        if not low <= read <= high or read != int(read):
            raise ValueError(f"must be a whole number from {low:,} to {high:,}")
        return int(read)

    return custom(default, description, read, ge=low, le=high)


def folder(description: str) -> Any:
    """Declare the name of a folder, none by default."""

    def read(value: Any) -> str:
        if isinstance(value, str) and (value == "" or _FOLDER.fullmatch(value)):
            return value
        raise ValueError("must be a folder's name of letters, digits, `-` and `_`")

    return custom("", description, read, **described(pattern=f"^({_FOLDER.pattern})?$"))


def model(description: str) -> Any:
    """Declare the name of a network, none by default."""

    def read(value: Any) -> str:
        if isinstance(value, str) and (value == "" or _MODEL.fullmatch(value)):
            return value
        raise ValueError("must be the name of a model, such as dpt_large or file:NAME")

    return custom("", description, read, **described(pattern=f"^({_MODEL.pattern})?$"))


def group(default: T) -> T:
    """Declare the options of an output, as a group of its name."""
    kind = type(default)

    def read(value: Any) -> T:
        if not isinstance(value, Mapping):
            raise ValueError("must be a JSON object")
        return kind(**read_fields(kind, value))

    # Other words than those of the group itself: pydantic leaves out a field's description that repeats them.
    about = (kind.__doc__ or "").strip().rstrip(".")
    return custom(default, f"{about}, which must be among the outputs.", read)  # type: ignore[no-any-return]


def read_fields(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass as given by their names.

    Raises OptionsRefused with a few words for each thing that is wrong; for an unknown name, these are the
    names of all fields.
    """
    readers = {each.name: each.metadata["read"] for each in fields(kind)}
    read: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in data.items():
        if name not in readers:
            wrong.append(f"{name} is not an option; the options are {', '.join(readers)}")
            continue
        try:
            read[name] = readers[name](value)
        except OptionsRefused as exc:
            wrong += [f"{name}.{reason}" for reason in exc.args]
        except ValueError as exc:
            wrong.append(f"{name} {exc}")
    if wrong:
        raise OptionsRefused(*wrong)
    return read


def as_json(value: Any) -> Any:
    """Return a value of a field as plain JSON."""
    if isinstance(value, tuple):
        return [as_json(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_json(getattr(value, each.name)) for each in fields(value)}
    return value.value if isinstance(value, StrEnum) else value


def nested(pairs: Iterator[tuple[str, str]]) -> dict[str, Any]:
    """Return values given by names such as `stereo.layout` as an object with groups.

    Raises OptionsRefused for a name that is given both by itself and as a group.
    """
    data: dict[str, Any] = {}
    for name, value in pairs:
        outer, dot, inner = name.partition(".")
        if outer in data and isinstance(data[outer], dict) is not bool(dot):
            raise OptionsRefused(f"{outer} is given both by itself and as a group, {outer}.NAME")
        if dot:
            data.setdefault(outer, {})[inner] = value
        else:
            data[outer] = value
    return data


def read_parts(value: Any) -> list[Any]:
    """Return the parts of a list, which may also be written `a,b`."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list")
    return list(value)


def read_choice(kind: type[StrEnum]) -> Callable[[Any], Any]:
    """Return what reads the name of one of a kind."""

    def read(value: Any) -> StrEnum:
        try:
            return kind(value)
        except ValueError as exc:
            raise ValueError(f"must be one of {', '.join(kind)}") from exc

    return read


def as_number(value: Any) -> float:
    """Return a finite number given as one or as text. Raises ValueError for anything else."""
    try:
        number = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError, OverflowError) as exc:
        raise ValueError("must be a number") from exc
    if not isfinite(number):
        raise ValueError("must be a number")
    return number


def _read_flag(value: Any) -> bool:
    word = value.lower() if isinstance(value, str) else value
    if word in _FALSE:
        return False
    if word in _TRUE:
        return True
    raise ValueError("must be true or false")
