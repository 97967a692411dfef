"""The attacks: plans of faults, made from a seed, and how each fault is injected into a stack.

A fault is due when a share of the images has been stored, not at a time: so a seed
means the same on a slow machine and on a fast one.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from bench import processes
from bench.chaos.observations import Cause
from bench.chaos.observer import Observer
from bench.chaos.photos import Submitted, make_photo, submit
from bench.chaos.stack import ChaosStack
from bench.faults import Mode
from bench.resp import Resp

#: Kills by what they hit, and how often in a hundred: one child, a worker with its children, or its
#: parent alone, whose children live on for a moment.
KILLS = {"child": 70, "worker": 20, "parent": 10}
#: What is done to the traffic to S3, in turn.
S3_FAULTS = (Mode.REFUSE, Mode.HANG, Mode.ANSWER_503, Mode.SLOW, Mode.SWALLOW_ANSWER)
#: Images of the job whose only ticket is lost, and the seconds it may take nevertheless.
POPPED_IMAGES, POPPED_WITHIN = 5, 30.0
#: Verbs of one storm of pauses.
STORM = 20
#: Seconds for a lost ticket to be popped by the stopped worker that waits for it.
_POP_SECONDS = 3.0
_POLL = 0.02
#: Seconds for a job to be in Valkey again after it was emptied.
_REBUILD_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class PlannedFault:
    """One fault of a plan: what, when, and its random choices."""

    act: str
    #: The share of images stored when it is due; at 1 it waits for all jobs to have ended.
    due: float
    #: Chooses among victims, 0 to 1.
    pick: float
    #: How long it lasts, where it lasts.
    seconds: float


@dataclass(kw_only=True)
class Target:
    """What faults are injected into."""

    stack: ChaosStack
    observer: Observer
    api: httpx.Client
    jobs: list[Submitted]
    #: By name, seconds that something took, and that it may take.
    timed: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: What did not go as the fault intended, or as it should.
    oddities: list[str] = field(default_factory=list)


def plan(attack: str, *, seed: int, kills: int) -> tuple[PlannedFault, ...]:
    """Return the faults of an attack in the order in which they are due, the same for the same seed."""
    luck = random.Random(f"{attack} {seed}")
    acts = _ACTS_OF[attack](luck, kills)
    dues = _DUES.get(attack) or sorted(luck.uniform(0.03, 0.9) for _ in acts)
    return tuple(
        PlannedFault(act=act, due=due, pick=luck.random(), seconds=luck.uniform(0.5, 2.5))
        for act, due in zip(acts, dues, strict=True)
    )


def inject(planned: PlannedFault, target: Target) -> bool:
    """Inject a fault; return False if its victim does not exist yet, so that the caller tries again."""
    act, _, what = planned.act.partition(" ")
    return _INJECTORS[act](planned, target, what)


# --- kills ------------------------------------------------------------------------


def _kill(planned: PlannedFault, target: Target, what: str) -> bool:
    """Kill a child that has worked, or the worker of such a child."""
    stack = target.stack
    busy = [pid for pid in stack.children() if target.observer.has_worked(pid)]
    if not busy:
        return False
    child = busy[int(planned.pick * len(busy))]
    try:
        group = os.getpgid(child)
    except ProcessLookupError:
        return False
    if what == "parent":
        stack.kill_parent(group)
    else:
        stack.kill(processes.members(group) if what == "worker" else frozenset({child}))
    return True


def _lose_ticket(planned: PlannedFault, target: Target, what: str) -> bool:
    """Stop all workers, let one pop the ticket of a new job, and kill them."""
    stack = target.stack
    groups = [worker.pid for worker in stack.workers if worker.is_running()]
    if len(groups) < len(stack.workers):
        return False
    for group in groups:
        os.killpg(group, signal.SIGSTOP)
    number = 1_000_000 + 100 * len(target.jobs)
    job = submit(target.api, [make_photo(number + index) for index in range(POPPED_IMAGES)])
    target.jobs.append(job)
    if not _wait(lambda: _tickets(stack) == 0, _POP_SECONDS):
        target.oddities.append("No stopped worker popped the ticket that was to be lost.")
    stack.kill(frozenset().union(*map(processes.members, groups)))
    killed = time.monotonic()
    stack.wait("the job whose ticket was lost", lambda: has_ended(target.api, job), seconds=120.0)
    target.timed[f"Job {job.id}, whose ticket was lost,"] = (time.monotonic() - killed, POPPED_WITHIN)
    return True


# --- the stores -------------------------------------------------------------------


def _restart_valkey(planned: PlannedFault, target: Target, what: str) -> bool:
    valkey, began = target.stack.valkey, time.monotonic()
    os.kill(valkey.pid, signal.SIGKILL)
    _wait(lambda: not valkey.is_running(), 10.0)
    time.sleep(planned.seconds)
    valkey.start()
    target.observer.note_fault(Cause.RESTART, began)
    return True


def _flush_valkey(planned: PlannedFault, target: Target, what: str) -> bool:
    """Empty Valkey and wait until the jobs are back, because the fault lasts until then."""
    began = time.monotonic()
    with Resp(target.stack.valkey.url) as valkey:
        valkey.call("FLUSHALL")

        def are_back() -> bool:
            target.stack.revive()
            return all(valkey.call("EXISTS", f"{{fathom}}:job:{job.id}") for job in target.jobs)

        _wait(are_back, _REBUILD_SECONDS)
    target.observer.note_fault(Cause.FLUSH, began)
    target.timed["Rebuilding the jobs from S3"] = (time.monotonic() - began, _REBUILD_SECONDS)
    return True


def _spoil_s3(planned: PlannedFault, target: Target, what: str) -> bool:
    """Spoil the workers' way to S3 for a while."""
    proxy, mode, began = target.stack.proxy, Mode(what), time.monotonic()
    proxy.set(
        mode, latency=0.2, bytes_per_second=20_000.0, methods={"PUT"} if what == "swallow_answer" else ()
    )
    until = began + planned.seconds
    _wait(lambda: time.monotonic() >= until, planned.seconds + 1.0)
    proxy.set(Mode.PASS)
    target.observer.note_fault(Cause.S3, began)
    return True


