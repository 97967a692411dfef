"""Compare the job store on a real Valkey with a plain model, over random sequences of calls.

Every call goes to both; answers and everything that can be read must agree after each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fathom.options import Options
from shared.errors import FathomError
from shared.jobs.job import (
    Cost,
    Counts,
    FinalizeClaim,
    ImageFailure,
    Job,
    JobEvents,
    JobState,
    Lease,
    Phase,
    Quota,
    Range,
    Totals,
)
from shared.jobstore.port import JobStore
from shared.jobstore.redis_store import RedisJobStore
from shared.redis.client import connect_redis
from tests.fakes import FakeClock, FakeJobStore
from tests.rewind import Rewind
from tests.store_invariants import StoredJobs

#: Far longer than a test runs, so that only `advance` makes anything due or expire.
TIMES: dict[str, Any] = {"lease_seconds": 1000, "retry_delays": (100, 500), "claim_seconds": 4000}
#: The verbs of a job; the more interesting ones are repeated.
VERBS = ("retry", "pause", "resume") * 3 + ("start", "cancel", "finish", "delete", "abort", "expire")
FAILURE = ImageFailure(code="image_corrupt", message="No.")
NO_IMAGES = ImageFailure(code="no_images", message="None.")
#: Few and small jobs, so that calls often meet in the same one.
JOB_IDS = ["a" * 25 + last for last in "mz3c5"]
OWNERS = ("me", "you")

ends = st.floats(-1e6, 1e6, allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class LeasePair:
    """The same lease in both stores."""

    real: Lease
    model: Lease


@dataclass(frozen=True, kw_only=True)
class Claims:
    """The same claim in both stores."""

    real: FinalizeClaim
    model: FinalizeClaim

    def of(self, store: JobStore) -> FinalizeClaim:
        return self.real if isinstance(store, RedisJobStore) else self.model


@dataclass(frozen=True, kw_only=True)
class JobKind:
    """A kind of job to create."""

    total: int
    normalize: str
    state: JobState
    weight: float
    cost: Cost
    owner: str
    bytes: int
    urgent: bool
    gathered: bool

    def make(self, job_id: str, state: JobState) -> Job:
        return Job(
            id=job_id,
            state=state,
            options=Options.parse({"normalize": self.normalize}),
            counts=Counts(total=self.total),
            created_at=1.0,
            weight=self.weight,
            cost=self.cost,
            owner=self.owner,
            bytes=self.bytes,
            urgent=self.urgent,
            gathered=self.gathered,
        )


KINDS: dict[str, Any] = {
    "total": st.integers(1, 8),
    "normalize": st.sampled_from(["image", "job"]),
    "state": st.sampled_from([JobState.QUEUED] * 4 + [JobState.UPLOADING]),
    "weight": st.sampled_from([1.0, 3.0, 0.3]),
    "cost": st.sampled_from([Cost(), Cost(measure=0.6, render=2.7), Cost(measure=2.0, render=0.9)]),
    "owner": st.sampled_from(OWNERS),
    "bytes": st.integers(0, 9),
    "urgent": st.sampled_from([False, False, True]),
    "gathered": st.booleans(),
}

quotas = st.builds(
    Quota,
    images=st.sampled_from([None, None, 12, 20]),
    owner_images=st.sampled_from([None, None, 9, 14]),
    owner_bytes=st.sampled_from([None, None, 12, 20]),
)


@dataclass(frozen=True, kw_only=True)
class RestoredJob:
    """A job as the object store knows it."""

    state: JobState
    succeeded: Sequence[int]
    failed: Sequence[int]
    common: Range | None

    def restore(self, store: JobStore, job: Job) -> None:
        """Restore a job; some of its images may be missing."""
        ended_at = store.now() - 300 if self.state.ended else None
        store.restore(
            replace(job, state=self.state, ended_at=ended_at),
            succeeded=[index for index in self.succeeded if index < job.counts.total],
            failures={index: FAILURE for index in self.failed if index < job.counts.total},
            common=self.common,
        )


records = st.builds(
    RestoredJob,
    state=st.sampled_from([JobState.QUEUED] * 3 + list(JobState)),
    succeeded=st.lists(st.integers(0, 7), max_size=6),
    failed=st.lists(st.integers(0, 7), max_size=3),
    common=st.sampled_from([None, Range(low=-1, high=2)]),
)


@dataclass(frozen=True, kw_only=True)
class LeaseCall:
    """Which lease and which of its images a call is about, and whether the call is repeated."""

    which: int
    place: int
    late: bool
    twice: bool


touches = st.builds(
    LeaseCall,
    which=st.integers(0, 9),
    place=st.integers(0, 7),
    # Most calls are about a lease that is held, and some about an older one.
    late=st.sampled_from([False, False, False, True]),
    twice=st.booleans(),
)


def comparable(answer: Any) -> Any:
    """Return an answer without ids and times, which differ between the stores."""
    if isinstance(answer, Job):
        began, ended = answer.started_at is not None, answer.ended_at is not None
        return began, ended, replace(answer, images_per_second=None, started_at=None, ended_at=None)
    if isinstance(answer, JobEvents):
        return answer.complete, [(event.state, event.index) for event in answer.events]
    if isinstance(answer, Totals):
        return answer.jobs, answer.unfinished_images, answer.leases, answer.outcomes
    return replace(answer, id="") if isinstance(answer, Lease) else answer


def attempt(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the class of the error it raises."""
    try:
        return call()
    except FathomError as exc:
        return type(exc)


