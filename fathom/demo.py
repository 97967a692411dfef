"""`make demo`: the whole of Fathom once, on this machine: `python -m fathom.demo [--album DIR] [--out DIR]`.

Starts a stack of its own in a temporary folder, sends an album through it with the
`fathom` command's own code, leaves the heatmaps in a folder, and stops the stack.
Exits as `fathom submit` does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from fathom.cli import main as fathom
from fathom.commands.exit import CommandFailed, one_sentence
from fathom.stack.servers import tied_to_parent

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
#: Seconds for the stack to get ready and to end; the first export of the network takes the longest.
_START_WITHIN, _STOP_WITHIN = 300.0, 60.0
_LOUD = (
    "!!! THIS DEMO RUNS ON SEEDED RANDOM WEIGHTS: WHAT COMES OUT ARE NOT DEPTH MAPS. "
    "`fathom model fetch` gets the real weights. !!!"
)


@click.command()
@click.option("--album", type=click.Path(exists=True, path_type=Path), default=SAMPLES, show_default=True)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-output"), show_default=True
)
def demo(album: Path, out: Path) -> None:
    """Send an album through a whole Fathom on this machine."""
    environ = _environ_with_weights()
    with tempfile.TemporaryDirectory(prefix="fathom-demo-") as data, _stack(Path(data), environ) as api:
        # Ends with the exit code of `submit`, after the stack has stopped.
        fathom.main(["submit", str(album), "--out", str(out), "--api", api], prog_name="fathom")


def _environ_with_weights() -> Mapping[str, str]:
    """Return the environment; if there are no weights, choose random ones and warn loudly."""
    environ = os.environ if _has_weights() else {**os.environ, "FATHOM_WEIGHTS": "random"}
    if environ.get("FATHOM_WEIGHTS") == "random":
        click.secho(_LOUD, fg="red", bold=True, err=True)
    return environ


def _has_weights() -> bool:
    """Return whether there are weights; raise CommandFailed if weights asked for by name are missing."""
    with one_sentence():
        from shared.errors import WeightsUnavailable
        from shared.settings import Settings
        from worker.model.weights import find_weights

        settings = Settings.from_environ()
        try:
            find_weights(settings)
        except WeightsUnavailable:
            if settings.weights != "auto":
                raise
            return False
    return True


@contextmanager
def _stack(data: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Run `fathom up` on free ports; yields the address of its API."""
    command = [sys.executable, "-m", "fathom.cli", "up", "--port", "0", "--data", str(data)]
    # In a session of its own: Ctrl-C ends the demo, which then ends the stack in order.
    process = subprocess.Popen(tied_to_parent(command), env=dict(environ), start_new_session=True)
    try:
        yield _wait_for_api(process, data / "stack.json")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_WITHIN)


def _wait_for_api(process: subprocess.Popen[bytes], stack_file: Path) -> str:
    deadline = time.monotonic() + _START_WITHIN
    while not stack_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise CommandFailed("The stack did not start; the reason is above.")
        time.sleep(0.1)
    return str(json.loads(stack_file.read_text())["api"])


if __name__ == "__main__":
    demo()
