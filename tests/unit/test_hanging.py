from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_CONFTEST = """
from tests import conftest

conftest.TEARDOWN = 1.0
pytest_runtest_teardown = conftest.pytest_runtest_teardown
"""

_HANGS = """
import threading
import pytest

@pytest.fixture
def never_ends():
    yield
    threading.Event().wait()

def test_that_fails(never_ends):
    assert False

def test_of_the_rest():
    pass
"""


def test_a_fixture_that_hangs_after_a_failure_ends_its_process_and_is_named(tmp_path: Path):
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "test_hangs.py").write_text(_HANGS)
    (tmp_path / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-n", "1", "--max-worker-restart", "0", "-p", "xdist"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for inherited in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS"):
        environ.pop(inherited, None)

    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    assert "in never_ends" in ended.stderr
    assert "crashed while running 'test_hangs.py::test_that_fails'" in ended.stdout
    assert ended.returncode == 1
