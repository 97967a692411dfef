"""`fathom up`: the whole of Fathom on this machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from client.failure import one_sentence


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
    help="Folder for jobs, logs and stack.json; started again on it, Fathom goes on with the jobs there.",
)
def up(port: int, host: str, workers: int, concurrency: int | None, data: Path) -> None:
    """Start Fathom: Valkey, an S3 server, the API and workers, until Ctrl-C.

    Writes DATA/stack.json once everything is ready.
    """
    with one_sentence():
        from client.stack import Stack, StackPlan, Stopped, StopSignal

        each = concurrency or max(1, cores() // workers)
        plan = StackPlan(data_dir=data, host=host, port=port, workers=workers, concurrency=each)
        stop_signal, began = StopSignal(), time.monotonic()
        stop_signal.listen()
        stack = Stack(plan, stop_signal=stop_signal, say=_say)
        try:
            with stack.running():
                _say(f"ready after {time.monotonic() - began:.1f} s: {plan.slots} images at once")
                _invite(stack.url, stack.stack_file)
                stack.supervise()
                _say("stopping (Ctrl-C again: at once)")
        except Stopped:
            _say("stopped before it was ready")
        _say("stopped")


def cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _invite(url: str, stack_file: Path) -> None:
    api = "" if url == "http://127.0.0.1:8080" else f" --api {url}"
    click.echo(f"\n  open    {url}", err=True)
    click.echo(f"  or run  fathom submit PHOTOS --out RESULTS{api}", err=True)
    click.echo(f"  details {stack_file}   (Ctrl-C ends everything)\n", err=True)


def _say(text: str) -> None:
    click.echo(f"fathom: {text}", err=True)
