"""Prefetching: while one image is processed the next one is fetched, so that no time is lost waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import zip_longest
from typing import cast

from shared.jobs.job import Lease

#: The present image, and the next.
_AT_ONCE = 2

#: A larger image is held alone (a PNG of 50 megapixels has 60 MB): here memory matters more than a short
#: wait for the next image.
LARGE_BYTES = 12 * 2**20


class Prefetcher:
    """Fetches the images of leases for one child."""

    def __init__(self, *, pool: Executor | None = None) -> None:
        """`pool` runs the fetches; by default it is two threads."""
        self._pool = pool or ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch")

    def images(self, lease: Lease, fetch: Callable[[str, int], bytes]) -> Iterator[tuple[int, Future[bytes]]]:
        """Return the images of a lease in order, each with its bytes on the way; the first is on its way now.

        `fetch` takes a job's id and the index of an image.
        """
        fetch_one = partial(fetch, lease.job_id)
        first = self._pool.submit(fetch_one, lease.indices[0])
        return self._follow(lease, fetch_one, [first])

    def _follow(
        self, lease: Lease, fetch_one: Callable[[int], bytes], first: list[Future[bytes]]
    ) -> Iterator[tuple[int, Future[bytes]]]:
        upcoming: Future[bytes | None] | None = None
        try:
            for index, following in zip_longest(lease.indices, lease.indices[1:]):
                if first:
                    # A list, since an argument would stay in memory with its bytes until the last image.
                    current = first.pop()
                elif upcoming is None or _is_put_off(upcoming):
                    current = self._pool.submit(fetch_one, index)
                else:
                    current = cast("Future[bytes]", upcoming)
                upcoming = None
                if following is not None:
                    upcoming = self._pool.submit(_fetch_after, current, fetch_one, following)
                yield index, current
                # This image must not stay in memory while the next one is awaited.
                del current
        finally:
            if upcoming is not None:
                upcoming.cancel()


def _fetch_after(before: Future[bytes], fetch: Callable[[int], bytes], index: int) -> bytes | None:
    """Fetch an image once the one before has arrived, whose size is known only then.

    Fetches nothing and returns None if the one before is large.
    """
    wait([before])
    is_large = before.exception() is None and len(before.result()) > LARGE_BYTES
    return None if is_large else fetch(index)


def _is_put_off(upcoming: Future[bytes | None]) -> bool:
    """Wait for a prefetch to end; return whether it left the image to be fetched later."""
    wait([upcoming])
    return upcoming.exception() is None and upcoming.result() is None
