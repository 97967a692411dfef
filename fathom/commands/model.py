"""`fathom model`: the depth networks, their weights and their graphs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fathom.commands.arguments import json_option, print_json, quiet_option
from fathom.commands.exit import one_sentence
from fathom.commands.model_files import add, fetch_file_model, remove, share, unshare
from fathom.commands.train import train
from fathom.progress import show_progress

if TYPE_CHECKING:
    from shared.networks import Network
    from shared.settings import Settings

FORMATS = ("onnx", "openvino")


@click.group()
def model() -> None:
    """List, fetch, add, describe, fine-tune or export depth networks."""


model.add_command(train)
for command in (add, remove, share, unshare):
    model.add_command(command)


NAME = click.argument("name", required=False, metavar="[NAME]")


@model.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List the networks there are, with their licences and what they cost."""
    with one_sentence():
        from shared.settings import Settings
        from worker.model.description import list_networks

        networks = list_networks(Settings.from_environ().cache_dir)
    if as_json:
        print_json({"models": networks})
        return
    for each in networks:
        have = "fetched" if each["fetched"] else f"{each['megabytes']} MB to fetch"
        click.echo(
            f"{each['name']:<24} {each['relative_cost']:>6}x  {each['official_weights_licence']:<11} "
            f"{have:<16} {each['suits']}"
        )


@model.command()
@NAME
@json_option
@quiet_option
def fetch(name: str | None, as_json: bool, quiet: bool) -> None:
    """Download and verify official weights; give up soon if there is no connection.

    NAME is an official network that `fathom model list` shows, or file:N, which is taken from the object
    store that FATHOM_S3_* name; without it, FATHOM_MODEL.
    """
    with one_sentence():
        from shared.networks import find_network, is_file_model
        from worker.model.fetch import fetch_official

        settings = _settings(name)
        if is_file_model(settings.model):
            fetch_file_model(settings, as_json=as_json)
            return
        network = find_network(settings.model)
        if not (quiet or as_json):
            _show_licences(network)
        display = show_progress(quiet=quiet or as_json)
        with display.line("fetching", 0, "bytes") as line:
            path = fetch_official(
                settings.cache_dir, progress=line.reach, network=network, mirror=settings.weights_mirror
            )
    if as_json:
        print_json({"path": str(path)})
    else:
        click.echo(f"The official weights are at {path}.")


def _settings(name: str | None) -> Settings:
    """Return the settings with this network, or that of the environment."""
    from shared.settings import Settings

    if name is None:
        return Settings.from_environ()
    from shared.networks import find_network, is_file_model

    known = name if is_file_model(name) else find_network(name).name
    return Settings.from_environ({**os.environ, "FATHOM_MODEL": known})


def _show_licences(network: Network) -> None:
    click.echo(
        f"{network.title}: {network.megabytes} MB; licence of the code: {network.code_licence}, "
        f"of the weights: {network.weights_licence}.",
        err=True,
    )
    if network.licence_note:
        click.echo(network.licence_note, err=True)
    if not network.sha256:
        click.echo("Its authors published no hash: only the names and shapes are checked.", err=True)


@model.command()
@NAME
@json_option
def info(name: str | None, as_json: bool) -> None:
    """Say which network, weights and engine would be used here.

    With a NAME, describe that network, even without its weights.
    """
    with one_sentence():
        description = _describe(name)
    if as_json:
        print_json(description)
        return
    for key, value in description.items():
        click.echo(f"{key:<24} {value}")


def _describe(name: str | None) -> dict[str, Any]:
    from worker.model.description import describe, describe_fully

    settings = _settings(name)
    return describe(settings) if name is None else describe_fully(settings)


@model.command()
@NAME
@click.option("--format", "kind", type=click.Choice(FORMATS), default="onnx", show_default=True)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@click.option("--weights", metavar="W", help="As FATHOM_WEIGHTS, which is the default.")
@json_option
def export(name: str | None, kind: str, out: Path, weights: str | None, as_json: bool) -> None:
    """Write a network for use elsewhere.

    NAME is a network that `fathom model list` shows; without it, FATHOM_MODEL. Its input is
    float32, N x 3 x H x W: normalised RGB, H and W multiples of 32 (of 14 for Depth Anything);
    its output, N x H x W, is relative inverse depth. `openvino` writes an .xml and a .bin.
    Of file:N, `onnx` writes the file as it was added, and `openvino` a network for which bigger
    is nearer.
    """
    with one_sentence():
        from shared.model_registry import find_model
        from worker.model.graph import export_model

        settings = _settings(name)
        files = export_model(
            weights or settings.weights,
            settings.cache_dir,
            kind,
            out,
            network=find_model(settings.model, settings.cache_dir),
        )
    if as_json:
        print_json({"files": [str(file) for file in files]})
    else:
        click.echo("\n".join(str(file) for file in files))
