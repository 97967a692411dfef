"""Images fetched ahead of the one in work, so that no transfer is waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from shared.jobs import Lease

#: Images fetched at once: the one in hand, and the next.
_AT_ONCE = 2

#: A larger image (a photo of 50 megapixels as PNG has 60 MB) is the only one held: memory is then
#: dearer than the moment that the next one is waited for.
LARGE_BYTES = 12 * 2**20


class Lookahead:
    """Fetches the images of leases for one child."""

    def __init__(self, fetch: Callable[[str, int], bytes], *, pool: Executor | None = None) -> None:
        """Take what fetches an image, by job and index, and what runs it: threads, by default."""
        self._fetch = fetch
        self._pool = pool or ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch")
        self._latest_is_large = False

    def images(
        self, lease: Lease, fetch: Callable[[str, int], bytes] | None = None
    ) -> Iterator[tuple[int, Future[bytes]]]:
        """Yield the images of a lease in order, each with its bytes on the way.

        `fetch` fetches them in place of what was given at first.
        """
        fetch = fetch or self._fetch
        waiting = deque(lease.indices)
        fetching: deque[tuple[int, Future[bytes]]] = deque()
        try:
            while waiting or fetching:
                while waiting and self._has_room(fetching):
                    index = waiting.popleft()
                    fetching.append((index, self._pool.submit(fetch, lease.job_id, index)))
                index, future = fetching.popleft()
                yield index, future
                self._latest_is_large = _is_large(future)
                # While the next one is waited for, this one must not be held as well.
                del future
        finally:
            for _, future in fetching:
                future.cancel()

    def _has_room(self, fetching: deque[tuple[int, Future[bytes]]]) -> bool:
        """Tell whether one more image may be fetched while those of `fetching` are held.

        A size is known only when an image is there. Neighbours are mostly alike, so that one
        large image warns of the next.
        """
        if not fetching:
            return True
        large = self._latest_is_large or any(_is_large(future) for _, future in fetching)
        return len(fetching) < _AT_ONCE and not large


def _is_large(future: Future[bytes]) -> bool:
    """Tell whether an image is there and large."""
    there = future.done() and not future.cancelled() and future.exception() is None
    return there and len(future.result()) > LARGE_BYTES
