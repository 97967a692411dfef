"""Run the tests again and again beside busy processes, to find flaky and slow ones.

    python -m bench.suite --runs 10 --load 4
    python -m bench.suite --runs 20 --load 4 -- tests/integration -k job_store

The arguments after `--` go to pytest instead of those of `make test`. The exit code is 0 if every test
passed in every run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fathom.stack.servers import tied_to_parent

ROOT = Path(__file__).resolve().parents[1]
#: The options that `make test` passes to pytest.
MAKE_TEST = ("-n", "4", "--dist", "loadscope", "--no-loadscope-reorder", "--max-worker-restart", "4")
#: The number of slowest tests in a report.
SLOWEST = 20


@dataclass(frozen=True, kw_only=True)
class CaseOutcome:
    """The outcome of a test in one run."""

    test: str
    #: Seconds of its setup, call and teardown.
    seconds: float
    #: The first line of the failure; None if the test passed.
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """One run of the tests."""

    seconds: float
    exit_code: int
    outcomes: tuple[CaseOutcome, ...]

    @property
    def failures(self) -> dict[str, str]:
        """The failures of this run, by test."""
        return {each.test: each.error for each in self.outcomes if each.error is not None}


def parse(xml: str) -> tuple[CaseOutcome, ...]:
    """Parse a `--junitxml` report of pytest; a test that failed twice (call and teardown) appears twice."""
    return tuple(map(_outcome, ElementTree.fromstring(xml).iter("testcase")))


def _outcome(case: ElementTree.Element) -> CaseOutcome:
    problems = [child for child in case if child.tag in ("failure", "error")]
    return CaseOutcome(
        test=f"{case.get('classname')}::{case.get('name')}",
        seconds=float(case.get("time", 0)),
        error=_first_line(problems[0]) if problems else None,
    )


def _first_line(problem: ElementTree.Element) -> str:
    words = problem.get("message") or problem.text or problem.tag
    return words.strip().partition("\n")[0]


def measure(runs: int, load: int, arguments: Sequence[str]) -> dict[str, Any]:
    """Run the tests `runs` times beside `load` busy processes; return the report."""
    with tempfile.TemporaryDirectory(prefix="fathom-suite-") as folder, _busy(load):
        done = [_run(arguments, Path(folder) / f"{number}.xml") for number in range(runs)]
    return {"load": load, "arguments": list(arguments), **summarise(done)}


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Keep the CPUs busy with `count` processes while the block runs."""
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen(tied_to_parent([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def _run(arguments: Sequence[str], report: Path) -> SuiteRun:
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *arguments]
    began = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
    outcomes = parse(report.read_text()) if report.exists() else ()
    return SuiteRun(seconds=time.monotonic() - began, exit_code=code, outcomes=outcomes)


def summarise(runs: Sequence[SuiteRun]) -> dict[str, Any]:
    """Return the duration of the runs, how often each test failed, and which tests are slow."""
    failed, seconds = defaultdict(list), defaultdict(list)
    for run in runs:
        for test, complaint in run.failures.items():
            failed[test].append(complaint)
        for each in run.outcomes:
            seconds[each.test].append(each.seconds)
    medians = {test: round(statistics.median(times), 2) for test, times in seconds.items()}
    return {
        "runs": [
            {
                "seconds": round(run.seconds, 1),
                "exit_code": run.exit_code,
                "tests": len({each.test for each in run.outcomes}),
                "failures": len(run.failures),
            }
            for run in runs
        ],
        "failures": [
            {"test": test, "times": len(complaints), "complaints": sorted(set(complaints))}
            for test, complaints in sorted(failed.items(), key=lambda item: (-len(item[1]), item[0]))
        ],
        "slowest": dict(sorted(medians.items(), key=lambda item: -item[1])[:SLOWEST]),
    }


def to_text(report: dict[str, Any]) -> str:
    """Return a report as tables for people."""
    lines = ["    seconds  exit  tests  failures"]
    for number, run in enumerate(report["runs"], start=1):
        lines.append(
            f"{number:3} {run['seconds']:7.1f} {run['exit_code']:5} {run['tests']:6} {run['failures']:9}"
        )
    lines += ["", "seconds  the slowest tests"]
    lines += [f"{seconds:7.2f}  {test}" for test, seconds in report["slowest"].items()]
    lines += ["", "times  failed" if report["failures"] else "No test failed."]
    for failure in report["failures"]:
        lines.append(f"{failure['times']:5}  {failure['test']}")
        lines += [f"       {complaint}" for complaint in failure["complaints"]]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.suite", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--runs", type=int, default=10, help="number of runs (10)")
    parser.add_argument("--load", type=int, default=4, help="busy processes beside the tests (4)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    parser.add_argument("arguments", nargs="*", default=list(MAKE_TEST), metavar="-- ARGUMENT")
    args = parser.parse_args(argv)
    report = measure(args.runs, args.load, args.arguments)
    print(json.dumps(report) if args.json else to_text(report))
    return int(any(run["exit_code"] for run in report["runs"]))


if __name__ == "__main__":
    sys.exit(main())
