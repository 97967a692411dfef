"""`fathom run`: the same pipeline on a folder, on all cores, with no server."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fathom.commands.arguments import (
    ExistingPath,
    json_option,
    model_option,
    option_option,
    parse_options,
    preset_option,
    print_json,
    quiet_option,
    refuse_inside_out,
    sidecars_option,
)
from fathom.commands.exit import EXIT_CODES, INTERRUPTED, CommandFailed, one_sentence
from fathom.commands.job_help import JobCommand
from fathom.commands.report import print_failures, print_skipped
from fathom.models import ImageResult
from fathom.options import Options
from fathom.photos.discovery import to_name
from fathom.progress import Display, show_progress

if TYPE_CHECKING:
    from worker.local.run_folder import FolderSummary


@click.command(cls=JobCommand)
@click.argument("source", metavar="IN", type=ExistingPath())
@click.argument("out", metavar="OUT", type=click.Path(file_okay=False, path_type=Path))
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one for each core]")
@preset_option
@model_option
@option_option
@sidecars_option
@json_option
@quiet_option
def run(
    source: Path,
    out: Path,
    jobs: int | None,
    preset: str | None,
    model: str | None,
    pairs: tuple[str, ...],
    sidecars: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Process the photos of IN into OUT on this machine, with no server.

    OUT may be inside IN. The exit code is that of `submit`.
    """
    refuse_inside_out([source], out, called="OUT")
    display = show_progress(quiet=quiet or as_json)
    try:
        options = parse_options(pairs, preset, model)
        summary = process(source, out, options, display, jobs=jobs, sidecars=sidecars)
    except OSError as exc:
        raise CommandFailed(f"{exc.filename or source}: {exc.strerror or exc}.") from exc
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    if not summary.total:
        raise click.UsageError(f"There is no photo in {source}. {summary.skipped}".strip())
    finish(summary, out, display, as_json=as_json)


def process(
    source: Path,
    out: Path,
    options: Options,
    display: Display,
    *,
    jobs: int | None,
    sidecars: bool,
) -> FolderSummary:
    """Run the pipeline behind a progress bar, with FATHOM_MODEL unless the options name another."""
    with one_sentence():
        from shared.settings import Settings
        from worker.local.run_folder import run_folder

        named = {"FATHOM_MODEL": options.model} if options.model else {}
        settings = Settings.from_environ({**os.environ, **named})
        # Sidecars repeat the options, as those of a job do.
        options = replace(options, model=settings.model)
        with display.line("processing", 0, "images") as line:
            return run_folder(
                source,
                out,
                options,
                settings,
                jobs=jobs,
                sidecars=sidecars,
                on_progress=lambda progress: line.track(progress.done, progress.total),
            )


def finish(summary: FolderSummary, out: Path, display: Display, *, as_json: bool) -> None:
    """Report what became of the photos, and exit with the code that a job would have."""
    failures = [
        ImageResult.failure(f.name, f.code, f.message, index=index)
        for index, f in enumerate(summary.failures)
    ]
    state = _state(summary)
    if as_json:
        named = [vars(failure) for failure in summary.failures]
        counts = {"total": summary.total, "succeeded": summary.succeeded, "failed": len(failures)}
        skipped = vars(summary.skipped)
        print_json(
            {"state": state, "counts": counts, "failures": named, "skipped": skipped, "out": to_name(out)}
        )
    else:
        print_skipped(display.console, summary.skipped)
        print_failures(display.console, failures)
        click.echo(f"{state}: {summary.succeeded} of {summary.total} images in {out}", err=True)
    raise SystemExit(EXIT_CODES[state])


def _state(summary: FolderSummary) -> str:
    if not summary.failures:
        return "succeeded"
    return "partial" if summary.succeeded else "failed"
