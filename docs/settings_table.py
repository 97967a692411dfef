"""Write `docs/settings.md` from the settings themselves: `python -m docs.settings_table`."""

from __future__ import annotations

from pathlib import Path

from shared.settings import Group, Settings, Variable

PAGE = Path(__file__).with_name("settings.md")

_HEAD = """\
<!-- Generated from shared/settings.py by `python -m docs.settings_table`; change it there. -->

# Settings

The API and the workers read these environment variables once, when they start. A bad value stops the start,
and the message names the variable. An empty value counts as not set. Lists are separated by commas or spaces.
"""

_TAIL = """\
## Other variables

| variable | what |
|---|---|
| `FATHOM_API` | The address of the service for the `fathom` command; `--api` overrides it. |
| `FATHOM_API_KEY` | The API key that the `fathom` command sends. |
| `OTEL_EXPORTER_OTLP_ENDPOINT` | A collector of traces: see [Traces](operations.md#traces). |
| `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` | Proxies for S3, traces, the model's download and the client. |
| `NO_PROXY` | Hosts that are reached without a proxy, as this machine always is. |
"""


def settings_page() -> str:
    """Return the text of `docs/settings.md`: a table for each group; benchmarks' settings are left out."""
    tables = [_table(group) for group in Group if group is not Group.BENCHMARKS]
    return "\n".join([_HEAD, *tables, _TAIL])


def _table(group: Group) -> str:
    rows = [_row(name, it) for name, it in Settings.variables().items() if it.group is group]
    return "\n".join([f"## {group}", "", "| variable | default | what |", "|---|---|---|", *rows, ""])


def _row(name: str, variable: Variable) -> str:
    default = f"`{variable.default}`" if variable.default else variable.unset
    return f"| `{name}` | {default} | {variable.about} |"


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
