"""The `fathom` command: whole photo albums into depth maps.

A thin composition root: each group of subcommands has a file of its own in `fathom.commands`. It is imported
only when one of them is used, so that none waits for what another needs; `--help` imports none. Other rooms
are imported only inside the subcommand that needs them.
"""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any

import click

from fathom.commands.exit import CommandFailed
from fathom.errors import ClientError

#: Where each subcommand is in `fathom.commands`, and the first sentence of its help; in the help's order.
COMMANDS = {
    "up": ("up.up", "Start Fathom: Valkey, an S3 server, the API and workers, until Ctrl-C."),
    "submit": ("submit.submit", "Send photos, folders of photos, or one ZIP file; wait; fetch the results."),
    "watch": ("watch.watch", "Turn new photos in DIR into heatmaps as they arrive, until Ctrl-C."),
    "status": ("status.status", "Show how a job stands."),
    "images": ("status.images", "List a job's images."),
    "jobs": ("status.jobs", "List the jobs of a server, the newest first."),
    "open": ("status.open_page", "Open a job's page in the browser."),
    "download": ("download.download", "Fetch a job's results under the photos' own names."),
    "cancel": ("control.cancel", "Stop a job within one image; finished results stay."),
    "pause": ("control.pause", "Pause a job; `resume` continues it."),
    "resume": ("control.resume", "Continue a paused job."),
    "retry": ("control.retry", "Try the failed images of an ended job once more."),
    "delete": ("control.delete", "Delete a job with all its files on the server."),
    "run": ("run.run", "Process the photos of IN into OUT on this machine, with no server."),
    "model": ("model.model", "List, fetch, add, describe, fine-tune or export depth networks."),
    "keys": ("keys.keys", "Make, list, rotate and revoke API keys."),
    "housekeeper": (
        "housekeeper.housekeeper",
        "Keep a service in order while it may have no workers, until SIGTERM.",
    ),
    "doctor": (
        "doctor.doctor",
        "Check Redis, S3, weights, workers and this machine; say what is wrong and how to fix it.",
    ),
    "completion": (
        "completion.completion",
        "Print a script that lets a shell complete subcommands, options and the ids of jobs.",
    ),
}

_EXAMPLES = """\b
Examples:
  fathom up                              start a whole Fathom on this machine
  fathom submit holiday/ --out depth/    send an album, wait, fetch its heatmaps
  fathom watch camera/ --out depth/      keep doing it for new photos
  fathom submit a.jpg --option outputs=heatmap,depth16
  fathom submit holiday/ --detach        print the job's id and leave
  fathom download JOB --out depth/       fetch (the rest of) a job's results
  fathom run holiday/ depth/             the same with no server at all

\b
Exit codes: 0 every image succeeded, 1 failed, 2 wrong usage, 3 some images
failed, 4 canceled, 130 interrupted.
"""


class _Commands(click.Group):
    """Imports a subcommand when it is used, and turns every expected error into one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClientError as exc:
            raise CommandFailed(str(exc)) from exc

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(".")
        command = getattr(importlib.import_module(f"fathom.commands.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Click would import every subcommand for its first sentence.
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, click.Command(name, help=text).get_short_help_str(limit))
                    for name, (_, text) in COMMANDS.items()
                ]
            )


@click.group(cls=_Commands, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fathom-depth", prog_name="fathom")
def main() -> None:
    """Turn whole photo albums into depth maps."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The locale may lack characters of a photo's name; standard error escapes them by itself.
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
