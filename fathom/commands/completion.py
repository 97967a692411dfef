"""`fathom completion`: the script that lets a shell complete the command's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that lets a shell complete subcommands, options and the ids of jobs.

    \b
    Examples:
      eval "$(fathom completion bash)"                              in ~/.bashrc
      eval "$(fathom completion zsh)"                               in ~/.zshrc
      fathom completion fish > ~/.config/fish/completions/fathom.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, f"click knows {shell}"
    click.echo(kind(ctx.find_root().command, {}, "fathom", "_FATHOM_COMPLETE").source())
