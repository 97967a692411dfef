"""The `fathom` command: whole photo albums into depth maps.

A thin composition root: each group of subcommands has a file of its own in
`fathom.commands`, and imports other rooms only inside the subcommand that needs them.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from fathom.commands.completion import completion
from fathom.commands.control import cancel, delete, pause, resume, retry
from fathom.commands.doctor import doctor
from fathom.commands.download import download
from fathom.commands.exit import CommandFailed
from fathom.commands.keys import keys
from fathom.commands.model import model
from fathom.commands.run import run
from fathom.commands.status import images, jobs, open_page, status
from fathom.commands.submit import submit
from fathom.commands.up import up
from fathom.commands.watch import watch
from fathom.transport import ClientError

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
    """Turns every expected error into one sentence; commands keep their order."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClientError as exc:
            raise CommandFailed(str(exc)) from exc

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Commands, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fathom-depth", prog_name="fathom")
def main() -> None:
    """Turn whole photo albums into depth maps."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The locale may lack characters of a photo's name; standard error escapes them by itself.
        sys.stdout.reconfigure(errors="backslashreplace")


for command in (
    up,
    submit,
    watch,
    status,
    images,
    jobs,
    open_page,
    download,
    cancel,
    pause,
    resume,
    retry,
    delete,
    run,
    model,
    keys,
    doctor,
    completion,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
