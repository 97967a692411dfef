"""Chores: what a worker's parent process does beside housekeeping, for jobs as a whole."""
