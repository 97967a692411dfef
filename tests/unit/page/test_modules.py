"""Run the tests of those modules of the page that need no document, in node."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NODE = Path(sys.executable).with_name("node")


def test_the_tests_of_the_page_modules_pass_in_node() -> None:
    files = sorted(map(str, FOLDER.glob("*.test.mjs")))
    done = subprocess.run(
        [NODE, "--test", "--test-reporter=tap", *files],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    failed = re.findall(r"^ *not ok \d+ - (.*)$", done.stdout, re.MULTILINE)
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert (failed, done.returncode) == ([], 0), done.stdout + done.stderr
    assert passed is not None
    assert int(passed[1]) >= len(files) > 0
