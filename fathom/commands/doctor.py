"""`fathom doctor`: check everything that Fathom depends on."""

from __future__ import annotations

import dataclasses
import os

import click

from fathom.commands.arguments import api_option, json_option, print_json
from fathom.commands.exit import one_sentence

_MARKS = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "error": ("error  ", "red")}


@click.command()
@api_option
@json_option
def doctor(api: str, as_json: bool) -> None:
    """Check Redis, S3, weights, workers and this machine; say what is wrong and how to fix it.

    Reads the same FATHOM_* settings as the API and the workers. Exit code 1 if there is an error.
    """
    with one_sentence():
        from fathom.doctor.findings import ERROR
        from fathom.doctor.run import examine

    findings = []
    for finding in examine(os.environ, api):
        findings.append(finding)
        if not as_json:
            mark, colour = _MARKS[finding.level]
            click.echo(f"{click.style(mark, fg=colour)}  {finding.part:<8}  {finding.message}")
            if finding.remedy:
                click.echo(f"{'':<19}-> {finding.remedy}")
    healthy = all(finding.level != ERROR for finding in findings)
    if as_json:
        print_json({"healthy": healthy, "findings": [dataclasses.asdict(each) for each in findings]})
    raise SystemExit(0 if healthy else 1)
