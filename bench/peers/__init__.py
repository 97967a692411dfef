"""Fathom against what else a person could run: scripts, pipelines and servers, in one run."""
