"""Benchmarks. Each is a command that prints JSON; every ratio is measured within one run."""
