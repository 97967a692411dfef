"""Call a package's Lua scripts by name, on one server."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from typing import Any

from redis import Redis

from shared.redis.client import redis_errors

#: All of Fathom's own keys begin with this hash tag, so they lie in one slot.
ROOT = "{fathom}"

#: Constants that Python and Lua share, by their names in Lua: numbers, words, or words that become a set.
Constants = Mapping[str, int | str | Collection[str]]


class Scripts:
    """The scripts `lua/<name>.lua` of a package, each after the given constants and preludes.

    They are called by their hash, and loaded again if the server has lost them.
    """

    def __init__(
        self,
        client: Redis,
        names: Iterable[str],
        *,
        package: str,
        preludes: tuple[str, ...] = (),
        constants: Constants | None = None,
    ) -> None:
        head = to_lua(constants or {})
        self._scripts = {
            name: client.register_script(head + _source(package, (*preludes, name))) for name in names
        }

    def call(self, name: str, *args: str | int | bytes) -> Any:
        """Run a script with the root of all keys as its only key.

        Raises JobStoreUnavailable, and JobStoreFull where the server is out of memory.
        """
        with redis_errors():
            return self._scripts[name](keys=[ROOT], args=args)


def to_lua(constants: Constants) -> str:
    """Return constants as Lua code, one line each, such as `local ENDS = { ["failed"] = true }`."""
    return "".join(f"local {name} = {_literal(value)}\n" for name, value in constants.items())


def _literal(value: int | str | Collection[str]) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{value}"'
    return "{ " + ", ".join(f'["{word}"] = true' for word in sorted(value)) + " }"


def _source(package: str, parts: tuple[str, ...]) -> str:
    folder = resources.files(package) / "lua"
    return "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in parts)
