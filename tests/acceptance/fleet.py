"""Real worker processes on real servers, with a proxy in front of each server that can inject faults.

There is no API: tests write jobs into the stores as it does. Workers use the proxies, tests use the servers
directly.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from signal import Signals
from typing import Any, Self

from redis import Redis

from bench.http_exchange import Exchange
from bench.proxy import Proxy
from fathom.options import Options
from fathom.result_names import SIDECAR
from fathom.stack.servers import SeaweedServer, ValkeyServer, tied_to_parent
from shared.control import Controls
from shared.errors import JobNotFound
from shared.jobs import object_keys
from shared.jobs.job import ImageState, Job, JobState, Source, new_job_id
from shared.jobs.manifest import encode_manifest
from shared.jobs.record import encode_job, new_job
from shared.jobstore.redis_store import RedisJobStore
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from shared.settings import Settings
from shared.tickets import connect_tickets
from tests.acceptance.stacks import ROOT, LaunchedStack
from tests.processes import children, end_group, is_alive
from tests.waiting import eventually

LEASE_SECONDS = 2.0
IMAGE_SECONDS = 3.0


class Worker:
    """A worker process, its children, and its log."""

    def __init__(self, name: str, log: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        command = [sys.executable, "-m", "celery", "-A", "tests.acceptance.poison_worker", "worker"]
        command += [f"--hostname={name}@%h", "--concurrency=1", "--without-gossip", "--without-mingle"]
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                tied_to_parent(command),
                cwd=ROOT,
                env=dict(environ),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def children(self) -> list[int]:
        return children(self.process.pid)

    def signal(self, number: Signals) -> None:
        """Send a signal to the parent only, as a container runtime does."""
        self.process.send_signal(number)

    def signal_all(self, number: Signals) -> None:
        """Send a signal to the parent and its children, as if the machine failed."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def lines(self, action: str) -> list[str]:
        """Return the log messages of an action."""
        records = (line for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [record["message"] for record in map(json.loads, records) if record.get("action") == action]

    def end(self) -> None:
        end_group(self.process)


def worker_beside(stack: LaunchedStack, name: str, folder: Path, **settings: str) -> Worker:
    """Start another worker on the servers of a stack."""
    s3 = stack.info["s3"]
    at = {
        "FATHOM_REDIS_URL": stack.info["redis"],
        "FATHOM_S3_ENDPOINT_URL": s3["endpoint"],
        **{f"FATHOM_S3_{key.upper()}": s3[key] for key in ("bucket", "access_key", "secret_key")},
    }
    return Worker(name, folder / f"{name}.log", {**stack.environ, **at, **settings})


class Fleet:
    """Valkey, S3, a proxy before each, and workers."""

    #: `FATHOM_BROKER_URL`, in fleets that have one.
    broker: Mapping[str, str] = {}

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self._environ = environ
        self._stack = ExitStack()
        self.workers: dict[str, Worker] = {}
        self.exchanges: list[Exchange] = []

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        redis_url = self._start_redis()
        s3 = SeaweedServer(
            self.folder / "s3", bucket="fleet", access_key="fleet-access", secret_key="fleet-secret"
        )
        self.s3 = s3.start()
        self._stack.callback(self.s3.stop)
        self.s3_proxy = enter(Proxy(("127.0.0.1", self.s3.port), observe=self.exchanges.append))
        self.settings = Settings.from_environ(
            {"FATHOM_REDIS_URL": redis_url, **self.broker, **self.s3.environ()}
        )
        self.redis: Redis = enter(connect_redis(redis_url))
        self.jobs = RedisJobStore(self.redis)
        self.objects = S3ObjectStore.from_settings(self.settings)
        self._stack.callback(self.objects.close)
        self.tickets = connect_tickets(self.settings)
        self.controls = Controls(self.jobs, self.objects)
        return self

    def _start_redis(self) -> str:
        """Start Redis, and a proxy for the workers; return the URL that tests use."""
        self.valkey = ValkeyServer(self.folder / "valkey").start()
        self._stack.callback(lambda: self.valkey.stop())
        self.redis_proxy = self._stack.enter_context(Proxy(("127.0.0.1", self.valkey.port), http=False))
        self.workers_redis = f"redis://127.0.0.1:{self.redis_proxy.port}/0"
        return self.valkey.url

    def __exit__(self, *exc: object) -> None:
        for worker in self.workers.values():
            worker.end()
        self._stack.close()

    # --- workers ---

    def launch(self, name: str, **settings: str) -> Worker:
        """Start a worker without waiting for it."""
        environ = {
            **self._environ,
            **self.s3.environ(),
            "FATHOM_REDIS_URL": self.workers_redis,
            **self.broker,
            "FATHOM_S3_ENDPOINT_URL": self.s3_proxy.url,
            "FATHOM_ENGINE": "simulated",
            "FATHOM_SIMULATE": "pipeline",
            "FATHOM_LEASE_SECONDS": str(LEASE_SECONDS),
            "FATHOM_IMAGE_SECONDS": str(IMAGE_SECONDS),
            "FATHOM_CHILD_MEMORY_MB": "1024",
            "FATHOM_LOG_FORMAT": "json",
            "OMP_NUM_THREADS": "1",
            **settings,
        }
        worker = Worker(name, self.folder / f"{name}.log", environ)
        self.workers[name] = worker
        return worker

    def run_only(self, *names: str) -> list[Worker]:
        """Make sure that exactly the workers of these names run."""
        for name in [name for name in self.workers if name not in names]:
            self.workers.pop(name).end()
        for name in names:
            if name not in self.workers or not is_alive(self.workers[name].process.pid):
                self.launch(name)
            # A failed test may have left it stopped.
            self.workers[name].signal_all(signal.SIGCONT)
        eventually(lambda: set(names) == self._registered(), seconds=90)
        return [self.workers[name] for name in names]

    def _registered(self) -> set[str]:
        names: list[Any] = self.redis.hkeys("{fathom}:slots")
        pids = {name.decode().rpartition(":")[2] for name in names}
        return {name for name, worker in self.workers.items() if str(worker.process.pid) in pids}

    # --- jobs ---

    def submit(self, *pictures: bytes, options: Options | None = None) -> str:
        """Store a job as the API does, and publish tickets for it."""
        options = options or Options()
        job = new_job(
            new_job_id(),
            total=len(pictures),
            options=options,
            state=JobState.QUEUED,
            created_at=time.time(),
        )
        for index, data in enumerate(pictures):
            self.objects.put(object_keys.input_image(job.id, index), data)
        sources = [Source(index=i, name=f"{i}.jpg") for i in range(len(pictures))]
        self.objects.put(object_keys.manifest(job.id), encode_manifest(sources))
        self.objects.put(object_keys.job_record(job.id), encode_job(job))
        self.jobs.create(job)
        self.tickets.publish(2, job.model)
        return job.id

    def wait_for_end(self, job_id: str, *, seconds: float = 60.0) -> Job:
        return eventually(lambda: self._ended(job_id), seconds=seconds)

    def wait_for(self, job_id: str, images: int) -> None:
        """Wait until this many images have succeeded."""
        eventually(lambda: self.jobs.get(job_id).counts.succeeded, lambda succeeded: succeeded >= images)

    def failures(self, job_id: str) -> dict[int, str]:
        """Return the codes of the images that failed."""
        return {image.index: image.failure.code for image in self.jobs.failures(job_id) if image.failure}

    def charged(self, job_id: str) -> Counter[int]:
        """Return how often each image was charged an attempt, except for its last."""
        events = self.jobs.events(job_id).events
        return Counter(e.index for e in events if e.state == "pending" and e.index is not None)

    def times_rendered(self, job_id: str) -> Counter[int]:
        """Return how often the sidecar of each image was written, as observed by the proxy."""
        prefix = f"/{object_keys.outputs_prefix(job_id)}"
        paths = (e.path.partition(prefix)[2] for e in list(self.exchanges) if e.method == "PUT")
        return Counter(int(path.partition("/")[0]) for path in paths if path.endswith(SIDECAR))

    def check_result(self, job_id: str, total: int, *, failed: Sequence[int] = ()) -> None:
        """Assert that both stores agree about an ended job: each image ended once."""
        job = self.jobs.get(job_id)
        result = json.loads(self.objects.get(object_keys.result(job_id)))
        stored = {entry.key.split("/")[3] for entry in self.objects.list(object_keys.outputs_prefix(job_id))}
        states = [image.state for image in self.jobs.images(job_id, limit=total + 1).items]

        assert (job.counts.succeeded, job.counts.failed) == (total - len(failed), len(failed))
        assert result["counts"] == {
            "total": total,
            "succeeded": total - len(failed),
            "failed": len(failed),
        }
        assert result["state"] == job.state
        assert [i for i, state in enumerate(states) if state is ImageState.FAILED] == sorted(failed)
        assert states.count(ImageState.SUCCEEDED) == total - len(failed)
        assert stored >= {str(i) for i, state in enumerate(states) if state is ImageState.SUCCEEDED}
        assert self.redis.zcard("{fathom}:expiry") == 0

    def _ended(self, job_id: str) -> Job | None:
        try:
            job = self.jobs.get(job_id)
        except JobNotFound:
            # The job is lost, and not restored yet.
            return None
        return job if job.state.ended else None
