from __future__ import annotations

import re

from docs.options_table import PAGE, filled, outputs_with_options, tables
from fathom.options import Options, Output

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_of_the_outputs_page_are_up_to_date():
    assert filled(TEXT) == TEXT, "run: python -m docs.options_table"


def test_every_output_has_its_section_and_its_options_a_table():
    headings = re.findall(r"^## `(\w+)`", TEXT, re.MULTILINE)

    assert sorted(headings) == sorted(Output)
    assert sorted(tables(TEXT)) == sorted(["files", "presets", *outputs_with_options()])


def test_a_table_has_the_defaults_and_the_values():
    table = filled("<!-- table: stereo -->\nold\n<!-- end -->\n")

    assert "old" not in table
    assert "| `stereo.divergence` | `2 (0 to 5)` | " in table
    assert "| `stereo.eyes` | `both`, `left`, `right` | " in table
    assert "| `stereo.swap` | `false`, `true` | " in table


def test_documented_values_are_those_that_the_options_take():
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \| (.*?) \|", TEXT, re.MULTILINE)

    assert len(rows) > 25
    for output, name, values in rows:
        for number, value in enumerate(re.findall(r"`([^` ]+)(?: \(.*\))?`", values)):
            given = Options.from_pairs([f"outputs={output}", f"{output}.{name}={value}"])
            assert (given == Options.parse({"outputs": [output]})) is (number == 0)
