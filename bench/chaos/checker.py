"""Check what must be true after an attack; every verdict lists all that contradicts it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bench.chaos.observations import Cause, FinalJob, Image, InjectedFault, Observations, Stored

#: The files of an image with the default options.
FILES = frozenset({"heatmap.png", "depth.json"})
#: Seconds by which the clocks of MONITOR and of the proxy may differ.
CLOCK_SKEW = 0.1
#: Seconds of writes that a killed Valkey may lose: one by `appendfsync everysec`, and another while the
#: disk is busy (Redis documentation, "Persistence").
FSYNC_SECONDS = 2.0
#: Bytes by which the keys of Valkey may have grown: locks, and statistics.
KEY_BYTES_MARGIN = 16_384
#: Requests that a process may send to an S3 that answers 503: at first, and then each second. Two threads
#: of a process fetch, and one stores.
BURST_REQUESTS, REQUESTS_PER_SECOND = 12, 10
#: Complaints that the JSON of a verdict quotes.
_QUOTED = 5


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a claim holds, and what contradicts it."""

    name: str
    claim: str
    complaints: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.complaints

    def to_json(self) -> dict[str, Any]:
        quoted = list(self.complaints[:_QUOTED])
        return {
            "name": self.name,
            "holds": self.holds,
            "claim": self.claim,
            "contradictions": len(self.complaints),
            "examples": quoted,
        }


Check = Callable[[Observations], Iterable[str]]
_CHECKS: dict[str, tuple[str, Check]] = {}


def check(observations: Observations) -> tuple[Verdict, ...]:
    """Return the verdict on every claim."""
    return tuple(
        Verdict(name=name, claim=claim, complaints=tuple(find_complaints(observations)))
        for name, (claim, find_complaints) in _CHECKS.items()
    )


