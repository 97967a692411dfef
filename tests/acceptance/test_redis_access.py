"""Redis with TLS and users of few rights, and a broker apart from the job store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from fathom.doctor.redis import check_redis
from fathom.stack.servers import HOST, ValkeyServer
from shared.errors import JobStoreUnavailable
from shared.jobs.job import JobState
from shared.jobstore.redis_store import RedisJobStore
from shared.redis.client import connect_redis
from shared.redis.info import look_at_redis
from shared.tickets import connect_tickets
from tests.acceptance.fleet import Fleet
from tests.conftest import start_or_skip
from tests.tls import tls_front

#: The rights that docs/operations.md names.
RIGHTS = "~* &* +@all -@dangerous +info"


class Restricted(ValkeyServer):
    """A server with a user who may do what Fathom needs and no more."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, password="default-word")

    def _configuration(self) -> str:
        return super()._configuration() + f"user fathom on >user-word {RIGHTS}\n"


class GuardedFleet(Fleet):
    """A fleet whose job store and whose broker are two servers, each behind TLS and with its own user."""

    def _start_redis(self) -> str:
        authority = trustme.CA()
        self.certificate = self.folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.certificate))
        self.store_server, self.workers_redis = self._guard(authority, "store")
        self.broker_server, broker_url = self._guard(authority, "broker")
        self.broker = {"FATHOM_BROKER_URL": broker_url}
        return self.workers_redis

    def _guard(self, authority: trustme.CA, name: str) -> tuple[Restricted, str]:
        server = start_or_skip(Restricted(self.folder / name))
        self._stack.callback(server.stop)
        port = self._stack.enter_context(tls_front(authority, server.port, self.folder))
        login = "fathom:user-word"
        return server, f"rediss://{login}@{HOST}:{port}/0?ssl_ca_certs={self.certificate}"


@pytest.fixture(scope="module")
def fleet(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedFleet]:
    with GuardedFleet(tmp_path_factory.mktemp("guarded"), environ) as fleet:
        yield fleet


def test_a_job_goes_through_over_tls_with_users_of_few_rights(fleet: GuardedFleet) -> None:
    fleet.run_only("one")
    job_id = fleet.submit(b"one", b"two", b"three")

    assert fleet.wait_for_end(job_id).state is JobState.SUCCEEDED
    fleet.check_result(job_id, 3)


def test_the_job_store_and_the_broker_each_hold_only_what_is_theirs(fleet: GuardedFleet) -> None:
    fleet.run_only("one")
    fleet.wait_for_end(fleet.submit(b"one"))

    with connect_redis(fleet.store_server.url) as store, connect_redis(fleet.broker_server.url) as broker:
        kept = {key.decode() for key in store.scan_iter()}
        sent = {key.decode() for key in broker.scan_iter()}
    assert kept
    assert all(key.startswith("{fathom}") for key in kept)
    assert "_kombu.binding.fathom" in sent
    assert not any(key.startswith("{fathom}") for key in sent)


def test_the_doctor_looks_at_both(fleet: GuardedFleet) -> None:
    found = list(check_redis(fleet.settings))

    assert {each.level for each in found if each.part in ("redis", "broker")} == {"ok"}
    (broker,) = [each for each in found if each.part == "broker"]
    assert broker.message.endswith("answers; it holds Celery's messages.")
    assert not any("user-word" in each.message for each in found)


def test_a_certificate_of_a_stranger_is_refused_by_all_clients(fleet: GuardedFleet) -> None:
    strange = fleet.workers_redis.partition("?")[0]
    with connect_redis(strange) as client, pytest.raises(JobStoreUnavailable):
        RedisJobStore(client).is_reconciled()
    with pytest.raises(JobStoreUnavailable):
        look_at_redis(strange)
    with pytest.raises(JobStoreUnavailable):
        connect_tickets(replace(fleet.settings, broker_url=strange)).depth()
