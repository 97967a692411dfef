from __future__ import annotations

from shared.redis.scripts import to_lua


def test_constants_are_declared_before_a_script_as_lua_writes_them() -> None:
    text = to_lua({"MOST": 5000, "ENDS": frozenset({"failed", "canceled"})})

    assert text == 'local MOST = 5000\nlocal ENDS = { ["canceled"] = true, ["failed"] = true }\n'
