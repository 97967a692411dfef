"""`fathom up`: the whole of Fathom on this machine."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import click

from fathom.commands.arguments import json_option, print_json, quiet_option
from fathom.commands.exit import one_sentence


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    help="Images each worker processes at once.  [default: one for each core, shared by the workers]",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".fathom"),
    show_default=True,
    help="Folder for jobs, logs and stack.json; started again on it, Fathom continues its jobs.",
)
@json_option
@quiet_option
def up(
    port: int, host: str, workers: int, concurrency: int | None, data: Path, as_json: bool, quiet: bool
) -> None:
    """Start Fathom: Valkey, an S3 server, the API and workers, until Ctrl-C.

    Writes DATA/stack.json once everything is ready. With --json, then prints the API's address, the path of
    that file and the process ids; the keys are only in the file, which only its owner can read.
    """
    say = _be_silent if quiet or as_json else _say
    with one_sentence():
        from fathom.stack.stack import Stack, StackPlan, Stopped, StopSignal

        each = concurrency or max(1, cores() // workers)
        plan = StackPlan(data_dir=data, host=host, port=port, workers=workers, concurrency=each)
        stop_signal, began = StopSignal(), time.monotonic()
        stop_signal.listen()
        stack = Stack(plan, stop_signal=stop_signal, say=say)
        try:
            with stack.running():
                say(f"ready after {time.monotonic() - began:.1f} s: {plan.slots} images at once")
                if as_json:
                    _print_stack(stack.stack_file)
                elif not quiet:
                    _invite(stack.url, stack.stack_file)
                stack.supervise()
                say("stopping (Ctrl-C again: at once)")
        except Stopped:
            say("stopped before it was ready")
        say("stopped")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _invite(url: str, stack_file: Path) -> None:
    api = "" if url == "http://127.0.0.1:8080" else f" --api {url}"
    click.echo(f"\n  open    {url}", err=True)
    click.echo(f"  or run  fathom submit PHOTOS --out RESULTS{api}", err=True)
    click.echo(f"  details {stack_file}   (Ctrl-C ends everything)\n", err=True)


def _print_stack(stack_file: Path) -> None:
    stack = json.loads(stack_file.read_text())
    print_json({"api": stack["api"], "stack_file": str(stack_file), "pids": stack["pids"]})


def _be_silent(text: str) -> None:
    """Say nothing."""


def _say(text: str) -> None:
    click.echo(f"fathom: {text}", err=True)
