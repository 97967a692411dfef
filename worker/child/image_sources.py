"""What fetches the images of jobs in a child, put together from settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shared.net.url_policy import AllowedHosts
from shared.objectstore.port import ObjectStore
from shared.settings import Settings
from worker.child.fetch import Fetcher
from worker.child.lease_loop import Pace
from worker.outbound_http import Outbound
from worker.supervision.breaker import Breaker

T = TypeVar("T")


def image_fetcher(
    settings: Settings, objects: ObjectStore, breaker: Breaker, stopping: Callable[[], bool]
) -> Fetcher:
    """Return what fetches the images of jobs in a child, from wherever the settings allow."""
    patience = Pace(lease=settings.lease_seconds, image=settings.image_seconds).patience

    def call_store(call: Callable[[], T], /) -> T:
        return breaker.call(call, seconds=patience, give_up=stopping)

    outbound = Outbound(allowed=AllowedHosts.of(settings.source_hosts), seconds=settings.source_seconds)
    return Fetcher(
        objects,
        most_bytes=settings.max_image_bytes + 1,
        outbound=outbound if settings.url_sources else None,
        buckets=settings.source_buckets,
        call_store=call_store,
        give_up=stopping,
    )
