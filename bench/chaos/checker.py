"""The verdicts: what must be true after an attack, each with all that contradicts it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bench.chaos.observations import Cause, Image, InjectedFault, JobFound, Observations, Stored

#: The files of an image with the default options.
FILES = frozenset({"heatmap.png", "depth.json"})
#: Seconds by which two of the harness's clocks may differ: MONITOR's and the proxy's.
SLACK = 0.1
#: Seconds of commits that Valkey may lose when it is killed: `appendfsync everysec`, and as much again
#: while the disk is busy (Redis documentation, "Persistence").
FSYNC = 2.0
#: Bytes by which Valkey's keys may be larger than before: locks, and statistics of all that happened.
ROOM = 16_384
#: Requests with which a process may learn that S3 answers 503, and those it may add each second: two
#: threads that fetch, one that stores.
ASKED_AT_ONCE, ASKED_A_SECOND = 12, 10
#: Complaints quoted in a verdict.
_QUOTED = 5


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether something held, and what contradicts it."""

    name: str
    #: What was asserted.
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


def judge(observations: Observations) -> tuple[Verdict, ...]:
    """Return every verdict on the observations."""
    return tuple(
        Verdict(name=name, claim=claim, complaints=tuple(check(observations)))
        for name, (claim, check) in _CHECKS.items()
    )


def _claim(claim: str) -> Callable[[Check], Check]:
    def enter(check: Check) -> Check:
        _CHECKS[check.__name__] = (claim, check)
        return check

    return enter


# --- the jobs -------------------------------------------------------------------


