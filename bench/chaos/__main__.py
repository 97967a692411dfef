"""Attack a running Fathom and check its final state.

    python -m bench.chaos --seed 1 --json
    python -m bench.chaos --seed 1 --attack valkey

Starts its own stack (Valkey, S3, API, two workers with two children each, a simulated
pipeline), submits one job of 2,000 images and three of 30, and attacks:

- `kills`       SIGKILL of children, of whole workers, and of the parents of workers alone
- `valkey`      SIGKILL and restart of Valkey with its append-only file, five times
- `flush`       FLUSHALL in the middle of a job
- `s3`          S3 refuses connections, hangs, answers 503, is slow, or its responses are lost
- `pauses`      storms of pause and resume from several clients
- `pop-window`  a stopped worker pops a ticket, never reads it, and is killed
- `mixed`       kills, restarts of Valkey, faults of S3 and storms, in random order

The checker shares no code with Fathom and reads nothing through it. The exit code is 1 if
any claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.chaos.attacks import ATTACKS
from bench.chaos.run import ChaosReport, Experiment, run
from bench.chaos.stack import StackSize
from shared.errors import FathomError

_BEGAN = time.monotonic()


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    size = StackSize(workers=args.workers, children=args.children, simulate=args.simulate)
    experiment = Experiment(
        seed=args.seed, attack=args.attack, images=args.images, kills=args.kills, size=size
    )
    with tempfile.TemporaryDirectory(prefix="fathom-chaos-", ignore_cleanup_errors=True) as folder:
        try:
            report = run(experiment, args.keep or Path(folder), log=_log)
        except FathomError as exc:
            _log(exc.message)
            return 2
    print(json.dumps(report.to_json()) if args.json else _text(report))
    return 0 if report.holds else 1


def _text(report: ChaosReport) -> str:
    facts = {name: value for name, value in report.to_json().items() if name != "verdicts"}
    lines = [f"{name:<20} {value}" for name, value in facts.items()]
    for verdict in report.verdicts:
        lines.append(f"{'holds' if verdict.holds else 'FAILS':<6} {verdict.name:<20} {verdict.claim}")
        lines += [f"         {complaint}" for complaint in verdict.complaints[:5]]
    return "\n".join(lines)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, default=1, help="the seed of the plan of faults (1)")
    parser.add_argument("--attack", choices=ATTACKS, default="kills")
    parser.add_argument("--images", type=int, default=2000, help="images of the large job (2000)")
    parser.add_argument("--kills", type=int, default=20, help="kills in the attacks `kills` and `mixed` (20)")
    parser.add_argument("--workers", type=int, default=2, help="workers (2)")
    parser.add_argument("--children", type=int, default=2, help="children of each worker (2)")
    parser.add_argument(
        "--simulate", choices=("network", "pipeline"), default="pipeline", help="what is simulated (pipeline)"
    )
    parser.add_argument("--keep", type=Path, help="keep data and logs in this folder (a temporary one)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    return parser.parse_args(argv)


def _log(text: str) -> None:
    print(f"chaos: {time.monotonic() - _BEGAN:6.1f} s  {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
