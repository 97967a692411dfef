"""One run: start a stack, submit jobs, inject faults, and collect the observations."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from bench.chaos import final_state
from bench.chaos.attacks import ChaosTarget, PlannedFault, has_ended, inject, plan
from bench.chaos.checker import Verdict, check
from bench.chaos.observations import Image, Leftovers, Observations
from bench.chaos.observer import Observer
from bench.chaos.photos import Submitted, make_photo, submit
from bench.chaos.stack import ChaosStack, StackSize
from bench.resp import Resp

#: Seconds between checks whether the jobs have ended.
_CHECK_EVERY = 0.25
_POLL = 0.02
#: Once all jobs have ended, seconds until the last tickets must be taken (those of killed workers too) and
#: killed workers must be forgotten.
_QUIET_WITHIN = 40.0


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What to run."""

    seed: int
    attack: str = "kills"
    images: int = 2000
    #: The number of small jobs beside the large one, and the images of each.
    small_jobs: int = 3
    small_images: int = 30
    kills: int = 20
    #: Seconds within which all jobs must end.
    timeout: float = 900.0
    size: StackSize = field(default_factory=StackSize)


@dataclass(frozen=True, kw_only=True)
class ChaosReport:
    """The outcome of a run."""

    experiment: Experiment
    #: From the submission of the first job to the end of the last one.
    seconds: float
    observations: Observations
    verdicts: tuple[Verdict, ...]

    @property
    def holds(self) -> bool:
        return all(verdict.holds for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        seen, experiment = self.observations, self.experiment
        return {
            "attack": experiment.attack,
            "seed": experiment.seed,
            "workers": experiment.size.workers,
            "children_of_each": experiment.size.children,
            "simulated": experiment.size.simulate,
            "jobs": [job.total for job in seen.jobs],
            "seconds": round(self.seconds, 1),
            "faults": seen.faults_injected,
            "processes_killed": sum(len(fault.pids) for fault in seen.faults),
            "photos_read": len(seen.fetched),
            "images_stored": len(seen.stored),
            "stored_again": len(seen.stored) - len({store.image for store in seen.stored}),
            "outcomes_recorded": len(seen.recorded),
            "failed": sum(job.failed for job in seen.jobs),
            "timed": {name: round(seconds, 1) for name, (seconds, _) in seen.timed.items()},
            "holds": self.holds,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
        }


def run(experiment: Experiment, folder: Path, *, log: Callable[[str], None]) -> ChaosReport:
    """Run an attack in its own folder. Raises ChaosFailed if the stack does not start."""
    observer = Observer()
    stack = ChaosStack(folder, experiment.size, observer)
    with stack.running(), stack.http() as api:
        log(f"{experiment.size.slots} children of {experiment.size.workers} workers are ready")
        _warm_up(stack, api)
        with Resp(stack.valkey.url) as valkey:
            before = final_state.key_bytes(valkey)
        with observer.monitoring(stack.valkey.url):
            target = ChaosTarget(stack=stack, observer=observer, api=api, jobs=[])
            began = time.monotonic()
            target.jobs += _send(api, experiment)
            injected = _inject_faults(target, experiment, log)
            seconds = time.monotonic() - began
            log(f"{injected} faults in {seconds:.0f} s; reading the final state")
            observations = _collect(target, experiment, injected, before)
    return ChaosReport(
        experiment=experiment, seconds=seconds, observations=observations, verdicts=check(observations)
    )


def _warm_up(stack: ChaosStack, api: httpx.Client) -> None:
    """Run a small job and delete it, so that scripts are loaded and connections are open."""
    job = submit(api, [make_photo(number) for number in range(4 * stack.size.slots)])
    stack.wait("the first job", lambda: has_ended(api, job), seconds=60.0)
    api.delete(f"/v1/jobs/{job.id}").raise_for_status()


def _send(api: httpx.Client, experiment: Experiment) -> list[Submitted]:
    """Submit the jobs, the large one first; no two photos are the same."""
    sizes = [experiment.images] + [experiment.small_images] * experiment.small_jobs
    starts = [sum(sizes[:position]) for position in range(len(sizes))]
    return [
        submit(api, [make_photo(number) for number in range(start, start + size)])
        for start, size in zip(starts, sizes, strict=True)
    ]


def _inject_faults(target: ChaosTarget, experiment: Experiment, log: Callable[[str], None]) -> int:
    """Inject the faults when they are due, until all are injected and all jobs have ended."""
    waiting = deque(plan(experiment.attack, seed=experiment.seed, kills=experiment.kills))
    planned, checked, over = len(waiting), 0.0, False
    deadline = time.monotonic() + experiment.timeout
    while (waiting or not over) and time.monotonic() < deadline:
        target.stack.restart_dead()
        if waiting and _is_due(waiting[0], target, over=over) and inject(waiting[0], target):
            log(f"{target.observer.images_stored()} images stored: {waiting.popleft().action}")
            checked, over = 0.0, False
        if time.monotonic() > checked + _CHECK_EVERY:
            checked, over = time.monotonic(), all(has_ended(target.api, job) for job in target.jobs)
        time.sleep(_POLL)
    return planned - len(waiting)


def _is_due(planned: PlannedFault, target: ChaosTarget, *, over: bool) -> bool:
    if over:
        # A fault that was due earlier is too late. The checker sees that it was not injected.
        return planned.due >= 1.0
    share = target.observer.images_stored() / sum(job.total for job in target.jobs)
    return share >= planned.due and planned.due < 1.0


def _collect(
    target: ChaosTarget, experiment: Experiment, injected: int, before: dict[str, int]
) -> Observations:
    stack, observer = target.stack, target.observer
    with Resp(stack.valkey.url, timeout=60.0) as valkey, stack.bare_s3() as s3:
        unfinished = _wait_until_quiet(stack, valkey, target.jobs)
        found = [final_state.read_job(valkey, s3, job) for job in target.jobs]
        slots = stack.slots()
        leftovers = _clean_up(target, valkey, before, unfinished, slots)
    return Observations(
        jobs=tuple(found),
        leftovers=leftovers,
        fetched=_concerning(target.jobs, observer.fetched),
        stored=_concerning(target.jobs, observer.stored),
        recorded=_concerning(target.jobs, observer.recorded),
        faults=tuple(observer.faults),
        faults_planned=len(plan(experiment.attack, seed=experiment.seed, kills=experiment.kills)),
        faults_injected=injected,
        timed=dict(target.timed),
        anomalies=tuple(target.anomalies),
        answered_503=tuple(observer.answered_503),
    )


class _OfImage(Protocol):
    @property
    def image(self) -> Image: ...


_Seen = TypeVar("_Seen", bound=_OfImage)


def _concerning(jobs: list[Submitted], seen: list[_Seen]) -> tuple[_Seen, ...]:
    """Return what was observed of these jobs, and not of the job that warmed the stack up."""
    ids = {job.id for job in jobs}
    return tuple(each for each in list(seen) if each.image[0] in ids)


def _wait_until_quiet(stack: ChaosStack, valkey: Resp, jobs: list[Submitted]) -> dict[str, int]:
    """Wait until nothing is unfinished, and return what still is."""
    stack.wait_until_ready()
    final_state.expire_tickets(valkey)

    def is_quiet() -> bool:
        stack.restart_dead()
        # Slots of killed workers count until their heartbeats expire.
        return (
            not any(final_state.count_unfinished(valkey, jobs).values()) and stack.slots() == stack.size.slots
        )

    final_state.wait_until(is_quiet, _QUIET_WITHIN)
    return final_state.count_unfinished(valkey, jobs)


def _clean_up(
    target: ChaosTarget, valkey: Resp, before: dict[str, int], unfinished: dict[str, int], slots: int
) -> Leftovers:
    """Delete the jobs as a client does, and return what is left of them."""
    for job in target.jobs:
        target.api.delete(f"/v1/jobs/{job.id}", timeout=120.0).raise_for_status()
    with target.stack.bare_s3() as s3:
        objects = tuple(key for job in target.jobs for key, _ in s3.list(f"jobs/{job.id}/"))
    return Leftovers(
        unfinished=unfinished,
        slots=slots,
        slots_wanted=target.stack.size.slots,
        keys_of_jobs=final_state.keys_of(valkey, target.jobs),
        objects_of_jobs=objects,
        bytes_before=before,
        bytes_after=final_state.key_bytes(valkey),
    )
