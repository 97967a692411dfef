"""`fathom model`: the depth network's weights and its graph."""

from __future__ import annotations

from pathlib import Path

import click

from fathom.commands.arguments import json_option, print_json, quiet_option
from fathom.commands.exit import one_sentence
from fathom.commands.train import train
from fathom.progress import show_progress

FORMATS = ("onnx", "openvino")


@click.group()
def model() -> None:
    """Fetch, describe, fine-tune or export the depth network."""


model.add_command(train)


@model.command()
@json_option
@quiet_option
def fetch(as_json: bool, quiet: bool) -> None:
    """Download and verify the official checkpoint; give up soon if there is no connection."""
    with one_sentence():
        from shared.settings import Settings
        from worker.model.fetch import fetch_official

        display = show_progress(quiet=quiet or as_json)
        with display.line("fetching", 0, "bytes") as line:
            path = fetch_official(Settings.from_environ().cache_dir, progress=line.reach)
    if as_json:
        print_json({"path": str(path)})
    else:
        click.echo(f"The official weights are at {path}.")


@model.command()
@json_option
def info(as_json: bool) -> None:
    """Say which network, weights and engine would be used here."""
    with one_sentence():
        from shared.settings import Settings
        from worker.model.description import describe

        description = describe(Settings.from_environ())
    if as_json:
        print_json(description)
        return
    for name, value in description.items():
        click.echo(f"{name:<14} {value}")


@model.command()
@click.option("--format", "kind", type=click.Choice(FORMATS), default="onnx", show_default=True)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@click.option("--weights", metavar="W", help="As FATHOM_WEIGHTS, which is the default.")
@json_option
def export(kind: str, out: Path, weights: str | None, as_json: bool) -> None:
    """Write the network for use elsewhere.

    Its input is float32, N x 3 x H x W: normalised RGB, H and W multiples of 32; its
    output, N x H x W, is relative inverse depth. `openvino` writes an .xml and a .bin.
    """
    with one_sentence():
        from shared.settings import Settings
        from worker.model.graph import export_model

        settings = Settings.from_environ()
        files = export_model(weights or settings.weights, settings.cache_dir, kind, out)
    if as_json:
        print_json({"files": [str(file) for file in files]})
    else:
        click.echo("\n".join(str(file) for file in files))
