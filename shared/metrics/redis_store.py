"""Statistics in Redis: one hash for all histograms, and for each worker a counter that expires."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import cast

from redis import Redis

from shared.metrics.model import BOUNDS, Family, Histogram, MetricsBatch, Series, Summary
from shared.metrics.port import Statistics
from shared.redis.client import redis_errors
from shared.redis.scripts import ROOT, Scripts

_HASH = f"{ROOT}:statistics"
_WORKER = f"{_HASH}:images:"
_SUM = "sum"
#: A batch's id is remembered for so many seconds; a repeat comes within a few.
_REMEMBERED = 300
#: A worker's counter expires after so many seconds without a batch.
_FORGOTTEN = 86_400


class RedisStatistics(Statistics):
    """Statistics of all processes. Every method may raise JobStoreUnavailable."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._call = Scripts(client, ("add_statistics",), package=__package__).call

    def add(self, batch: MetricsBatch) -> None:
        fields = [(_field(series, str(bucket)), count) for (series, bucket), count in batch.counts.items()]
        fields += [(_field(series, _SUM), amount) for series, amount in batch.microseconds.items()]
        numbers = [item for pair in fields for item in pair]
        images = [item for pair in batch.images.items() for item in pair]
        self._call("add_statistics", batch.id, _REMEMBERED, _FORGOTTEN, len(fields), *numbers, *images)

    def read(self, workers: Iterable[str]) -> Summary:
        names = list(workers)
        with redis_errors():
            rows = cast("dict[bytes, bytes]", self._client.hgetall(_HASH))
            counters = self._client.mget([_WORKER + name for name in names]) if names else []
        images = {name: int(value or 0) for name, value in zip(names, counters, strict=True)}
        return Summary(histograms=_histograms(rows), images=images)


def _field(series: Series, part: str) -> str:
    return "\t".join((series.family, *series.labels, part))


def _histograms(rows: dict[bytes, bytes]) -> dict[Series, Histogram]:
    counts: dict[Series, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
    sums: dict[Series, float] = defaultdict(float)
    for name, value in rows.items():
        family, *labels, part = name.decode().split("\t")
        series = Series(family=Family(family), labels=tuple(labels))
        if part == _SUM:
            sums[series] = int(value) / 1_000_000
        else:
            counts[series][int(part)] = int(value)
    return {series: Histogram(counts=tuple(found), seconds=sums[series]) for series, found in counts.items()}
