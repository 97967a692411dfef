"""Build a kustomization as `kubectl kustomize` does, as far as those of this project go.

It knows resources, and patches in files, which it merges strategically: lists of things with names by name, all
other lists as a whole, and null removes. A test compares it with the real one where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

#: A resource, by its fields.
Resource = dict[str, Any]

_KNOWN = {"apiVersion", "kind", "resources", "patches"}


def build(folder: Path) -> list[Resource]:
    """Return the resources of a kustomization. Raises ValueError for what this does not know."""
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    if unknown := set(plan) - _KNOWN:
        raise ValueError(f"{folder} uses {', '.join(sorted(unknown))}.")
    resources = [each for name in plan["resources"] for each in _load(folder / name)]
    for patch in plan.get("patches", []):
        for change in documents(folder / patch["path"]):
            (target,) = [each for each in resources if key(each) == key(change)]
            target.update(_merged(target, change))
    return resources


def key(resource: Resource) -> tuple[str, str]:
    """Return the kind and the name of a resource."""
    return resource["kind"], resource["metadata"]["name"]


def documents(file: Path) -> Iterator[Resource]:
    """Yield the documents of a YAML file."""
    return iter(list(yaml.safe_load_all(file.read_text(encoding="utf-8"))))


def is_named(value: Any) -> bool:
    """Return whether a value is a list of things with names."""
    return isinstance(value, list) and all(isinstance(each, dict) and "name" in each for each in value)


def _load(path: Path) -> Iterator[Resource]:
    yield from build(path) if path.is_dir() else documents(path)


def _merged(base: Any, change: Any) -> Any:
    if isinstance(base, dict) and isinstance(change, dict):
        merged = base | {name: _merged(base.get(name), value) for name, value in change.items()}
        return {name: value for name, value in merged.items() if value is not None}
    if is_named(base) and is_named(change):
        changes = {each["name"]: each for each in change}
        kept = [_merged(each, changes.pop(each["name"], {})) for each in base]
        return kept + list(changes.values())
    return change
