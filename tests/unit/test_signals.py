"""Which signals the processes that tests start react to."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Does what a run of tests does first, then tells what a child inherits.
RUN = """
import subprocess, sys
from tests.conftest import pytest_configure
pytest_configure()
child = "import signal, sys; print(signal.getsignal(int(sys.argv[1])) == signal.SIG_IGN)"
subprocess.run([sys.executable, "-c", child, sys.argv[1]], check=True)
"""


@pytest.mark.parametrize(("name", "number"), [("INT", 2), ("QUIT", 3), ("HUP", 1), ("TERM", 15)])
def test_a_signal_that_the_shell_of_a_run_ignores_is_not_ignored_by_children(name: str, number: int):
    shell = ["/bin/sh", "-c", f'trap "" {name}; exec "$0" "$@"']
    ran = subprocess.run(
        [*shell, sys.executable, "-c", RUN, str(number)], capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "False"
