"""Chores: what a worker's parent process does beside maintenance: work on jobs as a whole."""
