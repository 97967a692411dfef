"""Attack a running Fathom and judge what is left.

    python -m bench.chaos --seed 1 --json
    python -m bench.chaos --seed 1 --attack valkey

Starts a stack of its own (Valkey, S3, API, two workers with two children each, the
network simulated), sends one job of 2,000 images and three of 30 beside it, and attacks:

- `kills`       SIGKILL of children, of whole workers, and of workers' parents alone
- `valkey`      SIGKILL and restart of Valkey with its append-only file, five times
- `flush`       FLUSHALL in mid-job
- `s3`          S3 refused, hanging, answering 503, slow, and its answers lost
- `pauses`      storms of pause and resume from several clients
- `pop-window`  a worker is stopped, takes a ticket it never reads, and is killed
- `mixed`       kills, restarts of Valkey, faults of S3 and storms, shuffled

The judge shares no code with what it judges, and reads nothing through it. Exit code 1 if
any verdict is not held.
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
            report = run(experiment, args.keep or Path(folder), say=_say)
        except FathomError as exc:
            _say(exc.message)
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
    parser.add_argument("--seed", type=int, default=1, help="makes the plan of faults (1)")
    parser.add_argument("--attack", choices=ATTACKS, default="kills")
    parser.add_argument("--images", type=int, default=2000, help="of the large job (2000)")
    parser.add_argument("--kills", type=int, default=20, help="of the attacks kills and mixed (20)")
    parser.add_argument("--workers", type=int, default=2, help="(2)")
    parser.add_argument("--children", type=int, default=2, help="of each worker (2)")
    parser.add_argument(
        "--simulate", choices=("network", "pipeline"), default="pipeline", help="what is not real (pipeline)"
    )
    parser.add_argument("--keep", type=Path, help="a folder for data and logs, kept (a temporary one)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    return parser.parse_args(argv)


def _say(text: str) -> None:
    print(f"chaos: {time.monotonic() - _BEGAN:6.1f} s  {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