def ask(store: JobStore, verb: str, job_id: str) -> Any:
    """Call a verb of a job, as clients do; a job may expire at any time."""
    if verb == "expire":
        return store.expire(job_id, before=store.now() + 1)
    return getattr(store, verb)(job_id)


class JobStores(RuleBasedStateMachine):
    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        client.flushdb()
        self.client = client
        self.clock = FakeClock()
        self.real = RedisJobStore(client, **TIMES)
        self.model = FakeJobStore(self.clock, **TIMES)
        self.rewind = Rewind(client)
        self.ids = list(JOB_IDS)
        self.leases: list[LeasePair] = []
        #: The last claim of each job.
        self.claims: dict[str, Claims] = {}

    def tick(self) -> None:
        """Advance both clocks by a millisecond, so that no two events share one."""
        self.clock.advance(0.001)
        before = self._server_ms()
        while self._server_ms() == before:
            pass

    def _server_ms(self) -> int:
        seconds, microseconds = self.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    @property
    def states(self) -> set[JobState]:
        return {job.state for job in self.model.list(limit=100).items}

    def both(self, call: Callable[[JobStore], Any]) -> Any:
        self.tick()
        real, model = attempt(lambda: call(self.real)), attempt(lambda: call(self.model))
        assert comparable(real) == comparable(model)
        return real

    def call_both_with_lease(
        self, lease: LeasePair, call: Callable[[JobStore, Lease], Any], *, twice: bool = False
    ) -> None:
        """Make a call about a lease. The real store may get it twice, which must make no difference."""
        self.tick()
        assert call(self.real, lease.real) == call(self.model, lease.model)
        if twice:
            call(self.real, lease.real)

    def touched(self, touch: LeaseCall) -> tuple[LeasePair, int]:
        held = [lease for lease in self.leases if self.model.holds(lease.model)]
        among = self.leases if touch.late or not held else held
        lease = among[touch.which % len(among)]
        return lease, lease.real.indices[touch.place % len(lease.real.indices)]

    def take(self, limit: int) -> LeasePair | None:
        self.tick()
        real, model = self.real.lease("w", limit=limit), self.model.lease("w", limit=limit)
        assert comparable(real) == comparable(model)
        if real is None or model is None:
            return None
        self.leases.append(LeasePair(real=real, model=model))
        return self.leases[-1]

    def end_image(
        self, lease: LeasePair, index: int, measured: Range, *, fails: bool, twice: bool = False
    ) -> None:
        if fails:
            self.call_both_with_lease(
                lease, lambda store, own: store.done(own, index, failure=FAILURE), twice=twice
            )
        elif lease.real.phase is Phase.RENDER:
            self.call_both_with_lease(lease, lambda store, own: store.done(own, index), twice=twice)
        else:
            self.call_both_with_lease(
                lease, lambda store, own: store.measured(own, index, measured), twice=twice
            )

    @initialize(target=jobs, kinds=st.lists(st.builds(JobKind, **KINDS), min_size=2, max_size=3))
    def create_some(self, kinds: list[JobKind]) -> Any:
        return multiple(*(self.create(kind) for kind in kinds))

    @precondition(lambda self: self.ids)
    @rule(target=jobs, kind=st.builds(JobKind, **KINDS))
    def create(self, kind: JobKind) -> Any:
        job = kind.make(self.ids.pop(), kind.state)
        self.both(lambda store: store.create(job))
        return job.id

    @precondition(lambda self: self.ids)
    @rule(target=jobs, kind=st.builds(JobKind, **KINDS), quota=quotas, uncounted=st.booleans())
    def create_within(self, kind: JobKind, quota: Quota, uncounted: bool) -> Any:
        """Create a job that may be refused, now or when it is started."""
        job = kind.make(self.ids[-1], kind.state)
        if uncounted:
            job = replace(job, state=JobState.UPLOADING, counts=Counts(total=0))
        if not uncounted and not kind.bytes:
            self.both(lambda store: store.admit(kind.owner, kind.total, quota=quota))
        if self.both(lambda store: store.create(job, quota=quota)) is not None:
            return multiple()
        if uncounted:
            self.both(lambda store: store.start(job.id, total=kind.total))
        return self.ids.pop()

    @precondition(lambda self: self.ids)
    @rule(target=jobs, kind=st.builds(JobKind, **KINDS), record=records)
    def restore_unknown(self, kind: JobKind, record: RestoredJob) -> Any:
        job = kind.make(self.ids.pop(), record.state)
        self.both(lambda store: record.restore(store, job))
        return job.id

    @rule(job_id=jobs, record=records, twice=st.booleans())
    def restore(self, job_id: str, record: RestoredJob, twice: bool) -> None:
        job = attempt(lambda: self.model.get(job_id))
        if isinstance(job, Job):
            for _ in range(2 if twice else 1):
                self.both(lambda store: record.restore(store, job))

    @rule(job_id=jobs, verb=st.sampled_from(VERBS))
    def request(self, job_id: str, verb: str) -> None:
        if verb == "finish":
            nobodys = FinalizeClaim(job_id=job_id, number=0)
            late = self.claims.get(job_id, Claims(real=nobodys, model=nobodys))
            self.both(lambda store: store.finish(late.of(store), JobState.FAILED))
        elif verb == "abort":
            self.both(lambda store: store.abort(job_id, NO_IMAGES))
        elif verb == "start":
            self.both(lambda store: store.start(job_id, total=store.get(job_id).counts.total or 3))
        else:
            self.both(lambda store: ask(store, verb, job_id))

    @precondition(lambda self: any(state.runs for state in self.states))
    @rule(limit=st.integers(1, 4))
    def lease(self, limit: int) -> None:
        self.both(lambda store: store.pending_chunks(limit, at_most=9))
        self.take(limit)

    @precondition(lambda self: self.leases)
    @rule(touch=touches, nothing=st.booleans())
    def renew(self, touch: LeaseCall, nothing: bool) -> None:
        lease, index = self.touched(touch)
        self.call_both_with_lease(
            lease, lambda store, own: store.renew(own, in_hand=None if nothing else index)
        )

    @precondition(lambda self: self.leases)
    @rule(touch=touches, fails=st.booleans(), low=ends, high=ends)
    def end(self, touch: LeaseCall, fails: bool, low: float, high: float) -> None:
        lease, index = self.touched(touch)
        self.end_image(lease, index, Range(low=low, high=high), fails=fails, twice=touch.twice)

    @precondition(lambda self: any(state.runs for state in self.states))
    @rule(limit=st.integers(1, 4), fails=st.booleans(), low=ends, high=ends)
    def end_lease(self, limit: int, fails: bool, low: float, high: float) -> None:
        """Take leases and end all their images until there is none; the very first may fail."""
        while (lease := self.take(limit)) is not None:
            for index in lease.real.indices:
                self.end_image(lease, index, Range(low=low, high=high), fails=fails)
                fails = False

    @precondition(lambda self: any(state.runs for state in self.states))
    @rule(verb=st.sampled_from(["cancel", "pause", "delete", "retry", "expire"]), chance=st.randoms())
    def race_the_last_image(self, verb: str, chance: Any) -> None:
        """Change a job that has one image left; the ends come shuffled, and each comes twice."""
        if (lease := self.take(8)) is None:
            return
        ends = [*lease.real.indices] * 2
        chance.shuffle(ends)
        for index in ends:
            self.end_image(lease, index, Range(low=0, high=1), fails=index == 1)
            if len(set(lease.real.indices) - {index}) == 0 or chance.random() < 0.2:
                self.both(lambda store: ask(store, verb, lease.real.job_id))

    @precondition(lambda self: self.states & {JobState.FINALIZING, JobState.CANCELING})
    @rule(dies=st.booleans())
    def finalize(self, dies: bool) -> None:
        """Finish a job as a worker would, or claim it and disappear."""
        self.tick()
        real, model = self.real.claim_finalize(), self.model.claim_finalize()
        assert (real is None) == (model is None)
        if real is None or model is None:
            return
        assert real.job_id == model.job_id
        claims = self.claims[real.job_id] = Claims(real=real, model=model)
        if dies:
            return
        job = self.real.get(real.job_id)
        failed = JobState.PARTIAL if job.counts.succeeded else JobState.FAILED
        state = failed if job.counts.failed else JobState.SUCCEEDED
        canceled = job.state is JobState.CANCELING
        end = JobState.CANCELED if canceled else state
        self.both(lambda store: store.finish(claims.of(store), end))

    @precondition(lambda self: self.leases)
    @rule(touch=touches)
    def charge(self, touch: LeaseCall) -> None:
        lease, index = self.touched(touch)
        self.call_both_with_lease(
            lease, lambda store, own: store.charge(own, index, FAILURE), twice=touch.twice
        )

    @precondition(lambda self: self.leases)
    @rule(touch=touches)
    def give_back(self, touch: LeaseCall) -> None:
        lease, _ = self.touched(touch)
        self.call_both_with_lease(lease, lambda store, own: store.give_back(own.id), twice=touch.twice)

    @precondition(lambda self: JobState.PROCESSING in self.states)
    @rule(seconds=st.sampled_from([150, 600, 1200, 5000]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.rewind(seconds)

    @precondition(lambda self: JobState.PROCESSING in self.states)
    @rule(die=st.booleans())
    def reap(self, die: bool) -> None:
        if die:
            self.advance(1200)
        self.both(lambda store: store.reap())

    @rule()
    def mark_some_failures_written(self) -> None:
        for job_id, image in self.both(lambda store: store.unwritten_failures(limit=2)):
            for store in (self.real, self.model):
                store.mark_written(job_id, [image.index])

    @invariant()
    def both_stores_read_the_same(self) -> None:
        real, model = self.real.list(limit=100), self.model.list(limit=100)
        assert [comparable(job) for job in real.items] == [comparable(job) for job in model.items]
        for job in real.items:
            assert self.real.images(job.id) == self.model.images(job.id)
            assert comparable(self.real.events(job.id)) == comparable(self.model.events(job.id))
        for owner in OWNERS:
            assert [job.id for job in self.real.list(owner=owner).items] == [
                job.id for job in self.model.list(owner=owner).items
            ]
        assert comparable(self.real.totals()) == comparable(self.model.totals())
        assert self.real.workload() == self.model.workload()
        for ago in (100, 500, 1000):
            found = [
                store.expirable(before=store.now() - ago, limit=100) for store in (self.real, self.model)
            ]
            assert found[0] == found[1]

    @invariant()
    def redundant_data_agree(self) -> None:
        # Asking for a lease queues due retries.
        assert self.real.pending_chunks(1, at_most=99) == self.model.pending_chunks(1, at_most=99)
        StoredJobs(self.client).check()


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    with connect_redis(valkey_url) as client:
        yield client


@pytest.mark.parametrize(
    ("examples", "steps"), [(8, 30), pytest.param(30, 50, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_the_real_store_and_the_model_agree_whatever_happens(client: redis.Redis, examples: int, steps: int):
    class ComparedStores(JobStores):
        def __init__(self) -> None:
            super().__init__(client)

    run_state_machine_as_test(
        ComparedStores,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
