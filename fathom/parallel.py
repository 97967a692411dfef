"""Do the same work on many items at once, in a bounded number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

#: Files sent or fetched at once.
LIMIT = 8

T = TypeVar("T")
R = TypeVar("R")


def map_unordered(work: Callable[[T], R], items: Iterable[T], *, threads: int = LIMIT) -> Iterator[R]:
    """Yield `work(item)` for each item as it completes, in any order.

    Reads `items` only as fast as threads become free. On the first error, or if the caller stops iterating,
    cancel the items that have not begun and wait for those that have; on Ctrl-C wait for nothing.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="fathom")
    is_urgent = False
    try:
        running: set[Future[R]] = {pool.submit(work, item) for item in islice(source, 2 * threads)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
            running |= {pool.submit(work, item) for item in islice(source, len(done))}
    except KeyboardInterrupt:
        is_urgent = True
        raise
    finally:
        pool.shutdown(wait=not is_urgent, cancel_futures=True)