# --- clients ----------------------------------------------------------------------


def _storm(planned: PlannedFault, target: Target, what: str) -> bool:
    """Pause and resume a job from several clients at once, and resume it in the end."""
    job = target.jobs[int(planned.pick * len(target.jobs))]
    verbs = random.Random(planned.pick).choices(("pause", "resume"), k=STORM)

    def ask(verb: str) -> int:
        return target.api.post(f"/v1/jobs/{job.id}/{verb}").status_code

    with ThreadPoolExecutor(4) as clients:
        # 409 is an answer too: the job may have ended.
        strange = {code for code in clients.map(ask, verbs) if code not in (200, 202, 409)}
    _wait(lambda: ask("resume") in (200, 202, 409), 10.0)
    target.oddities += [f"In a storm of pauses the API answered {code}." for code in sorted(strange)]
    return True


# --- steps ------------------------------------------------------------------------


def has_ended(api: httpx.Client, job: Submitted) -> bool:
    """Return whether a job has ended; False while the API cannot say."""
    with suppress(httpx.HTTPError, KeyError, ValueError):
        return api.get(f"/v1/jobs/{job.id}").json()["state"] in ("succeeded", "partial", "failed", "canceled")
    return False


def _tickets(stack: ChaosStack) -> int:
    with Resp(stack.valkey.url) as valkey:
        return int(valkey.call("LLEN", "fathom"))


def _wait(check: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is so; returns whether it came to be in time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _weighted(luck: random.Random, kills: int) -> list[str]:
    whats = luck.choices(list(KILLS), list(KILLS.values()), k=kills)
    return [f"kill {what}" for what in whats]


def _mixed(luck: random.Random, kills: int) -> list[str]:
    acts = [
        *_weighted(luck, kills),
        *["restart"] * 2,
        *["storm"] * 3,
        *(f"spoil {mode}" for mode in S3_FAULTS),
    ]
    luck.shuffle(acts)
    return acts


_ACTS_OF: dict[str, Callable[[random.Random, int], list[str]]] = {
    "kills": _weighted,
    "valkey": lambda luck, kills: ["restart"] * 5,
    "flush": lambda luck, kills: ["flush"],
    "s3": lambda luck, kills: [f"spoil {mode}" for mode in S3_FAULTS * 2],
    "pauses": lambda luck, kills: ["storm"] * 10,
    "pop-window": lambda luck, kills: ["lose"] * 3,
    "mixed": _mixed,
}
#: When faults are due, where it is not random. Only an idle worker waits for a ticket.
_DUES = {"flush": [0.4], "pop-window": [1.0, 1.0, 1.0]}
ATTACKS = tuple(_ACTS_OF)

_INJECTORS: dict[str, Callable[[PlannedFault, Target, str], bool]] = {
    "kill": _kill,
    "restart": _restart_valkey,
    "flush": _flush_valkey,
    "spoil": _spoil_s3,
    "storm": _storm,
    "lose": _lose_ticket,
}
