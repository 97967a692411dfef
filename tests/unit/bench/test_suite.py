"""The report of `bench.suite`, which summarises reports of pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import suite
from bench.suite import CaseOutcome, SuiteRun, parse, summarise, to_text

ROOT = Path(__file__).parents[3]

TESTS = """
import pytest

@pytest.fixture
def broken():
    yield
    raise OSError("left behind")

def test_good(): pass
def test_bad(): assert 1 == 2, "two lines\\nof words"
def test_torn_down(broken): pass
@pytest.mark.skip(reason="not here")
def test_skipped(): pass
@pytest.mark.parametrize("name", ["a::b<&>"])
def test_named(name): raise ValueError("<&>")
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[CaseOutcome, ...]:
    """The outcomes in a report that pytest wrote."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_some.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--junitxml=report.xml",
        "--rootdir=.",
        "-c",
        "/dev/null",
    ]
    # Plugins take longer to import than these tests to run.
    environ = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run([*command, "test_some.py"], cwd=folder, env=environ, check=False, capture_output=True)
    return parse((folder / "report.xml").read_text())


def test_failures_and_errors_are_reported_by_their_first_line(outcomes: tuple[CaseOutcome, ...]) -> None:
    run = SuiteRun(seconds=1.0, exit_code=1, outcomes=outcomes)

    assert {test.partition("::")[2]: error for test, error in run.failures.items()} == {
        "test_bad": "AssertionError: two lines",
        "test_torn_down": 'failed on teardown with "OSError: left behind"',
        "test_named[a::b<&>]": "ValueError: <&>",
    }
    assert {each.test.partition("::")[2] for each in outcomes if each.error is None} >= {
        "test_good",
        "test_skipped",
    }
    assert all(each.seconds >= 0 for each in outcomes)


def a_run(*failing: str, seconds: float = 1.0) -> SuiteRun:
    outcomes = [
        CaseOutcome(test=test, seconds=seconds, error="No." if test in failing else None)
        for test in ("one", "two", "three")
    ]
    return SuiteRun(seconds=3 * seconds, exit_code=int(bool(failing)), outcomes=tuple(outcomes))


def test_tests_that_fail_most_come_first() -> None:
    report = summarise([a_run("two"), a_run(), a_run("one", "two"), a_run("two")])

    assert [(each["test"], each["times"]) for each in report["failures"]] == [("two", 3), ("one", 1)]
    assert report["failures"][0]["complaints"] == ["No."]
    assert [run["failures"] for run in report["runs"]] == [1, 0, 2, 1]


def test_the_time_of_a_test_is_the_median_of_all_runs() -> None:
    report = summarise([a_run(seconds=1.0), a_run(seconds=2.0), a_run(seconds=9.0)])

    assert report["slowest"] == {"one": 2.0, "two": 2.0, "three": 2.0}
    assert [run["seconds"] for run in report["runs"]] == [3.0, 6.0, 27.0]


def test_a_run_without_a_report_is_reported_by_its_exit_code() -> None:
    report = summarise([SuiteRun(seconds=1.0, exit_code=4, outcomes=())])

    assert report["runs"] == [{"seconds": 1.0, "exit_code": 4, "tests": 0, "failures": 0}]


def test_the_text_shows_which_tests_failed_and_how_often() -> None:
    text = to_text(summarise([a_run("two"), a_run("two")]))

    assert "    2  two\n       No." in text
    assert "No test failed." in to_text(summarise([a_run()]))


def test_pytest_gets_the_options_of_make_test() -> None:
    assert f"SIDE_BY_SIDE := {' '.join(suite.MAKE_TEST)}\n" in (ROOT / "Makefile").read_text()
