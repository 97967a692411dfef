"""Arguments that several subcommands share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from fathom.options import PRESETS, Options, OptionsRefused
from fathom.options.presets import PRESET
from fathom.photos.discovery import check_path

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_API = "http://127.0.0.1:8080"


class ExistingPath(click.ParamType[Path | str]):
    """An existing file or folder of this machine; with `folder`, only a folder."""

    name = "path"

    def __init__(self, *, folder: bool = False) -> None:
        self._folder = folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Return the path; one that does not exist, or is neither a file nor a folder, is wrong usage."""
        path = Path(os.fsdecode(value))
        try:
            check_path(path)
        except FileNotFoundError:
            self.fail(f"{path} does not exist.", param, ctx)
        except OSError as exc:
            self.fail(f"{path}: {exc.strerror}.", param, ctx)
        if self._folder and not (path.is_dir() and os.access(path, os.R_OK | os.X_OK)):
            self.fail(f"{path} is not a folder that can be read.", param, ctx)
        return path

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete files and folders."""
        return [CompletionItem(incomplete, type="dir" if self._folder else "file")]


def refuse_inside_out(paths: Sequence[Path], out: Path, *, called: str = "--out") -> None:
    """Refuse one folder for photos and results: the next run would take the results for photos."""
    for path in paths:
        if os.path.realpath(path) == os.path.realpath(out):
            raise click.UsageError(
                f"{called} must be another folder than {path}; it may be inside, such as {path / 'depth'}."
            )


def api_option(command: F) -> F:
    return click.option(
        "--api",
        envvar="FATHOM_API",
        default=DEFAULT_API,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="Address of the API.",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print only JSON on standard output.")(
        command
    )


def quiet_option(command: F) -> F:
    return click.option("--quiet", "-q", is_flag=True, help="Show no progress.")(command)


def option_option(command: F) -> F:
    return click.option(
        "--option",
        "-o",
        "pairs",
        multiple=True,
        metavar="NAME=VALUE",
        help="An option of the job, such as outputs=heatmap,stereo or stereo.layout=cross; repeatable.",
    )(command)


def preset_option(command: F) -> F:
    return click.option(
        "--preset",
        type=click.Choice([*PRESETS]),
        metavar="NAME",
        help=f"Outputs and options for a purpose: {', '.join(PRESETS)}.",
    )(command)


def model_option(command: F) -> F:
    return click.option(
        "--model",
        metavar="NAME",
        help="Short for `-o model=NAME`: a network of `fathom model list`.",
    )(command)


def sidecars_option(command: F) -> F:
    return click.option(
        "--sidecars",
        is_flag=True,
        help="Also write every image's JSON sidecar, which explains its numbers.",
    )(command)


def out_option(command: F) -> F:
    return click.option(
        "--out",
        required=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder for the results; created if it is missing.",
    )(command)


def parse_options(pairs: Iterable[str], preset: str | None = None, model: str | None = None) -> Options:
    """Return the job's options: those of a preset, overridden by pairs, and these by a model.

    A wrong one is wrong usage.
    """
    chosen = [] if preset is None else [f"{PRESET}={preset}"]
    named = [f"model={model}"] if model else []
    try:
        return Options.from_pairs([*chosen, *pairs, *named])
    except OptionsRefused as exc:
        raise click.UsageError(f"{exc} (--option)") from exc


def print_json(data: Any, *, indent: int | None = 2) -> None:
    """Print JSON in UTF-8, whatever the locale is, as RFC 8259 requires."""
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    click.echo(text.encode(errors="replace"))
