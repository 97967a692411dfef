"""A service without workers, which a housekeeper keeps in order."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from fathom.options import Options
from fathom.stack.servers import tied_to_parent
from shared.chores.enqueue import add_chores
from shared.chores.redis_store import RedisChores
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState, Source, new_job_id
from shared.jobs.manifest import encode_manifest
from shared.jobs.record import encode_job, new_job
from shared.jobstore.redis_store import RedisJobStore
from shared.networks import MIDAS_SMALL
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from tests.waiting import eventually

#: Megabytes that a housekeeper may take.
MEMORY_MB = 130

Housekeeper = subprocess.Popen[bytes]


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with connect_redis(valkey_url) as client:
        yield client


@pytest.fixture
def jobs(client: redis.Redis) -> RedisJobStore:
    return RedisJobStore(client, lease_seconds=1.0)


@pytest.fixture
def start_housekeeper(fathom_environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], Housekeeper]]:
    """Start `fathom housekeeper`, with the file `alive` and the log `log` in the test's folder."""
    started: list[Housekeeper] = []

    def start() -> Housekeeper:
        command = [sys.executable, "-m", "fathom.cli", "housekeeper", "--alive", str(tmp_path / "alive")]
        environ = {**os.environ, **fathom_environ, "FATHOM_LEASE_SECONDS": "1", "FATHOM_LOG_FORMAT": "json"}
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(tied_to_parent(command), env=environ, stdout=log, stderr=log)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def accept(
    jobs: RedisJobStore,
    objects: S3ObjectStore,
    *,
    total: int,
    state: JobState = JobState.QUEUED,
    gathered: bool = False,
) -> Job:
    """Record a job as the API does."""
    job = new_job(
        new_job_id(),
        total=total,
        options=Options(),
        state=state,
        created_at=jobs.now(),
        gathered=gathered,
    )
    sources = [Source(index=index, name=f"{index}.jpg") for index in range(total)]
    objects.put(object_keys.manifest(job.id), encode_manifest(sources))
    objects.put(object_keys.job_record(job.id), encode_job(job))
    jobs.create(job)
    return job


def archive(count: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(count):
            file.writestr(f"{number}.jpg", b"photo %d" % number)
    return buffer.getvalue()


def memory_mb(process: Housekeeper) -> float:
    """Return the most resident memory that a process has had."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


@pytest.mark.timeout(120)
def test_without_workers_a_housekeeper_expands_finalises_and_takes_back(
    start_housekeeper: Callable[[], Housekeeper],
    jobs: RedisJobStore,
    client: redis.Redis,
    object_store: S3ObjectStore,
    tmp_path: Path,
) -> None:
    ends = accept(jobs, object_store, total=1)
    lease = jobs.lease("gone", limit=1)
    assert lease is not None
    jobs.done(lease, 0)
    expires = accept(jobs, object_store, total=2)
    lost = jobs.lease("gone", limit=2)
    assert lost is not None
    jobs.renew(lost, in_hand=1)
    expands = accept(jobs, object_store, total=3, state=JobState.UPLOADING, gathered=True)
    object_store.put(object_keys.archive(expands.id, 0), archive(3))
    add_chores(expands, object_store, RedisChores(client))

    housekeeper = start_housekeeper()
    eventually((tmp_path / "alive").exists)
    eventually(lambda: jobs.get(ends.id).state, lambda state: state is JobState.SUCCEEDED)
    eventually(lambda: jobs.get(expands.id).state, lambda state: state is JobState.QUEUED)
    eventually(lambda: jobs.totals().leases, lambda leases: leases == 0)

    assert json.loads(object_store.get(object_keys.result(ends.id)))["state"] == "succeeded"
    photos = [object_store.get(object_keys.input_image(expands.id, index)) for index in range(3)]
    assert photos == [b"photo 0", b"photo 1", b"photo 2"]
    charged = [event.index for event in jobs.events(expires.id).events if event.state == "pending"]
    assert charged == [1], "Only the image in hand is charged."
    left = jobs.workload()[MIDAS_SMALL.name]
    assert left.images == 2 + 3, "An autoscaler sees that there is work, and starts a worker."
    assert jobs.totals().workers == {}
    assert jobs.served_models() == {}
    loaded = Path(f"/proc/{housekeeper.pid}/maps").read_text()
    assert re.findall("openvino|cv2|numpy|torch", loaded) == []
    assert memory_mb(housekeeper) < MEMORY_MB


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_housekeeper_that_is_stopped_holds_nothing_and_ends_well(
    start_housekeeper: Callable[[], Housekeeper], client: redis.Redis, tmp_path: Path, number: signal.Signals
) -> None:
    housekeeper = start_housekeeper()
    eventually(lambda: client.exists("{fathom}:lock:maintenance"))

    housekeeper.send_signal(number)

    assert housekeeper.wait() == 0
    assert list(client.scan_iter("{fathom}:lock:*")) == []
    actions = [json.loads(line).get("action") for line in (tmp_path / "log").read_text().splitlines()]
    assert actions[-1] == "keep_house"
    assert "stop_worker" not in actions


@pytest.mark.timeout(120)
def test_one_of_two_housekeepers_may_be_killed(
    start_housekeeper: Callable[[], Housekeeper], jobs: RedisJobStore, object_store: S3ObjectStore
) -> None:
    killed = start_housekeeper()
    start_housekeeper()
    killed.kill()
    job = accept(jobs, object_store, total=1)
    lease = jobs.lease("worker", limit=1)
    assert lease is not None
    jobs.done(lease, 0)

    eventually(lambda: jobs.get(job.id).state, lambda state: state is JobState.SUCCEEDED)
