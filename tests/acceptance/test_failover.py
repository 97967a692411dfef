"""Redis that fails over: sentinels put a replica in the place of a dead master, and nothing is lost or done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import httpx
import pytest
from redis.exceptions import AuthenticationError, ConnectionError

from fathom.doctor.redis import check_redis
from fathom.stack.servers import HOST, free_ports
from shared.errors import JobStoreUnavailable
from shared.jobs.job import ImageState, Job, JobState
from shared.jobstore.redis_store import RedisJobStore
from shared.redis.client import connect_redis
from tests.acceptance.fleet import Fleet
from tests.integration.api_servers import CONFIG, ApiServer, launch
from tests.sentinels import FailoverGroup, SentinelServer
from tests.waiting import eventually

IMAGES = 60
SUCCEEDED = ImageState.SUCCEEDED
T = TypeVar("T")


class FailoverFleet(Fleet):
    """A fleet whose Redis is a master with three replicas, and three sentinels."""

    def _start_redis(self) -> str:
        self.group = self._stack.enter_context(FailoverGroup(self.folder / "redis", replicas=3))
        self.workers_redis = self.group.url
        return self.group.url

    def done(self, job_id: str) -> set[int]:
        """Return the images that have succeeded, once Redis answers."""
        found = eventually(
            lambda: self._asked(lambda: self.jobs.images(job_id, state=SUCCEEDED, limit=IMAGES))
        )
        return {image.index for image in found.items}

    def wait_for(self, job_id: str, images: int) -> None:
        eventually(lambda: len(self.done(job_id)) >= images)

    def wait_until_reconciled(self) -> None:
        """Wait until the jobs on the server that is the master now have been compared with S3."""
        eventually(lambda: self._asked(self.jobs.is_reconciled))

    def is_reached(self) -> bool:
        """Return whether this process has found the master, for jobs and for tickets."""
        return (
            self._asked(self.jobs.is_reconciled) is not None and self._asked(self.tickets.depth) is not None
        )

    def _ended(self, job_id: str) -> Job | None:
        return self._asked(lambda: super(FailoverFleet, self)._ended(job_id))

    @staticmethod
    def _asked(question: Callable[[], T]) -> T | None:
        """Return the answer, or None while no master answers."""
        try:
            return question()
        except JobStoreUnavailable:
            return None


@pytest.fixture(scope="module")
def fleet(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailoverFleet]:
    with FailoverFleet(tmp_path_factory.mktemp("failover"), environ) as fleet:
        fleet.run_only("one")
        yield fleet


@pytest.fixture(scope="module")
def api(fleet: FailoverFleet, environ: dict[str, str]) -> Iterator[ApiServer]:
    servers = {"FATHOM_REDIS_URL": fleet.group.url, **fleet.s3.environ()}
    server = launch(CONFIG, free_ports(1)[0], {**environ, **servers}, fleet.folder / "api.log")
    try:
        server.wait_until_ready("/livez")
        yield server
    finally:
        server.end()


class Client:
    """Asks the API for a job, again and again."""

    def __init__(self, api: ApiServer, job_id: str) -> None:
        self._api, self._path = api, f"/v1/jobs/{job_id}"

    def ask(self) -> httpx.Response:
        """Return the answer, which is the job, or says when to come back."""
        answer = self._api.http.get(self._path)
        assert answer.status_code == 200 or (
            answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        ), answer.text
        return answer

    def wait_for(self, status: int) -> None:
        eventually(lambda: self.ask().status_code == status)


def test_the_doctor_names_the_master_and_the_sentinels_that_are_missing(fleet: FailoverFleet) -> None:
    (nobody,) = free_ports(1)
    more = fleet.group.url.replace("/albums", f",{HOST}:{nobody}/albums")

    whole, missing = (
        next(check_redis(replace(fleet.settings, redis_url=url))) for url in (fleet.group.url, more)
    )

    assert whole.level == "ok"
    assert f"name {HOST}:{fleet.group.master.port} as the master; all 3 answer." in whole.message
    assert missing.level == "warning"
    assert f"{HOST}:{nobody} did not answer" in missing.message


def test_a_password_that_sentinels_refuse_is_no_outage(fleet: FailoverFleet) -> None:
    wrong = fleet.group.url.replace(SentinelServer.password, "another")

    with connect_redis(wrong) as client, pytest.raises(AuthenticationError):
        RedisJobStore(client).is_reconciled()
    (found,) = check_redis(replace(fleet.settings, redis_url=wrong))

    assert (found.level, found.remedy) == ("error", "Put user and password into FATHOM_REDIS_URL.")
    assert "another" not in found.message


def test_a_master_without_its_replicas_is_left(fleet: FailoverFleet) -> None:
    """A master that was replaced while it was cut off has lost its replicas. Here it has too few for its taste."""
    with connect_redis(fleet.group.url) as client, connect_redis(fleet.group.master.url) as server:
        before = client.client_id()
        server.config_set("min-replicas-to-write", 9)
        with pytest.raises(ConnectionError):
            client.set("{fathom}:test", "1")
        server.config_set("min-replicas-to-write", 0)

        assert client.client_id() != before


@pytest.mark.timeout(240)
def test_two_masters_die_in_the_middle_of_a_job_and_every_image_ends_once(
    fleet: FailoverFleet, api: ApiServer
) -> None:
    """What the second master was told last is lost with it, and is found in S3."""
    job_id = fleet.submit(*(b"sleep 0.1 %d" % n for n in range(IMAGES)))
    client = Client(api, job_id)

    fleet.wait_for(job_id, 5)
    dead = fleet.group.kill_master()
    client.wait_for(200)
    fleet.group.wait_for_failover(dead)
    fleet.wait_until_reconciled()
    fleet.group.wait_until_watched()

    fleet.group.lose_what_follows()
    fleet.wait_for(job_id, len(fleet.done(job_id)) + 5)
    done = fleet.done(job_id)
    dead = fleet.group.kill_master()
    fleet.group.wait_for_failover(dead)
    client.wait_for(200)
    eventually(lambda: fleet.done(job_id) >= done)

    assert fleet.wait_for_end(job_id).state is JobState.SUCCEEDED
    fleet.check_result(job_id, IMAGES)
    assert client.ask().json()["state"] == "succeeded"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_idle_processes_leave_a_master_that_falls_silent(fleet: FailoverFleet, api: ApiServer) -> None:
    """It closes no connection. The worker waits for tickets there, and would wait for hours."""
    fleet.wait_for_end(fleet.submit(b"one"))
    fleet.group.wait_until_watched()

    silent = fleet.group.silence_master()
    fleet.group.wait_for_failover(silent)
    eventually(fleet.is_reached)
    job_id = fleet.submit(b"one", b"two")

    assert fleet.wait_for_end(job_id).state is JobState.SUCCEEDED
    fleet.check_result(job_id, 2)
    Client(api, job_id).wait_for(200)


@pytest.mark.timeout(240)
def test_the_api_says_when_to_come_back_while_no_server_is_left(fleet: FailoverFleet, api: ApiServer) -> None:
    job_id = fleet.submit(b"one")
    fleet.wait_for_end(job_id)
    client = Client(api, job_id)

    last = fleet.group.kill_servers()
    client.wait_for(503)
    last.start()

    client.wait_for(200)
