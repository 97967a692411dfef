"""The help of commands that make jobs: presets, outputs and options, from the rules that read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from fathom.options import OUTPUT_TEXTS, PRESETS
from fathom.options.guide import OptionText, group_texts, option_texts


class JobCommand(click.Command):
    """A command with `--preset` and `--option`, whose help explains what they take."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        presets = [(name, f"{preset.title}: {preset.description}") for name, preset in PRESETS.items()]
        outputs = [(name, f"{text} {_listed(group_texts(name))}") for name, text in OUTPUT_TEXTS.items()]
        options = [(each.name, f"{each.values}  {each.description}") for each in option_texts()]
        options = [row for row in options if row[0] != "outputs"]
        _write(formatter, "Presets, which --option overrides", presets)
        _write(formatter, "Outputs (-o outputs=mesh,stereo), their options (-o stereo.layout=cross)", outputs)
        _write(formatter, "Options of all outputs, the default first (-o size=network)", options)
        super().format_epilog(ctx, formatter)


def _listed(options: Iterable[OptionText]) -> str:
    return ", ".join(f"{each.name}={each.values}" for each in options)


def _write(formatter: click.HelpFormatter, title: str, rows: Sequence[tuple[str, str]]) -> None:
    with formatter.section(title):
        formatter.write_dl([(name, text.replace("`", "").strip()) for name, text in rows])
