"""Processes that tests start have the default signal handlers."""

from __future__ import annotations

import subprocess
import sys

#: Does what a test run does first, then prints which signals a child ignores.
RUN = """
import subprocess, sys
from tests.conftest import pytest_configure
pytest_configure()
child = "from signal import *; print([n.name for n in (SIGINT, SIGQUIT, SIGHUP, SIGTERM) if getsignal(n) == SIG_IGN])"
subprocess.run([sys.executable, "-c", child], check=True)
"""


def test_children_do_not_inherit_ignored_signals():
    shell = ["/bin/sh", "-c", 'trap "" INT QUIT HUP TERM; exec "$0" "$@"']
    ran = subprocess.run([*shell, sys.executable, "-c", RUN], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"