@_claim("Every job has ended, as its outcomes say.")
def ended(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        wanted = "succeeded" if not job.failed else "partial" if job.succeeded else "failed"
        if job.state != wanted:
            yield f"{job.id} is {job.state}, not {wanted}."


@_claim("No image is lost: each is recorded as succeeded or as failed, and not as both.")
def complete(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        seen = Counter([*job.succeeded_bits, *job.failed_bits])
        yield from (f"{job.id}: image {i} has {seen[i]} outcomes." for i in range(job.total) if seen[i] != 1)
        yield from (f"{job.id} has no image {i}." for i in seen if not 0 <= i < job.total)


@_claim("The counters are the BITCOUNT of the bitmaps, and that is the number of their bits.")
def counted(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        counters, bits = (job.succeeded, job.failed), (len(job.succeeded_bits), len(job.failed_bits))
        if not counters == job.bitcounts == bits:
            yield f"{job.id} counts {counters}, BITCOUNT {job.bitcounts}, bits {bits}."


@_claim("The objects in S3 are those of the succeeded images: no file is missing, none is too many.")
def stored(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        for index in sorted(job.succeeded_bits):
            if job.outputs.get(index) != FILES:
                yield f"{job.id}: image {index} succeeded and has {sorted(job.outputs.get(index, ()))}."
        for index in sorted(job.outputs.keys() - job.succeeded_bits):
            yield f"{job.id}: image {index} did not succeed and has {sorted(job.outputs[index])}."


@_claim("Every sidecar speaks of its own photo, byte for byte.")
def own_photo(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        for index in sorted(job.succeeded_bits):
            if index >= len(job.photos) or job.sources.get(index) != job.photos[index]:
                yield f"{job.id}: the sidecar of image {index} speaks of {job.sources.get(index)}."


@_claim("result.json tells the state and the counts that Valkey has.")
def told(observations: Observations) -> Iterator[str]:
    for job in observations.jobs:
        counts = {"total": job.total, "succeeded": job.succeeded, "failed": job.failed}
        result = job.result or {}
        if (result.get("id"), result.get("state"), result.get("counts")) != (job.id, job.state, counts):
            yield f"{job.id}: result.json says {job.result}."


# --- once, and once only ------------------------------------------------------------


@_claim("Every outcome was recorded once; again only after Valkey had lost what it had recorded.")
def recorded_once(observations: Observations) -> Iterator[str]:
    times: defaultdict[Image, list[float]] = defaultdict(list)
    for record in observations.recorded:
        times[record.image].append(record.at)
    losses = [fault for fault in observations.faults if fault.cause in (Cause.RESTART, Cause.FLUSH)]
    for image in _images(observations.jobs):
        if not times[image] and not losses:
            yield f"{_name(image)} was never seen to be recorded."
        for first, again in pairwise(sorted(times[image])):
            if not any(_could_lose(fault, first, again) for fault in losses):
                yield f"{_name(image)} was recorded again {again - first:.2f} s later."


@_claim("An image was stored again only where a fault explains it.")
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


@_claim("An image failed only if the process that held it was killed as often as there are attempts.")
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
                yield f"{job.id}: image {index} failed, and of its holders {fatal} were killed."


# --- the aftermath --------------------------------------------------------------------


@_claim("The attack took place: every planned fault was injected.")
def all_injected(observations: Observations) -> Iterator[str]:
    if not 0 < observations.faults_planned == observations.faults_injected:
        yield f"{observations.faults_injected} of {observations.faults_planned} planned faults were injected."
    yield from observations.oddities


@_claim("Nobody hammers an S3 that answers 503: each process waits longer and longer.")
def backed_off(observations: Observations) -> Iterator[str]:
    for fault in observations.faults:
        if fault.cause is Cause.S3:
            lasted = fault.ended_at - fault.began_at
            asked = Counter(
                pid for at, pid in observations.turned_away if fault.began_at <= at <= fault.ended_at
            )
            for pid, times in asked.items():
                if times > ASKED_AT_ONCE + ASKED_A_SECOND * lasted:
                    yield f"Process {pid} asked {times} times in {lasted:.1f} s."


@_claim("Nothing is left in hand: no ticket, no lease, no image held, no job waiting.")
def nothing_in_hand(observations: Observations) -> Iterator[str]:
    for name, count in observations.remains.unfinished.items():
        if count:
            yield f"{name}: {count}"


@_claim("All workers serve again.")
def workers_back(observations: Observations) -> Iterator[str]:
    remains = observations.remains
    if remains.slots != remains.slots_wanted:
        yield f"{remains.slots} of {remains.slots_wanted} slots are there."


@_claim("Deleted jobs leave nothing, and Valkey holds no more than before.")
def nothing_left(observations: Observations) -> Iterator[str]:
    remains = observations.remains
    yield from (f"Key {key}" for key in remains.keys_of_jobs)
    yield from (f"Object {key}" for key in remains.objects_of_jobs)
    before, after = sum(remains.bytes_before.values()), sum(remains.bytes_after.values())
    if after > before + ROOM:
        grown = {k: n for k, n in remains.bytes_after.items() if n > remains.bytes_before.get(k, 0)}
        yield f"Valkey's keys have {after} bytes, and {before} before; grown: {grown}."


@_claim("What was to happen soon did.")
def in_time(observations: Observations) -> Iterator[str]:
    for name, (seconds, bound) in observations.timed.items():
        if not seconds <= bound:
            yield f"{name} took {seconds:.1f} s; {bound:g} were allowed."


# --- reasoning --------------------------------------------------------------------------


def _images(jobs: Iterable[JobFound]) -> Iterator[Image]:
    return ((job.id, index) for job in jobs for index in range(job.total))


def _name(image: Image) -> str:
    return f"{image[0]}: image {image[1]}"


def _could_lose(fault: InjectedFault, first: float, again: float) -> bool:
    """Return whether this fault may have lost what Valkey recorded at `first`; emptying it loses all."""
    window = FSYNC if fault.cause is Cause.RESTART else math.inf
    return fault.began_at - window <= first <= fault.ended_at + SLACK and again >= fault.began_at


def _begun(observations: Observations) -> Callable[[Stored], float]:
    """Return a function that tells since when the process that stored an image held it."""
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

    A kill is if it hit the process of the first store while that held the image, which nobody had
    recorded yet, and before the second began. A loss of data is if the first held the image before
    the loss was made good, and was not done so long before it that its record must have lasted.
    A fault of S3 is if it was on while the first held the image.
    """
    if fault.cause is Cause.KILL:
        hit = first.pid is None or first.pid in fault.pids
        open_still = recorded is None or recorded >= fault.began_at - SLACK
        return hit and open_still and since <= fault.ended_at and fault.began_at <= until + SLACK
    if fault.cause is Cause.S3:
        return since - SLACK <= fault.ended_at and fault.began_at <= again.at
    lasted = first.at < fault.began_at - (FSYNC if fault.cause is Cause.RESTART else SLACK)
    return since <= fault.ended_at and not lasted and until >= fault.began_at - SLACK
