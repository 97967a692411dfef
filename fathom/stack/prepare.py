"""Prepare the depth network once, before the workers start: `python -m fathom.stack.prepare`.

It is a process of its own, so that `fathom up` never holds torch in memory.
It prints one sentence and exits 1 if there are no weights.
"""

from __future__ import annotations

import sys

from shared.errors import FathomError
from shared.settings import Settings


def main() -> None:
    from worker.model.engines import prepare_engine

    try:
        prepare_engine(Settings.from_environ())
    except FathomError as exc:
        print(exc.message)
        sys.exit(1)


if __name__ == "__main__":
    main()
