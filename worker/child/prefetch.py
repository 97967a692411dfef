"""Images fetched ahead of the one in work, so that no transfer is waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import zip_longest
from typing import cast

from shared.jobs.job import Lease

#: The image in hand, and the next.
_AT_ONCE = 2

#: A larger image (a photo of 50 megapixels as PNG has 60 MB) is the only one held: memory is then
#: dearer than the moment that the next one is waited for.
LARGE_BYTES = 12 * 2**20


class Prefetcher:
    """Fetches the images of leases for one child."""

    def __init__(self, fetch: Callable[[str, int], bytes], *, pool: Executor | None = None) -> None:
        """Take what fetches an image, by job and index, and what runs it: threads, by default."""
        self._fetch = fetch
        self._pool = pool or ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch")

    def images(
        self, lease: Lease, fetch: Callable[[str, int], bytes] | None = None
    ) -> Iterator[tuple[int, Future[bytes]]]:
        """Yield the images of a lease in order, each with its bytes on the way.

        `fetch` fetches them in place of what was given at first.
        """
        fetch_one = partial(fetch or self._fetch, lease.job_id)
        ahead: Future[bytes | None] | None = None
        try:
            for index, following in zip_longest(lease.indices, lease.indices[1:]):
                if ahead is None or _is_put_off(ahead):
                    current = self._pool.submit(fetch_one, index)
                else:
                    current = cast("Future[bytes]", ahead)
                ahead = None
                if following is not None:
                    ahead = self._pool.submit(_fetch_after, current, fetch_one, following)
                yield index, current
                # While the next one is waited for, this one must not be held as well.
                del current
        finally:
            if ahead is not None:
                ahead.cancel()


def _fetch_after(before: Future[bytes], fetch: Callable[[int], bytes], index: int) -> bytes | None:
    """Fetch an image as soon as the one before is there; None, and nothing is fetched, if that is large.

    A size is known only when an image is there.
    """
    wait([before])
    is_large = before.exception() is None and len(before.result()) > LARGE_BYTES
    return None if is_large else fetch(index)


def _is_put_off(ahead: Future[bytes | None]) -> bool:
    """Wait for an image fetched ahead, and return whether it was left to be fetched later."""
    wait([ahead])
    return ahead.exception() is None and ahead.result() is None
