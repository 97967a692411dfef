"""`fathom model`: the depth networks, their weights and their graphs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fathom.commands.arguments import json_option, print_json, quiet_option
from fathom.commands.connection import connect
from fathom.commands.exit import INTERRUPTED, one_sentence
from fathom.commands.model_files import add, fetch_file_model, remove, share, unshare
from fathom.commands.train import train
from fathom.models import ModelInfo
from fathom.progress import Display, show_progress

if TYPE_CHECKING:
    from shared.networks import Network
    from shared.settings import Settings

FORMATS = ("onnx", "openvino")

#: Without a terminal, a download prints a line at most so often: this share of it.
_PLAIN_STEP = 0.1


@click.group()
def model() -> None:
    """List, fetch, add, describe, fine-tune or export depth networks."""


model.add_command(train)
for command in (add, remove, share, unshare):
    model.add_command(command)


NAME = click.argument("name", required=False, metavar="[NAME]")


@model.command("list")
@click.option("--api", metavar="URL", help="Ask this server what its workers serve.")
@json_option
def list_all(api: str | None, as_json: bool) -> None:
    """List the networks there are, with their licences and what they cost.

    They are those of this machine, or with --api those that jobs of a server may name.
    """
    networks = _list_here() if api is None else _list_served(api)
    if as_json:
        print_json({"models": networks})
        return
    for each in networks:
        click.echo(_line(each) if api is None else _served_line(each))


def _list_here() -> list[dict[str, Any]]:
    with one_sentence():
        from shared.settings import Settings
        from worker.model.description import list_networks

        return list_networks(Settings.from_environ().cache_dir)


def _list_served(api: str) -> list[dict[str, Any]]:
    with connect(api) as fathom:
        return [dict(each.raw) for each in fathom.models()]


def _line(each: Mapping[str, Any]) -> str:
    have = "fetched" if each["fetched"] else f"{each['megabytes']} MB to fetch"
    licence = each["official_weights_licence"]
    return f"{each['name']:<24} {each['relative_cost']:>6}x  {licence:<11} {have:<16} {each['suits']}"


def _served_line(data: Mapping[str, Any]) -> str:
    each = ModelInfo.from_json(data)
    have = f"served by {each.slots}" if each.available else "not served"
    title = f"{each.title}, the default" if each.default else each.title
    return (
        f"{each.name:<24} {each.relative_cost:>6}x  {each.weights_licence or 'unknown':<11} {have:<16} "
        f"{each.tier or '-':<9} {title}"
    )


@model.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "every", is_flag=True, help="Fetch all networks that `fathom model list` shows.")
@click.option("--no-prepare", is_flag=True, help="Do not compile and try what was fetched.")
@json_option
@quiet_option
def fetch(names: tuple[str, ...], every: bool, no_prepare: bool, as_json: bool, quiet: bool) -> None:
    """Download and verify official weights, and give up soon if there is no connection.

    NAME is an official network that `fathom model list` shows, or file:N, which is taken from the object
    store that FATHOM_S3_* name; without it, FATHOM_MODEL. Repeat the command to continue an interrupted
    download. A network other than the default is then compiled and run once, so that no worker has to,
    unless that cannot be done here.
    """
    display = show_progress(quiet=quiet or as_json, plain_step=_PLAIN_STEP)
    try:
        with one_sentence():
            settings = _settings(None)
            networks, files = _named(names, settings, every=every)
            for network in networks:
                _show_licences(network, display)
            fetched = [
                *(
                    _fetch(each, settings, display, prepare=not no_prepare, as_json=as_json)
                    for each in networks
                ),
                *(fetch_file_model(name, settings, as_json=as_json) for name in files),
            ]
    except KeyboardInterrupt:
        display.say("Interrupted. The same command continues, if the server lets it.")
        raise SystemExit(INTERRUPTED) from None
    if as_json:
        print_json({"models": fetched})


def _named(names: tuple[str, ...], settings: Settings, *, every: bool) -> tuple[list[Network], list[str]]:
    """Return the official networks that are to be fetched, and the names of files."""
    from shared.networks import NETWORKS, find_network, is_file_model

    if every and names:
        raise click.UsageError("Name networks, or take --all.")
    wanted = dict.fromkeys(NETWORKS if every else names or (settings.model,))
    files = [name for name in wanted if is_file_model(name)]
    return [find_network(name) for name in wanted if name not in files], files


def _show_licences(network: Network, display: Display) -> None:
    display.say(
        f"{network.title}: {network.megabytes} MB; licence of the code: {network.code_licence}, "
        f"of the weights: {network.weights_licence}."
    )
    if network.licence_note:
        display.say(network.licence_note)
    if not network.sha256:
        display.say("Its authors published no hash: only the names and shapes are checked.")


def _fetch(
    network: Network, settings: Settings, display: Display, *, prepare: bool, as_json: bool
) -> dict[str, Any]:
    """Fetch a network's weights, prepare it if asked to, and return what was done, as JSON."""
    from worker.model.fetch import fetch_official

    with display.line("fetching", network.megabytes * 10**6, "bytes") as line:

        def show(done: int, total: int | None) -> None:
            # A server that does not say the size sends about what the catalogue says.
            line.track(done, total or max(done, network.megabytes * 10**6))

        path = fetch_official(
            settings.cache_dir,
            progress=show,
            say=display.say,
            network=network,
            mirror=settings.weights_mirror,
        )
        line.reach(path.stat().st_size, None)
    if not as_json:
        click.echo(f"The official weights are at {path}.")
    prepared = prepare and _prepare(network, settings, display)
    return {"name": network.name, "path": str(path), "prepared": prepared}


def _prepare(network: Network, settings: Settings, display: Display) -> bool:
    """Compile the network with its official weights and run it once; return whether that was done.

    The default network is known to compile, and needs no more than what starts the first worker anyway.
    """
    from worker.model.engines import prepare_engine
    from worker.model.graph import missing_to_prepare

    if network.is_default or settings.engine != "openvino":
        return False
    if missing := missing_to_prepare():
        display.say(
            f"{network.title} is not prepared here, which would take {', '.join(missing)}: "
            "fetch it where they are installed, and copy the cache's folder `graphs`."
        )
        return False
    display.say(f"Preparing {network.title} for OpenVINO.")
    prepare_engine(replace(settings, model=network.name, weights="official"))
    return True


def _settings(name: str | None) -> Settings:
    """Return the settings with this network, or that of the environment."""
    from shared.settings import Settings

    if name is None:
        return Settings.from_environ()
    from shared.networks import find_network, is_file_model

    known = name if is_file_model(name) else find_network(name).name
    return Settings.from_environ({**os.environ, "FATHOM_MODEL": known})


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
