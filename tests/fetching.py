"""Make the fetcher of a worker for tests."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from shared.objectstore.port import ObjectStore
from worker.child.fetch import Fetcher
from worker.outbound_http import Outbound

T = TypeVar("T")


def make_fetcher(
    objects: ObjectStore,
    *,
    most_bytes: int,
    outbound: Outbound | None = None,
    buckets: Collection[str] = (),
    draining: Callable[[], bool] = lambda: False,
) -> Fetcher:
    """Make a fetcher that does not wait for an unavailable object store."""
    return Fetcher(
        objects,
        most_bytes=most_bytes,
        outbound=outbound,
        buckets=buckets,
        call_store=call_once,
        draining=draining,
    )


def call_once(call: Callable[[], T], /) -> T:
    return call()
