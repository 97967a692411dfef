"""The contract of every job store for what images cost: shares, leases, what is left to do, and what is kept.

The fixtures are those of `tests.contracts.job_store`.
"""

from __future__ import annotations

from collections import Counter

import pytest

from fathom.options import Options
from shared.jobs.job import Cost, JobState, Phase, Range, Workload
from shared.jobstore.port import JobStore
from shared.networks import MIDAS_SMALL
from tests.contracts.job_store import ONE_RANGE, SLOW, a_created, a_job, end_lease, job_in, take

#: Four times a plain heatmap in both passes, so that leases of eight have two images.
DEAR = Cost(measure=4.0, render=4.0)


def images_handed_out(store: JobStore, leases: int, *, limit: int = 8) -> Counter[str]:
    """Take leases, and return their images by job."""
    images: Counter[str] = Counter()
    for _ in range(leases):
        lease = take(store, limit)
        images[lease.job_id] += len(lease.indices)
    return images


class CostSharesContract:
    @pytest.mark.parametrize(("limit", "leases"), [(8, 80), (4, 160), (2, 240), (1, 500)])
    def test_owners_share_by_cost_and_not_by_images(self, store: JobStore, limit: int, leases: int) -> None:
        """Leases of at least the limit 4 cost the same; smaller ones have one dear image each."""
        dear = a_created(store, 10_000, owner="dear", cost=DEAR)
        plain = a_created(store, 10_000, owner="plain")

        images = images_handed_out(store, leases, limit=limit)

        assert images[plain] == 4 * images[dear]

    def test_jobs_of_one_owner_share_by_cost(self, store: JobStore) -> None:
        dear, plain = a_created(store, 10_000, cost=DEAR), a_created(store, 10_000)

        assert images_handed_out(store, 40) == {dear: 40, plain: 160}

    def test_a_weight_multiplies_the_share_of_a_dear_job(self, store: JobStore) -> None:
        dear, plain = a_created(store, 10_000, cost=DEAR, weight=3.0), a_created(store, 10_000)

        assert images_handed_out(store, 40) == {dear: 60, plain: 80}

    def test_costs_need_not_be_whole(self, store: JobStore) -> None:
        """A lease of 8 has 5 images of a cost of 1.5: 16 such leases cost 120, as 15 plain ones do."""
        dear = a_created(store, 10_000, owner="dear", cost=Cost(render=1.5))
        plain = a_created(store, 10_000, owner="plain")

        assert images_handed_out(store, 31) == {dear: 80, plain: 120}

    def test_a_cheap_job_gets_more_images(self, store: JobStore) -> None:
        cheap, plain = a_created(store, 10_000, owner="a", cost=Cost(render=0.5)), a_created(store, 10_000)

        assert images_handed_out(store, 30) == {cheap: 160, plain: 80}

    def test_a_retry_counts_by_cost_too(self, store: JobStore) -> None:
        """Two dear images that come back one by one cost as much as one lease of eight plain ones."""
        dear = a_created(store, 4, owner="dear", cost=DEAR)
        for lease in [take(store), take(store)]:
            store.give_back(lease.id)
        plain = a_created(store, 10_000, owner="plain")

        # The newcomer joins one lease behind.
        assert images_handed_out(store, 7) == {dear: 4, plain: 24}

    def test_urgent_jobs_share_by_cost_among_themselves(self, store: JobStore) -> None:
        dear = a_created(store, 1000, owner="dear", cost=DEAR, urgent=True)
        plain = a_created(store, 1000, owner="plain", urgent=True)

        assert images_handed_out(store, 20) == {dear: 20, plain: 80}


class CostLeasesContract:
    @pytest.mark.parametrize(
        ("cost", "limit", "images"),
        [
            (0.5, 8, 8), (1.0, 8, 8), (1.1, 8, 7), (1.5, 8, 5), (2.0, 8, 4), (4.0, 8, 2), (4.1, 8, 1),
            (8.0, 8, 1), (50.0, 8, 1), (4.0, 1, 1), (4.0, 100, 25),
        ],
    )  # fmt: skip
    def test_a_lease_has_fewer_images_the_more_they_cost(
        self, store: JobStore, cost: float, limit: int, images: int
    ) -> None:
        a_created(store, 100, cost=Cost(render=cost))

        lease = take(store, limit)

        assert (lease.cost, lease.indices) == (cost, tuple(range(images)))

    def test_pending_chunks_are_as_small_as_leases(self, store: JobStore) -> None:
        a_created(store, 5, cost=DEAR)

        assert store.pending_chunks(8, at_most=10) == 3
        take(store)
        assert store.pending_chunks(8, at_most=10) == 2

    def test_each_pass_has_its_own_cost(self, store: JobStore) -> None:
        job_id = a_created(store, 4, options=ONE_RANGE, cost=Cost(measure=2.0, render=8.0))
        first = take(store)
        for index in first.indices:
            store.measured(first, index, Range(low=0, high=1))

        assert store.get(job_id).phase is Phase.RENDER
        second = take(store)
        assert (first.cost, len(first.indices)) == (2.0, 4)
        assert (second.cost, len(second.indices)) == (8.0, 1)

    def test_a_single_retry_has_the_cost_of_its_job(self, store: JobStore) -> None:
        a_created(store, 2, cost=DEAR)
        store.give_back(take(store).id)

        assert [(lease.cost, lease.indices) for lease in (take(store), take(store))] == [
            (4.0, (0,)),
            (4.0, (1,)),
        ]