def _invariant(claim: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        _CHECKS[check.__name__] = (claim, check)
        return check

    return register


# --- the jobs -------------------------------------------------------------------


@_invariant("Every job has ended, in the state that its outcomes imply.")
def ended(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        wanted = "succeeded" if not job.failed else "partial" if job.succeeded else "failed"
        if job.state != wanted:
            yield f"{job.id} is {job.state}, not {wanted}."


@_invariant("No image is lost: each is recorded either as succeeded or as failed.")
def complete(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        seen = Counter([*job.succeeded_bits, *job.failed_bits])
        yield from (f"{job.id}: image {i} has {seen[i]} outcomes." for i in range(job.total) if seen[i] != 1)
        yield from (f"{job.id} has no image {i}." for i in seen if not 0 <= i < job.total)


@_invariant("The counters equal the BITCOUNT of the bitmaps and the number of bits in them.")
def counted(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        counters, bits = (job.succeeded, job.failed), (len(job.succeeded_bits), len(job.failed_bits))
        if not counters == job.bitcounts == bits:
            yield f"{job.id} counts {counters}, BITCOUNT {job.bitcounts}, bits {bits}."


@_invariant("S3 holds exactly the files of the succeeded images.")
def stored(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        for index in sorted(job.succeeded_bits):
            if job.outputs.get(index) != FILES:
                yield f"{job.id}: image {index} succeeded and has {sorted(job.outputs.get(index, ()))}."
        for index in sorted(job.outputs.keys() - job.succeeded_bits):
            yield f"{job.id}: image {index} did not succeed and has {sorted(job.outputs[index])}."


@_invariant("Every sidecar names the SHA-256 of its own photo.")
def own_photo(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        for index in sorted(job.succeeded_bits):
            if index >= len(job.photos) or job.sources.get(index) != job.photos[index]:
                yield f"{job.id}: the sidecar of image {index} names {job.sources.get(index)}."


@_invariant("result.json has the same state and counts as Valkey.")
def result_agrees(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        counts = {"total": job.total, "succeeded": job.succeeded, "failed": job.failed}
        result = job.result or {}
        if (result.get("id"), result.get("state"), result.get("counts")) != (job.id, job.state, counts):
            yield f"{job.id}: result.json says {job.result}."


# --- exactly once -------------------------------------------------------------------


@_invariant("Every outcome was recorded once, or again after Valkey had lost it.")
def recorded_once(observations: Observations) -> Iterator[str]:
    times: defaultdict[Image, list[float]] = defaultdict(list)
    for record in observations.recorded:
        times[record.image].append(record.at)
    losses = [fault for fault in observations.faults if fault.cause in (Cause.RESTART, Cause.FLUSH)]
    for image in _images(observations.jobs):
        if not times[image] and not losses:
            yield f"{_name(image)} was never recorded."
        for first, again in pairwise(sorted(times[image])):
            if not any(_could_lose(fault, first, again) for fault in losses):
                yield f"{_name(image)} was recorded again {again - first:.2f} s later."


@_invariant("An image was stored again only if a fault explains it.")
def stored_once(observations: Observations) -> Iterator[str]:
    stores: defaultdict[Image, list[Stored]] = defaultdict(list)
    for store in observations.stored:
        stores[store.image].append(store)
    begun = _begun(observations)
    recorded = {record.image: record.at for record in reversed(observations.recorded)}
    for image, those in stores.items():
        for first, again in pairwise(sorted(those, key=lambda store: store.at)):
            began = begun(again)
            if not any(
                _explains(fault, first, again, since=begun(first), until=began, recorded=recorded.get(image))
                for fault in observations.faults
            ):
                yield (
                    f"{_name(image)} was stored by {first.pid} and {again.at - first.at:.2f} s later by "
                    f"{again.pid}, which had begun {again.at - began:.2f} s before."
                )


@_invariant("An image failed only after all its attempts ended with a kill of the process that held it.")
def failed_for_a_reason(observations: Observations) -> Iterator[str]:
    kills = [fault for fault in observations.faults if fault.cause is Cause.KILL]
    for job in observations.jobs:
        for index in sorted(job.failed_bits):
            holders = [fetch for fetch in observations.fetched if fetch.image == (job.id, index)]
            fatal = sum(
                any((f.pid is None or f.pid in kill.pids) and f.at <= kill.ended_at for f in holders)
                for kill in kills
            )
            if fatal < observations.max_attempts:
                yield f"{job.id}: image {index} failed, but only {fatal} of its holders were killed."


# --- the aftermath --------------------------------------------------------------------


@_invariant("The attack took place: every planned fault was injected.")
def all_injected(observations: Observations) -> Iterator[str]:
    if not 0 < observations.faults_planned == observations.faults_injected:
        yield f"{observations.faults_injected} of {observations.faults_planned} planned faults were injected."
    yield from observations.anomalies


@_invariant("Every process backs off from an S3 that answers 503.")
def backed_off(observations: Observations) -> Iterator[str]:
    for fault in observations.faults:
        if fault.cause is Cause.S3:
            lasted = fault.ended_at - fault.began_at
            asked = Counter(
                pid for at, pid in observations.answered_503 if fault.began_at <= at <= fault.ended_at
            )
            for pid, times in asked.items():
                if times > BURST_REQUESTS + REQUESTS_PER_SECOND * lasted:
                    yield f"Process {pid} sent {times} requests in {lasted:.1f} s."


@_invariant("Nothing is unfinished: no ticket, no lease, no held image, no waiting job.")
def nothing_in_hand(observations: Observations) -> Iterator[str]:
    for name, count in observations.leftovers.unfinished.items():
        if count:
            yield f"{name}: {count}"


@_invariant("All workers are running again.")
def workers_back(observations: Observations) -> Iterator[str]:
    leftovers = observations.leftovers
    if leftovers.slots != leftovers.slots_wanted:
        yield f"{leftovers.slots} of {leftovers.slots_wanted} slots are available."


@_invariant("Deleted jobs leave nothing, and Valkey holds no more than before.")
def nothing_left(observations: Observations) -> Iterator[str]:
    leftovers = observations.leftovers
    yield from (f"Key {key}" for key in leftovers.keys_of_jobs)
    yield from (f"Object {key}" for key in leftovers.objects_of_jobs)
    before, after = sum(leftovers.bytes_before.values()), sum(leftovers.bytes_after.values())
    if after > before + KEY_BYTES_MARGIN:
        grown = {k: n for k, n in leftovers.bytes_after.items() if n > leftovers.bytes_before.get(k, 0)}
        yield f"The keys of Valkey grew from {before} to {after} bytes: {grown}."


@_invariant("Every timed step ended within its limit.")
def in_time(observations: Observations) -> Iterator[str]:
    for name, (seconds, bound) in observations.timed.items():
        if not seconds <= bound:
            yield f"{name} took {seconds:.1f} s; the limit is {bound:g} s."


# --- reasoning --------------------------------------------------------------------------


def _images(jobs: Iterable[FinalJob]) -> Iterator[Image]:
    return ((job.id, index) for job in jobs for index in range(job.total))


def _name(image: Image) -> str:
    return f"{image[0]}: image {image[1]}"


def _could_lose(fault: InjectedFault, first: float, again: float) -> bool:
    """Return whether this fault may have lost what Valkey recorded at `first`. A flush loses everything."""
    window = FSYNC_SECONDS if fault.cause is Cause.RESTART else math.inf
    return fault.began_at - window <= first <= fault.ended_at + CLOCK_SKEW and again >= fault.began_at


def _begun(observations: Observations) -> Callable[[Stored], float]:
    """Return a function that returns when the process that stored an image had fetched it."""
    fetches: defaultdict[tuple[Image, int | None], list[float]] = defaultdict(list)
    for fetch in observations.fetched:
        fetches[fetch.image, fetch.pid].append(fetch.at)

    def begun(store: Stored) -> float:
        return max((at for at in fetches[store.image, store.pid] if at <= store.at), default=store.at)

    return begun


def _explains(
    fault: InjectedFault, first: Stored, again: Stored, *, since: float, until: float, recorded: float | None
) -> bool:
    """Return whether a fault explains that an image was stored `again`, by work that began at `until`.

    A kill explains it if it hit the first process while that held the image, before the outcome was
    recorded, and before the second process began. A loss of data explains it if the first process held the
    image before the data was restored, and if its record may not have reached the disk. A fault of S3
    explains it if it lasted while the first process held the image.
    """
    if fault.cause is Cause.KILL:
        hit = first.pid is None or first.pid in fault.pids
        unrecorded = recorded is None or recorded >= fault.began_at - CLOCK_SKEW
        return hit and unrecorded and since <= fault.ended_at and fault.began_at <= until + CLOCK_SKEW
    if fault.cause is Cause.S3:
        return since - CLOCK_SKEW <= fault.ended_at and fault.began_at <= again.at
    on_disk = first.at < fault.began_at - (FSYNC_SECONDS if fault.cause is Cause.RESTART else CLOCK_SKEW)
    return since <= fault.ended_at and not on_disk and until >= fault.began_at - CLOCK_SKEW
