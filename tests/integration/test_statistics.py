"""Statistics on a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fathom.stack.servers import free_ports
from shared.errors import JobStoreUnavailable
from shared.metrics.redis_store import RedisStatistics
from shared.redis.client import connect_redis
from tests.contracts.statistics import StatisticsContract, batch


@pytest.fixture
def statistics(valkey_url: str) -> Iterator[RedisStatistics]:
    with connect_redis(valkey_url) as client:
        yield RedisStatistics(client)


class TestRedisStatistics(StatisticsContract):
    """The real store fulfils the contract."""


def test_statistics_expire(statistics: RedisStatistics, valkey_url: str):
    statistics.add(batch("one"))
    with connect_redis(valkey_url) as client:
        lives = {key.decode(): client.ttl(key) for key in client.scan_iter("{fathom}:statistics*")}

    assert lives.pop("{fathom}:statistics") == -1
    assert len(lives) == 2
    assert all(0 < seconds <= 86_400 for seconds in lives.values())


def test_an_unavailable_redis_is_reported():
    nobody = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    with connect_redis(nobody) as client, pytest.raises(JobStoreUnavailable):
        RedisStatistics(client).read([])
