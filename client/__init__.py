"""The Python client and the `fathom` command."""
