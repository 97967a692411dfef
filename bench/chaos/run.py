"""One run: start a stack, send jobs, inject faults, and gather the observations."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from bench.chaos import final_state
from bench.chaos.attacks import PlannedFault, Target, has_ended, inject, plan
from bench.chaos.checker import Verdict, judge
from bench.chaos.observations import Image, Observations, Remains
from bench.chaos.observer import Observer
from bench.chaos.photos import Submitted, make_photo, submit
from bench.chaos.stack import ChaosStack, StackSize
from bench.resp import Resp

#: Seconds between looks at whether the jobs have ended.
_LOOK = 0.25
_POLL = 0.02
#: Seconds, once all jobs have ended, for tickets to be taken, those that died with their workers too,
#: and for killed workers to be forgotten.
_SETTLE = 40.0


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What to run."""

    seed: int
    attack: str = "kills"
    images: int = 2000
    #: Jobs beside the large one, and the images of each.
    small_jobs: int = 3
    small_images: int = 30
    kills: int = 20
    #: Seconds that the jobs may take in all.
    patience: float = 900.0
    size: StackSize = field(default_factory=StackSize)


@dataclass(frozen=True, kw_only=True)
class ChaosReport:
    """How a run went."""

    experiment: Experiment
    #: From the first job sent to the end of the last one.
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


def run(experiment: Experiment, folder: Path, *, say: Callable[[str], None]) -> ChaosReport:
    """Run an attack in a folder of its own. Raises ChaosFailed if the stack does not come up."""
    observer = Observer()
    stack = ChaosStack(folder, experiment.size, observer)
    with stack.running(), stack.http() as api:
        say(f"{experiment.size.slots} children of {experiment.size.workers} workers are ready")
        _warm_up(stack, api)
        with Resp(stack.valkey.url) as valkey:
            before = final_state.bytes_of_keys(valkey)
        with observer.watching(stack.valkey.url):
            target = Target(stack=stack, observer=observer, api=api, jobs=[])
            began = time.monotonic()
            target.jobs += _send(api, experiment)
            injected = _inject_faults(target, experiment, say)
            seconds = time.monotonic() - began
            say(f"{injected} faults in {seconds:.0f} s; looking at what is left")
            observations = _gather(target, experiment, injected, before)
    return ChaosReport(
        experiment=experiment, seconds=seconds, observations=observations, verdicts=judge(observations)
    )


def _warm_up(stack: ChaosStack, api: httpx.Client) -> None:
    """Work a small job off and delete it, so that scripts are loaded and connections made."""
    job = submit(api, [make_photo(number) for number in range(4 * stack.size.slots)])
    stack.wait("the first job", lambda: has_ended(api, job), seconds=60.0)
    api.delete(f"/v1/jobs/{job.id}").raise_for_status()


def _send(api: httpx.Client, experiment: Experiment) -> list[Submitted]:
    """Send the jobs, the large one first; no two photos are the same."""
    sizes = [experiment.images] + [experiment.small_images] * experiment.small_jobs
    starts = [sum(sizes[:position]) for position in range(len(sizes))]
    return [
        submit(api, [make_photo(number) for number in range(start, start + size)])
        for start, size in zip(starts, sizes, strict=True)
    ]


def _inject_faults(target: Target, experiment: Experiment, say: Callable[[str], None]) -> int:
    """Inject the faults as they become due, until all are injected and all jobs have ended."""
    waiting = deque(plan(experiment.attack, seed=experiment.seed, kills=experiment.kills))
    planned, looked, over = len(waiting), 0.0, False
    deadline = time.monotonic() + experiment.patience
    while (waiting or not over) and time.monotonic() < deadline:
        target.stack.revive()
        if waiting and _is_due(waiting[0], target, over=over) and inject(waiting[0], target):
            say(f"{target.observer.images_stored()} images stored: {waiting.popleft().act}")
            looked, over = 0.0, False
        if time.monotonic() > looked + _LOOK:
            looked, over = time.monotonic(), all(has_ended(target.api, job) for job in target.jobs)
        time.sleep(_POLL)
    return planned - len(waiting)


def _is_due(planned: PlannedFault, target: Target, *, over: bool) -> bool:
    if over:
        # A fault that was due earlier comes too late; the judge hears that it was not injected.
        return planned.due >= 1.0
    share = target.observer.images_stored() / sum(job.total for job in target.jobs)
    return share >= planned.due and planned.due < 1.0


def _gather(target: Target, experiment: Experiment, injected: int, before: dict[str, int]) -> Observations:
    stack, observer = target.stack, target.observer
    with Resp(stack.valkey.url, timeout=60.0) as valkey, stack.bare_s3() as s3:
        unfinished = _settle(stack, valkey, target.jobs)
        found = [final_state.find_job(valkey, s3, job) for job in target.jobs]
        slots = stack.slots()
        remains = _clean_up(target, valkey, before, unfinished, slots)
    return Observations(
        jobs=tuple(found),
        remains=remains,
        fetched=_of(target.jobs, observer.fetched),
        stored=_of(target.jobs, observer.stored),
        recorded=_of(target.jobs, observer.recorded),
        faults=tuple(observer.faults),
        faults_planned=len(plan(experiment.attack, seed=experiment.seed, kills=experiment.kills)),
        faults_injected=injected,
        timed=dict(target.timed),
        oddities=tuple(target.oddities),
        turned_away=tuple(observer.turned_away),
    )


class _OfImage(Protocol):
    @property
    def image(self) -> Image: ...


_Seen = TypeVar("_Seen", bound=_OfImage)


def _of(jobs: list[Submitted], seen: list[_Seen]) -> tuple[_Seen, ...]:
    """Return what was seen of these jobs: the first job only warmed the stack up."""
    ids = {job.id for job in jobs}
    return tuple(each for each in list(seen) if each.image[0] in ids)


def _settle(stack: ChaosStack, valkey: Resp, jobs: list[Submitted]) -> dict[str, int]:
    """Wait until nothing is in hand any more, and return what is."""
    stack.wait_until_ready()
    final_state.age_tickets(valkey)

    def is_quiet() -> bool:
        stack.revive()
        # Killed workers are counted for a while; then only the living are.
        return not any(final_state.unfinished(valkey, jobs).values()) and stack.slots() == stack.size.slots

    final_state.wait_until(is_quiet, _SETTLE)
    return final_state.unfinished(valkey, jobs)


def _clean_up(
    target: Target, valkey: Resp, before: dict[str, int], unfinished: dict[str, int], slots: int
) -> Remains:
    """Delete the jobs as a client does, and return what is left of them."""
    for job in target.jobs:
        target.api.delete(f"/v1/jobs/{job.id}", timeout=120.0).raise_for_status()
    with target.stack.bare_s3() as s3:
        objects = tuple(key for job in target.jobs for key, _ in s3.list(f"jobs/{job.id}/"))
    return Remains(
        unfinished=unfinished,
        slots=slots,
        slots_wanted=target.stack.size.slots,
        keys_of_jobs=final_state.keys_of(valkey, target.jobs),
        objects_of_jobs=objects,
        bytes_before=before,
        bytes_after=final_state.bytes_of_keys(valkey),
    )
