"""The subcommands of `fathom`, a file for each group."""
