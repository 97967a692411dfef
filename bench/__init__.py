"""Benchmarks: each one a command that prints JSON. Ratios are measured in one run."""
