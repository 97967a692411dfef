"""`fathom model train`: fine-tune the network on your own photographs with depth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from fathom.commands.arguments import json_option, print_json, quiet_option
from fathom.commands.exit import CommandFailed, one_sentence
from fathom.progress import ProgressLine, show_progress

if TYPE_CHECKING:
    from training.finetune import Epoch

Method = Literal["full", "lora"]
Meaning = Literal["inverse_depth", "depth"]


@click.command()
@click.option(
    "--pairs",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of NAME.jpg with NAME.pfm or NAME.depth.png (16 bits) beside it.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The weights to write (.safetensors); the validation curve goes beside them (.jsonl).",
)
@click.option("--weights", metavar="W", help="Where to start: as FATHOM_WEIGHTS, which is the default.")
@click.option("--method", type=click.Choice(get_args(Method)), default="full", show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True)
@click.option(
    "--meaning",
    type=click.Choice(get_args(Meaning)),
    default="inverse_depth",
    show_default=True,
    help="What the numbers of a depth file are: larger is nearer, or distance.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
@quiet_option
def train(
    pairs: Path,
    out: Path,
    weights: str | None,
    method: Method,
    epochs: int,
    meaning: Meaning,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fine-tune the network on photographs with depth.

    A fifth of the pairs is held out; the weights of the epoch that did best on them are
    kept. `FATHOM_WEIGHTS=OUT` makes workers use them.
    """
    if out.suffix != ".safetensors":
        raise click.UsageError("The name of --out must end in .safetensors.")
    start = _start(weights)
    curve: list[Epoch] = []
    with one_sentence(), show_progress(quiet=quiet or as_json).line("training", epochs, "epochs") as line:
        from training.finetune import finetune

        def report(state: Epoch) -> None:
            curve.append(state)
            _show(line, state)

        finetune(pairs, start, out, method=method, epochs=epochs, meaning=meaning, seed=seed, report=report)
    _conclude(out, curve, as_json=as_json)


def _start(spec: str | None) -> Path:
    """Return the file of the weights to start from."""
    with one_sentence():
        import training.finetune  # noqa: F401 - asked for before any work, for a clear answer without torch
        from shared.settings import Settings
        from worker.model.weights import resolve_weights

        settings = Settings.from_environ()
        found = resolve_weights(spec or settings.weights, settings.cache_dir)
    if found.path is None:
        raise CommandFailed("Random weights have learnt nothing to start from; name others with --weights.")
    return found.path


def _show(line: ProgressLine, state: Epoch) -> None:
    line.note = f"validation error {state.validation_error:.4f}{' (best)' if state.best else ''}"
    line.reach(state.epoch, state.epochs)


def _conclude(out: Path, curve: list[Epoch], *, as_json: bool) -> None:
    before, best = curve[0].validation_error, min(state.validation_error for state in curve)
    if as_json:
        print_json({"weights": str(out), "validation_error_before": before, "validation_error": best})
        return
    click.echo(f"{out}: validation error {best:.4f}, from {before:.4f}. Use it with FATHOM_WEIGHTS={out}.")
