"""Arguments that several subcommands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from client.api import Fathom
from client.failure import one_sentence

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_API = "http://127.0.0.1:8080"


def api_option(command: F) -> F:
    return click.option(
        "--api",
        envvar="FATHOM_API",
        default=DEFAULT_API,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="Where Fathom answers.",
    )(command)


def json_option(command: F) -> F:
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON on standard output, nothing else."
    )(command)


def quiet_option(command: F) -> F:
    return click.option("--quiet", "-q", is_flag=True, help="Show no progress.")(command)


def option_option(command: F) -> F:
    return click.option(
        "--option",
        "-o",
        "pairs",
        multiple=True,
        metavar="NAME=VALUE",
        help="An option of the job, such as outputs=heatmap,depth16 or heatmap_format=jpeg; may be repeated.",
    )(command)


def sidecars_option(command: F) -> F:
    return click.option(
        "--sidecars", is_flag=True, help="Write the JSON sidecar of every image too: what its numbers mean."
    )(command)


def out_option(command: F) -> F:
    return click.option(
        "--out",
        required=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder for the results; made if missing.",
    )(command)


def connect(api: str) -> Fathom:
    return Fathom(api)


def parse_options(pairs: Iterable[str]) -> dict[str, Any]:
    """Return the job's options as JSON values; a wrong one is wrong usage."""
    with one_sentence():
        from shared.options import Options

        return Options.from_pairs(pairs).to_json()


def print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))
