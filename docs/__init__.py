"""The documentation, and the two commands that make parts of it."""
