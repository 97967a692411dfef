"""`fathom model add|remove|share|unshare`: models from ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fathom.commands.arguments import json_option, print_json
from fathom.commands.exit import one_sentence
from fathom.commands.service_store import data_option, open_objects

if TYPE_CHECKING:
    from shared.networks import Network
    from shared.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


class _Triple(click.ParamType[tuple[float, float, float]]):
    """Three numbers, one for each colour; none of them 0 where `positive`."""

    name = "R,G,B"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        try:
            red, green, blue = map(float, str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not three numbers, such as 0.485,0.456,0.406.", param, ctx)
        if not all(abs(each) < 1000 and (each > 0 or not self._positive) for each in (red, green, blue)):
            self.fail(f"{value!r} has numbers that pictures cannot be normalised with.", param, ctx)
        return red, green, blue


class _Size(click.ParamType[tuple[int, int]]):
    """A height and a width."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        height, _, width = str(value).partition("x")
        if not all(side.isdecimal() and 0 < int(side) <= _MOST_SIDE for side in (height, width)):
            self.fail(f"{value!r} is not a height and a width, such as 384x512.", param, ctx)
        return int(height), int(width)


_MOST_SIDE = 8192
_SIDE = click.IntRange(1, _MOST_SIDE)

NAME = click.argument("name", metavar="N")
REPLACE = click.option("--replace", is_flag=True, help="Take the place of another model of this name.")


def preprocessing_options(command: F) -> F:
    """Add the options that say how a photo becomes a model's input."""
    rules = click.Choice(["upper_bound", "lower_bound", "minimal", "square"])
    options = (
        click.option("--input", "side", type=_SIDE, metavar="PIXELS", help="The side that --rule is about."),
        click.option("--multiple", type=_SIDE, metavar="PIXELS", help="What both sides are multiples of."),
        click.option("--rule", type=rules, default="lower_bound", show_default=True, help=_RULES),
        click.option("--longest", type=_SIDE, metavar="PIXELS", help=_LONGEST),
        click.option("--fixed", type=_Size(), help="The only size it takes; read from a file that says so."),
        click.option("--mean", type=_Triple(), default="0.485,0.456,0.406", show_default=True),
        click.option("--std", type=_Triple(positive=True), default="0.229,0.224,0.225", show_default=True),
        click.option("--resize", type=click.Choice(["cubic", "linear"]), default="cubic", help=_RESIZE),
    )
    for option in reversed(options):
        command = option(command)
    return command


_RULES = (
    "The longer side becomes --input, the shorter one does, the one that changes less does, or both do, "
    "whatever the photo's shape."
)
_LONGEST = "The longer side at most.  [default: --input, or twice that where the shorter side may become it]"
_RESIZE = "How its maps are enlarged to the photo's size (linear: with aligned corners).  [default: cubic]"


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, metavar="N", help="What to call it: file:N names it from then on.")
@click.option("--near", required=True, type=click.Choice(["high", "low"]), help="Which numbers are near.")
@click.option("--licence", required=True, metavar="TEXT", help="What its sidecars say may be done with it.")
@click.option("--title", metavar="TEXT", help="What its sidecars call it.  [default: file:N]")
@preprocessing_options
@REPLACE
@click.option("--share", "shared", is_flag=True, help="Put it into the object store too: see `share`.")
@data_option
@json_option
def add(
    file: Path,
    name: str,
    near: str,
    licence: str,
    title: str | None,
    side: int | None,
    multiple: int | None,
    rule: str,
    longest: int | None,
    fixed: tuple[int, int] | None,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    resize: str,
    replace: bool,
    shared: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Check the ONNX model FILE and make it a network called file:N.

    It takes one float32 input, N x 3 x H x W: a normalised RGB picture; and returns H x W, N x H x W or
    N x 1 x H x W. It is run on a photo, and refused if no depth map comes out.
    """
    with one_sentence():
        from shared.networks import file_model_name
        from shared.settings import Settings
        from worker.model.onnx_check import Draft, add_model

        full_name = file_model_name(name)
        draft = Draft(
            name=full_name,
            title=title or full_name,
            licence=licence,
            near=near,
            input=side,
            multiple=multiple,
            rule=rule,
            longest=longest,
            mean=mean,
            std=std,
            resize=resize,
            fixed=fixed,
        )
        network = add_model(file, draft, Settings.from_environ().cache_dir, replace=replace)
        if shared:
            _share(network.name, data, replace=replace)
    _report(
        network,
        as_json,
        f"Added {network.name}, which takes {network.cost:.1f} times as long as midas_small.",
    )


@click.command()
@NAME
@json_option
def remove(name: str, as_json: bool) -> None:
    """Remove the model file:N from this machine. One that is shared stays shared."""
    with one_sentence():
        from shared.model_registry import remove
        from shared.networks import file_model_name
        from shared.settings import Settings

        remove(Settings.from_environ().cache_dir, name)
        full_name = file_model_name(name)
    if as_json:
        print_json({"removed": full_name})
    else:
        click.echo(f"Removed {full_name}.")


@click.command()
@NAME
@REPLACE
@data_option
@json_option
def share(name: str, replace: bool, data: Path | None, as_json: bool) -> None:
    """Put the model file:N of this machine into the object store, from where workers take it.

    FATHOM_S3_* name the store; or --data names a running `fathom up`.
    """
    with one_sentence():
        network = _share(name, data, replace=replace)
    _report(network, as_json, f"{network.name} is in the object store.")


@click.command()
@NAME
@data_option
@json_option
def unshare(name: str, data: Path | None, as_json: bool) -> None:
    """Delete the model file:N from the object store. It stays where it has been fetched."""
    with one_sentence():
        from shared.model_registry import unshare
        from shared.networks import file_model_name

        full_name = file_model_name(name)
        with open_objects(data) as objects:
            unshare(objects, name)
    if as_json:
        print_json({"unshared": full_name})
    else:
        click.echo(f"{full_name} is no longer shared.")


def fetch_file_model(name: str, settings: Settings, *, as_json: bool) -> dict[str, Any]:
    """Take a model from the object store to this machine, and return what was done, as JSON."""
    from shared.model_registry import content_path, fetch_shared

    with open_objects(None) as objects:
        network = fetch_shared(objects, settings.cache_dir, name)
    if not as_json:
        click.echo(f"Fetched {network.name}. Licence: {network.weights_licence}.")
    return {"name": network.name, "path": str(content_path(settings.cache_dir, network)), "prepared": False}


def _share(name: str, data: Path | None, *, replace: bool) -> Network:
    from shared.model_registry import share
    from shared.settings import Settings

    with open_objects(data) as objects:
        return share(objects, Settings.from_environ().cache_dir, name, replace=replace)


def _report(network: Network, as_json: bool, sentence: str) -> None:
    from worker.model.description import describe_network

    if as_json:
        print_json(describe_network(network))
    else:
        click.echo(sentence)
