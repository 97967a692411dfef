"""The benchmarks of the job store measure what they claim."""

from __future__ import annotations

import os
import socket
import time

from bench import processes
from bench.dispatch import Meter, measure
from bench.fairness.simulated_workers import FleetSize, simulated_workers
from bench.resp import Resp
from fathom.options import Options
from shared.jobs.job import JobState, new_job_id
from shared.jobs.record import new_job
from shared.jobstore.redis_store import RedisJobStore
from shared.redis.client import connect_redis
from tests.waiting import eventually


def test_a_meter_counts_the_scripts_of_a_lap(valkey_url: str) -> None:
    with connect_redis(valkey_url) as client, Resp(valkey_url) as valkey:
        store = RedisJobStore(client)
        store.slots()
        meter = Meter(valkey)
        for _ in range(7):
            store.slots()
        first, second = meter.lap(), meter.lap()

    assert (first.calls, second.calls) == (7, 0)
    assert 0 < first.script_us < 1e6 * first.seconds


def test_the_owner_of_a_connection_is_found() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        port, peer = client.getsockname()[1], listener.getsockname()[1]

        assert processes.owner_of(port, peer) == os.getpid()
    assert processes.owner_of(port, peer) is None


def test_a_round_counts_the_calls_per_image() -> None:
    bare, as_worker = measure([1], 0.2)["rounds"]

    # A lease is one call for eight images.
    assert (bare["calls_per_image"], as_worker["calls_per_image"]) == (1 + 1 / 8, 2 + 1 / 8)
    assert min(bare["images_per_second"], as_worker["images_per_second"]) > 0
    assert 0 < bare["valkey_cpu_share"] <= 1.2


def test_simulated_workers_finish_a_job_and_release_all_leases(valkey_url: str) -> None:
    with connect_redis(valkey_url) as client, Resp(valkey_url) as valkey:
        store = RedisJobStore(client)
        job_id = new_job_id()
        store.create(
            new_job(job_id, total=50, options=Options(), state=JobState.QUEUED, created_at=time.time())
        )
        with simulated_workers(valkey_url, FleetSize(children=4, processes=2, image_seconds=0.001)):
            eventually(lambda: store.get(job_id).counts, lambda counts: not counts.pending)

        assert store.get(job_id).counts.succeeded == 50
        assert valkey.call("ZCARD", "{fathom}:expiry") == 0