class WorkloadContract:
    def test_an_empty_store_has_no_workload(self, store: JobStore) -> None:
        assert store.workload() == {}

    def test_images_count_until_they_end_in_proportion_to_their_cost(self, store: JobStore) -> None:
        a_created(store, 10)
        a_created(store, 3, cost=Cost(render=2.7))
        assert store.workload() == {MIDAS_SMALL.name: Workload(images=13, work=18.1)}

        lease = take(store)
        assert store.workload()[MIDAS_SMALL.name].images == 13, "Images in hand are not done."
        end_lease(store, lease, failing=frozenset({lease.indices[0]}))

        left = store.workload()[MIDAS_SMALL.name]
        assert left.images == 13 - len(lease.indices)
        assert left.work == pytest.approx(18.1 - lease.cost * len(lease.indices))

    def test_both_passes_count(self, store: JobStore) -> None:
        a_created(store, 4, options=ONE_RANGE, cost=Cost(measure=2.0, render=8.0))
        lease = take(store)
        work = [store.workload()[MIDAS_SMALL.name].work]
        for index in lease.indices:
            store.measured(lease, index, Range(low=0, high=1))
            work.append(store.workload()[MIDAS_SMALL.name].work)

        assert work == [40.0, 38.0, 36.0, 34.0, 32.0]
        store.done(take(store), 0)
        assert store.workload() == {MIDAS_SMALL.name: Workload(images=3, work=24.0)}

    def test_each_network_has_its_own(self, store: JobStore) -> None:
        a_created(store, 2, options=Options(model="file:mine"), cost=DEAR)
        a_created(store, 5)

        assert store.workload() == {
            "file:mine": Workload(images=2, work=8.0),
            MIDAS_SMALL.name: Workload(images=5, work=5.0),
        }

    @pytest.mark.parametrize("state", [state for state in JobState if not state.runs])
    def test_jobs_that_do_not_run_do_not_count(self, store: JobStore, state: JobState) -> None:
        job_in(store, state)

        assert store.workload() == {}

    def test_a_paused_job_counts_again_when_it_is_resumed(self, store: JobStore) -> None:
        job_id = a_created(store, 4)
        store.pause(job_id)
        assert store.workload() == {}
        store.resume(job_id)

        assert store.workload() == {MIDAS_SMALL.name: Workload(images=4, work=4.0)}

    def test_images_that_workers_gather_count_and_uploads_do_not(self, store: JobStore) -> None:
        a_created(store, 3, state=JobState.UPLOADING)
        a_created(store, 0, state=JobState.UPLOADING, gathered=True)
        job_id = a_created(store, 7, state=JobState.UPLOADING, gathered=True)
        assert store.workload() == {MIDAS_SMALL.name: Workload(images=7, work=7.0)}

        store.start(job_id, total=7)
        assert store.workload() == {MIDAS_SMALL.name: Workload(images=7, work=7.0)}
        store.delete(job_id)
        assert store.workload() == {}

    def test_a_restored_job_counts_by_what_is_left(self, store: JobStore) -> None:
        store.restore(a_job(10, cost=DEAR), succeeded=[0, 1], failures={2: SLOW})

        assert store.workload() == {MIDAS_SMALL.name: Workload(images=7, work=28.0)}

    def test_failed_images_count_again_after_a_retry(self, store: JobStore) -> None:
        job_id = a_created(store, 4)
        end_lease(store, take(store), failing=frozenset({1, 2}))
        assert store.workload() == {}
        claim = store.claim_finalize()
        assert claim is not None
        store.finish(claim, JobState.PARTIAL)
        store.retry(job_id)

        assert store.workload() == {MIDAS_SMALL.name: Workload(images=2, work=2.0)}


class CostKeptContract:
    def test_a_job_keeps_its_cost(self, store: JobStore) -> None:
        cost = Cost(measure=0.1 + 0.2, render=17.4)
        job_id = a_created(store, cost=cost)
        store.charge(take(store), 0, SLOW)
        store.pause(job_id)

        assert store.get(job_id).cost == cost
        assert store.resume(job_id).cost == cost

    @pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PROCESSING])
    def test_a_restored_job_costs_what_it_did(self, store: JobStore, state: JobState) -> None:
        job = a_job(10, cost=DEAR, state=state)

        store.restore(job, succeeded=[0, 2])

        lease = take(store)
        assert (lease.cost, lease.indices) == (4.0, (1, 3))
        assert store.get(job.id).cost == DEAR

    def test_a_known_job_keeps_its_cost_when_it_is_restored(self, store: JobStore) -> None:
        job = a_job(10, cost=DEAR)
        store.create(job)

        store.restore(a_job(10, id=job.id), succeeded=[0])

        assert store.get(job.id).cost == DEAR

    @pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
    @pytest.mark.parametrize("name", ["measure", "render"])
    def test_a_cost_that_is_no_positive_number_is_refused(
        self, store: JobStore, name: str, bad: float
    ) -> None:
        job = a_job(cost=Cost(**{name: bad}))

        with pytest.raises(ValueError, match="positive costs"):
            store.create(job)
        with pytest.raises(ValueError, match="positive costs"):
            store.restore(job)


class JobCostsContract(CostSharesContract, CostLeasesContract, WorkloadContract, CostKeptContract):
    """The whole contract."""
