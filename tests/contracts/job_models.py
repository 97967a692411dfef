"""The contract of every job store for jobs of several networks, which not every worker serves.

The fixtures are those of `tests.contracts.job_store`.
"""

from __future__ import annotations

import pytest

from fathom.options import Options
from shared.jobs.job import JobState, ServedModel
from shared.jobstore.port import JobStore
from shared.networks import DPT_LARGE, MIDAS_SMALL
from tests.contracts.job_store import Advance, a_created, end_lease

SMALL, LARGE, OWN = MIDAS_SMALL.name, DPT_LARGE.name, "file:mine"


def a_job_of(store: JobStore, model: str, total: int = 100, **changes: object) -> str:
    return a_created(store, total, options=Options(model=model), **changes)


def next_jobs(store: JobStore, *models: str, count: int = 1) -> list[str | None]:
    leases = [store.lease("worker", limit=8, models=models) for _ in range(count)]
    return [None if lease is None else lease.job_id for lease in leases]


class JobModelsContract:
    @pytest.mark.parametrize("urgent", [False, True])
    def test_a_worker_is_handed_only_what_it_serves(self, store: JobStore, urgent: bool) -> None:
        small, large, own = (a_job_of(store, model, urgent=urgent) for model in (SMALL, LARGE, OWN))

        assert next_jobs(store, SMALL) == [small]
        assert next_jobs(store, LARGE) == [large]
        assert next_jobs(store, OWN) == [own]
        assert next_jobs(store, "dpt_hybrid") == [None]

    def test_a_job_that_names_no_network_wants_the_default(self, store: JobStore) -> None:
        job = a_job_of(store, "")

        assert next_jobs(store, LARGE) == [None]
        assert next_jobs(store, SMALL) == [job]
        assert (store.get(job).model, store.get(job).options.model) == (SMALL, "")

    def test_of_several_networks_the_first_with_work_is_served(self, store: JobStore) -> None:
        small, large = a_job_of(store, SMALL, 8), a_job_of(store, LARGE, 16)

        assert next_jobs(store, OWN, LARGE, SMALL) == [large]
        assert next_jobs(store, SMALL, LARGE, count=3) == [small, large, None]

    def test_urgent_jobs_of_every_network_come_first(self, store: JobStore) -> None:
        small, large = a_job_of(store, SMALL, 1), a_job_of(store, LARGE, 1, urgent=True)

        assert next_jobs(store, SMALL, LARGE, count=3) == [large, small, None]

    def test_a_lease_says_how_many_owners_wait_for_its_network(self, store: JobStore) -> None:
        for owner in ("a", "b", "c"):
            a_job_of(store, LARGE, owner=owner)
        a_job_of(store, SMALL, 1)

        large, small = (store.lease("worker", limit=8, models=[model]) for model in (LARGE, SMALL))

        assert large is not None
        assert small is not None
        assert (large.model, large.owners) == (LARGE, 3)
        assert (small.model, small.owners) == (SMALL, 1)

    def test_what_an_owner_gets_of_one_network_is_no_debt_in_another(self, store: JobStore) -> None:
        a_job_of(store, LARGE, 1000, owner="a")
        next_jobs(store, LARGE, count=50)
        other, mine = a_job_of(store, SMALL, owner="b"), a_job_of(store, SMALL, owner="a")

        assert sorted(map(str, next_jobs(store, SMALL, count=4))) == sorted([other, mine] * 2)

    def test_chunks_are_counted_by_network(self, store: JobStore) -> None:
        a_job_of(store, SMALL, 24)
        a_job_of(store, LARGE, 8)

        assert [store.pending_chunks(8, at_most=9, model=name) for name in (SMALL, LARGE, OWN)] == [3, 1, 0]
        assert store.pending_chunks(8, at_most=9) == 3

    def test_a_job_keeps_its_network_through_pauses_retries_and_returned_leases(
        self, store: JobStore
    ) -> None:
        job = a_job_of(store, LARGE, 2)
        lease = store.lease("worker", limit=8, models=[LARGE])
        assert lease is not None
        store.give_back(lease.id)
        store.pause(job)
        assert next_jobs(store, LARGE, SMALL) == [None]
        store.resume(job)

        assert next_jobs(store, SMALL) == [None]
        assert next_jobs(store, LARGE, count=2) == [job, job]

    def test_a_deleted_job_leaves_its_queue(self, store: JobStore) -> None:
        job = a_job_of(store, LARGE)
        store.delete(job)

        assert next_jobs(store, LARGE) == [None]
        assert store.pending_chunks(8, at_most=9, model=LARGE) == 0

    def test_a_restored_job_keeps_its_network(self, store: JobStore) -> None:
        job = a_job_of(store, LARGE, 4)
        record = store.get(job)
        store.delete(job)
        store.restore(record, succeeded=[0])

        assert next_jobs(store, SMALL) == [None]
        lease = store.lease("worker", limit=8, models=[LARGE])
        assert lease is not None
        end_lease(store, lease)
        assert store.get(job).state is JobState.FINALIZING

    def test_living_workers_tell_what_they_serve(self, store: JobStore, advance: Advance) -> None:
        assert store.served_models() == {}
        store.register_worker("old", 2)
        advance(10)
        store.register_worker("new", 3, {SMALL: 1.0, LARGE: 101.85, OWN: 0.5})
        assert store.served_models() == {
            SMALL: ServedModel(cost=1.0, slots=5),
            LARGE: ServedModel(cost=101.85, slots=3),
            OWN: ServedModel(cost=0.5, slots=3),
        }
        assert store.slots() == 5
        advance(10)

        assert store.served_models()[SMALL] == ServedModel(cost=1.0, slots=3)
        store.forget_worker("new")
        assert (store.served_models(), store.slots()) == ({}, 0)
