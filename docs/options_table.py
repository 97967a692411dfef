"""Write the tables of `docs/outputs.md` from the options themselves: `python -m docs.options_table`.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`: `files`, `presets`, or an output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from fathom.options import PRESETS, Options, Output
from fathom.options.guide import group_texts
from fathom.result_names import output_files, result_names
from shared.jobs.object_keys import content_type

PAGE = Path(__file__).with_name("outputs.md")

_TABLE = re.compile(r"(?<=<!-- table: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """Return a page with its tables written anew."""
    return _TABLE.sub(lambda found: f"{found[1]}{found[2]}{_table(found[1])}\n", page)


def tables(page: str) -> list[str]:
    """Return the names of a page's tables."""
    return [name for name, _ in _TABLE.findall(page)]


def outputs_with_options() -> list[Output]:
    """Return the outputs that have options of their own."""
    return [output for output in Output if output in {each.name for each in fields(Options)}]


def _table(name: str) -> str:
    head, rows = _TABLES.get(name, (_OPTIONS, lambda: _option_rows(Output(name))))
    return "\n".join([head, re.sub(r"[^|]+", "---", head), *rows()])


_OPTIONS = "| option | values, the default first | meaning |"


def _file_rows() -> Iterator[str]:
    """Yield a row for every file that an output may have."""
    for output in Output:
        told: set[tuple[str, str]] = set()
        for option in ("", *_variants(output)):
            options = Options.from_pairs([f"outputs={output}", *([option] if option else [])])
            beside = next(result_names(["a/b.jpg"], options))
            files = {(name, path) for name, path in beside.items() if name != "depth"}
            said = f"`{output}`, `{option}`" if option else f"`{output}`"
            for name, path in sorted(files - told):
                yield f"| {said} | `{name}` | `{path}` | `{content_type(output_files(options)[name])}` |"
            told |= files


def _variants(output: Output) -> Iterator[str]:
    """Yield all options of an output that may change its files: `heatmap_format`, or those of its group."""
    for prefix, group in (("", Options()), (f"{output}.", getattr(Options(), output, None))):
        for each in fields(group) if group else ():
            if prefix or each.name.startswith(f"{output}_"):
                for value in _samples(getattr(group, each.name)):
                    yield f"{prefix}{each.name}={value}"


def _samples(default: Any) -> Sequence[str]:
    if isinstance(default, StrEnum):
        return [*type(default)]
    if isinstance(default, bool):
        return ["true", "false"]
    return ["depths"] if default == "" else []


def _option_rows(output: Output) -> Iterator[str]:
    for each in group_texts(output):
        # In a table, a bar would end the cell.
        values = ", ".join(f"`{value.strip()}`" for value in each.values.split("|"))
        values = values.replace("`NAME`", "none, or a name")
        yield f"| `{output}.{each.name}` | {values} | {each.description} |"


def _preset_rows() -> Iterator[str]:
    for name, preset in PRESETS.items():
        outputs = ", ".join(f"[`{output}`](#{output})" for output in preset.options["outputs"])
        yield f"| `{name}` | {preset.title} | {outputs} |"


#: Tables that are not of one output: their heads, and what yields their rows.
_TABLES: Mapping[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "files": ("| output | result in the API | file for `a/b.jpg` | type |", _file_rows),
    "presets": ("| preset | for | outputs |", _preset_rows),
}


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
