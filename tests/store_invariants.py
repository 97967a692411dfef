"""Check what must always hold in Redis: recount everything that is stored twice, and compare."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import redis

from shared.jobs.job import ENDS, JobState
from shared.networks import MIDAS_SMALL
from tests.rewind import ROOT

LANES = ("urgent", "batch")
WAITS = frozenset({JobState.UPLOADING, JobState.QUEUED, JobState.PROCESSING, JobState.PAUSED})
IDLE = (ENDS - {JobState.EXPIRED}) | {JobState.UPLOADING, JobState.PAUSED}


@dataclass(frozen=True, kw_only=True)
class StoredJob:
    """A job as its keys hold it."""

    id: str
    fields: dict[str, str]
    #: The images in each state.
    ok: frozenset[int]
    bad: frozenset[int]
    measured: frozenset[int]
    held: dict[int, str]
    retries: dict[int, float]

    @property
    def state(self) -> JobState:
        return JobState(self.fields["state"])

    @property
    def total(self) -> int:
        return int(self.fields["total"])

    @property
    def lane(self) -> str:
        urgency = "urgent" if self.fields["urgent"] == "1" else "batch"
        model = self.fields.get("model", MIDAS_SMALL.name)
        return urgency if model == MIDAS_SMALL.name else f"{urgency}:{model}"

    @property
    def gathered(self) -> bool:
        return self.fields["gathered"] == "1"

    @property
    def behind(self) -> frozenset[int]:
        return self.ok | self.bad | (self.measured if self.fields["phase"] == "measure" else frozenset())

    @property
    def fresh(self) -> set[int]:
        return set(range(self.total)) - self.behind - self.held.keys() - self.retries.keys()

    @property
    def unfinished(self) -> int:
        waits = self.state in WAITS
        return self.total - int(self.fields["ok"]) - int(self.fields["bad"]) if waits else 0


class StoredJobs:
    """Everything that a job store holds; nothing may write meanwhile."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.keys = {key.decode() for key in client.scan_iter()}
        seconds, microseconds = client.time()
        self._now = int(seconds) * 1000 + int(microseconds) / 1000
        entries = self._in_order("jobs")
        self.entries = {entry.partition(":")[2]: entry for entry in entries}
        self.jobs = [self._read(job_id) for job_id in self.entries]

    def check(self) -> None:
        """Raise AssertionError if any invariant does not hold."""
        for job in self.jobs:
            self._check_counters(job)
            self._check_positions(job)
        self._check_leases()
        self._check_sets()
        self._check_queues()
        self._check_totals()
        self._check_keys()

    # --- each job ---

    def _check_counters(self, job: StoredJob) -> None:
        if job.state is not JobState.EXPIRED:
            counted = [len(job.ok), len(job.bad), len(job.measured)]
            assert counted == [int(job.fields[name]) for name in ("ok", "bad", "measured")], job
        assert not job.ok & job.bad, job

    def _check_positions(self, job: StoredJob) -> None:
        """Every image is done, leased, waiting for a retry, or beyond the cursor."""
        waiting = job.held.keys() | job.retries.keys()
        assert not job.held.keys() & job.retries.keys(), job
        assert not job.behind & waiting, job
        assert not waiting or max(waiting) < job.total, job
        if job.state in WAITS:
            assert all(index >= int(job.fields["cursor"]) for index in job.fresh), job

    # --- all of them ---

    def _check_leases(self) -> None:
        held = Counter((lease, image) for job in self.jobs for image, lease in job.held.items())
        leases = self._in_order("expiry")
        leased = Counter(
            (lease, int(image)) for lease in leases for image in self._in_order(f"lease:{lease}:images")
        )
        assert held == leased
        named = {key.split(":")[2] for key in self.keys if key.startswith(f"{ROOT}:lease:")}
        assert named == set(leases)

    def _check_sets(self) -> None:
        canceled = {job.id for job in self.jobs if job.state is JobState.CANCELING and not job.held}
        finalizing = {job.id for job in self.jobs if job.state is JobState.FINALIZING}
        assert self._members("finalize") == canceled | finalizing
        gathering = {job.id for job in self.jobs if job.state is JobState.UPLOADING and job.gathered}
        assert self._members("active") == gathering | {job.id for job in self.jobs if job.state.runs}
        assert self._members("idle") == {job.id for job in self.jobs if job.state in IDLE}
        for owner, jobs in self._by_owner().items():
            assert self._members(f"owner:{owner}:jobs") == {self.entries[job.id] for job in jobs}

    def _check_queues(self) -> None:
        """Exactly the jobs with images to lease are queued. Call `pending_chunks` first."""
        ready = {job.id for job in self.jobs if job.state.runs and (job.fresh or self._due(job))}
        later = {job.id for job in self.jobs if job.state.runs and job.retries} - ready
        assert self._members("waiting") == later
        for lane in {*LANES, *(job.lane for job in self.jobs)}:
            owners = set()
            for owner, jobs in self._by_owner().items():
                expected = {job.id for job in jobs if job.lane == lane} & ready
                assert self._members(f"owner:{owner}:{lane}") == expected
                owners |= {owner} if expected else set()
            assert self._members(f"turns:{lane}") == owners

    def _check_totals(self) -> None:
        totals = self._counters("totals")
        states = Counter(f"state:{job.state}" for job in self.jobs)
        assert {
            name: count for name, count in totals.items() if name.startswith("state:") and count
        } == states
        assert totals.get("images", 0) == sum(job.unfinished for job in self.jobs)
        for owner, jobs in self._by_owner().items():
            counters = self._counters(f"owner:{owner}")
            assert counters.get("images", 0) == sum(job.unfinished for job in jobs)
            kept = sum(int(job.fields["bytes"]) for job in jobs if job.state is not JobState.EXPIRED)
            assert counters.get("bytes", 0) == kept

    def _check_keys(self) -> None:
        """Deleted jobs and their owners have left no key."""
        named = [key.split(":") for key in self.keys]
        assert {parts[2] for parts in named if parts[1] == "job"} == set(self.entries)
        assert {parts[2] for parts in named if parts[1] == "owner"} == set(self._by_owner())
        assert not [key for key in self.keys if key.endswith(":scan")]

    # --- steps ---

    def _read(self, job_id: str) -> StoredJob:
        key = f"{ROOT}:job:{job_id}"
        with self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(key)
            for name in ("ok", "bad", "measured"):
                pipe.get(f"{key}:{name}")
            pipe.hgetall(f"{key}:held")
            pipe.zrange(f"{key}:retries", 0, -1, withscores=True)
            fields, ok, bad, measured, held, retries = pipe.execute()
        return StoredJob(
            id=job_id,
            fields={name.decode(): value.decode() for name, value in fields.items()},
            ok=_bits(ok),
            bad=_bits(bad),
            measured=_bits(measured),
            held={int(image): lease.decode() for image, lease in held.items()},
            retries={int(image): due for image, due in retries},
        )

    def _due(self, job: StoredJob) -> bool:
        return any(due <= self._now for due in job.retries.values())

    def _by_owner(self) -> dict[str, list[StoredJob]]:
        owners: dict[str, list[StoredJob]] = {}
        for job in self.jobs:
            owners.setdefault(job.fields["owner"], []).append(job)
        return owners

    def _members(self, name: str) -> set[str]:
        return set(self._in_order(name))

    def _in_order(self, name: str) -> list[str]:
        members: list[Any] = self._client.zrange(f"{ROOT}:{name}", 0, -1)
        return [member.decode() for member in members]

    def _counters(self, name: str) -> dict[str, float]:
        fields: dict[Any, Any] = self._client.hgetall(f"{ROOT}:{name}")
        return {field.decode(): float(value) for field, value in fields.items()}


def _bits(bitmap: bytes | None) -> frozenset[int]:
    return frozenset(
        8 * place + bit for place, byte in enumerate(bitmap or b"") for bit in range(8) if byte & 128 >> bit
    )
