"""The attacks: how a seed makes a plan of faults, and how each fault is injected into a stack.

A fault is due when a share of the images has been stored, not at a time, so a seed means the same on a slow
machine and on a fast one.
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

#: What a kill hits, in percent of all kills: one child, a worker with its children, or the parent of a worker
#: alone, whose children live on for a moment.
KILLS = {"child": 70, "worker": 20, "parent": 10}
#: How the traffic to S3 is disturbed, in this order.
S3_FAULTS = (Mode.REFUSE, Mode.HANG, Mode.ANSWER_503, Mode.SLOW, Mode.DROP_RESPONSE)
#: Images of the job whose only ticket is lost, and the seconds within which it must end nevertheless.
LOST_TICKET_IMAGES, LOST_TICKET_SECONDS = 5, 30.0
#: Requests in one storm of pauses and resumes.
STORM_REQUESTS = 20
#: Seconds within which a stopped worker pops the ticket that is to be lost.
_POP_SECONDS = 3.0
_POLL = 0.02
#: Seconds within which all jobs must be restored after a flush.
_REBUILD_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class PlannedFault:
    """One fault of a plan: what, when, and its random choices."""

    action: str
    #: The fault is due when this share of the images has been stored; at 1, when all jobs have ended.
    due: float
    #: A random number, 0 to 1, that chooses the victim.
    pick: float
    #: How long the fault lasts, if it lasts.
    seconds: float


@dataclass(kw_only=True)
class ChaosTarget:
    """What faults are injected into."""

    stack: ChaosStack
    observer: Observer
    api: httpx.Client
    jobs: list[Submitted]
    #: By name, the seconds that a step took, and its limit.
    timed: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: Unexpected events while faults were injected.
    anomalies: list[str] = field(default_factory=list)


def plan(attack: str, *, seed: int, kills: int) -> tuple[PlannedFault, ...]:
    """Return the faults of an attack in the order in which they are due; a seed always gives the same."""
    rng = random.Random(f"{attack} {seed}")
    actions = _ACTIONS[attack](rng, kills)
    dues = _DUES.get(attack) or sorted(rng.uniform(0.03, 0.9) for _ in actions)
    return tuple(
        PlannedFault(action=action, due=due, pick=rng.random(), seconds=rng.uniform(0.5, 2.5))
        for action, due in zip(actions, dues, strict=True)
    )


def inject(planned: PlannedFault, target: ChaosTarget) -> bool:
    """Inject a fault; return False if its victim does not exist yet, and the caller must try again."""
    name, _, victim = planned.action.partition(" ")
    return _INJECTORS[name](planned, target, victim)


# --- kills ------------------------------------------------------------------------


def _kill(planned: PlannedFault, target: ChaosTarget, what: str) -> bool:
    """Kill a child that has fetched a photo, or its worker."""
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


def _lose_ticket(planned: PlannedFault, target: ChaosTarget, what: str) -> bool:
    """Stop all workers, let one of them pop the ticket of a new job, and kill all."""
    stack = target.stack
    groups = [worker.pid for worker in stack.workers if worker.is_running()]
    if len(groups) < len(stack.workers):
        return False
    for group in groups:
        os.killpg(group, signal.SIGSTOP)
    number = 1_000_000 + 100 * len(target.jobs)
    job = submit(target.api, [make_photo(number + index) for index in range(LOST_TICKET_IMAGES)])
    target.jobs.append(job)
    if not _wait(lambda: _tickets(stack) == 0, _POP_SECONDS):
        target.anomalies.append("No stopped worker popped the ticket that was to be lost.")
    stack.kill(frozenset().union(*map(processes.members, groups)))
    killed = time.monotonic()
    stack.wait("the job whose ticket was lost", lambda: has_ended(target.api, job), seconds=120.0)
    target.timed[f"Job {job.id}, whose ticket was lost,"] = (time.monotonic() - killed, LOST_TICKET_SECONDS)
    return True


# --- the stores -------------------------------------------------------------------


def _restart_valkey(planned: PlannedFault, target: ChaosTarget, what: str) -> bool:
    valkey, began = target.stack.valkey, time.monotonic()
    os.kill(valkey.pid, signal.SIGKILL)
    _wait(lambda: not valkey.is_running(), 10.0)
    time.sleep(planned.seconds)
    valkey.start()
    target.observer.note_fault(Cause.RESTART, began)
    return True


def _flush_valkey(planned: PlannedFault, target: ChaosTarget, what: str) -> bool:
    """Empty Valkey and wait until the jobs are restored, because the fault lasts until then."""
    began = time.monotonic()
    with Resp(target.stack.valkey.url) as valkey:
        valkey.call("FLUSHALL")

        def are_restored() -> bool:
            target.stack.restart_dead()
            return all(valkey.call("EXISTS", f"{{fathom}}:job:{job.id}") for job in target.jobs)

        _wait(are_restored, _REBUILD_SECONDS)
    target.observer.note_fault(Cause.FLUSH, began)
    target.timed["Rebuilding the jobs from S3"] = (time.monotonic() - began, _REBUILD_SECONDS)
    return True


def _disturb_s3(planned: PlannedFault, target: ChaosTarget, what: str) -> bool:
    """Disturb the traffic between the workers and S3 for a while."""
    proxy, mode, began = target.stack.proxy, Mode(what), time.monotonic()
    proxy.set(
        mode, latency=0.2, bytes_per_second=20_000.0, methods={"PUT"} if what == "drop_response" else ()
    )
    until = began + planned.seconds
    _wait(lambda: time.monotonic() >= until, planned.seconds + 1.0)
    proxy.set(Mode.PASS)
    target.observer.note_fault(Cause.S3, began)
    return True


# --- clients ----------------------------------------------------------------------


def _storm(planned: PlannedFault, target: ChaosTarget, what: str) -> bool:
    """Pause and resume a job from several clients at once, and finally resume it."""
    job = target.jobs[int(planned.pick * len(target.jobs))]
    verbs = random.Random(planned.pick).choices(("pause", "resume"), k=STORM_REQUESTS)

    def ask(verb: str) -> int:
        return target.api.post(f"/v1/jobs/{job.id}/{verb}").status_code

    with ThreadPoolExecutor(4) as clients:
        # 409 is correct too: the job may have ended.
        unexpected = {code for code in clients.map(ask, verbs) if code not in (200, 202, 409)}
    _wait(lambda: ask("resume") in (200, 202, 409), 10.0)
    target.anomalies += [f"In a storm of pauses the API answered {code}." for code in sorted(unexpected)]
    return True


# --- steps ------------------------------------------------------------------------


def has_ended(api: httpx.Client, job: Submitted) -> bool:
    """Return whether a job has ended; False while the API does not answer."""
    with suppress(httpx.HTTPError, KeyError, ValueError):
        return api.get(f"/v1/jobs/{job.id}").json()["state"] in ("succeeded", "partial", "failed", "canceled")
    return False


def _tickets(stack: ChaosStack) -> int:
    with Resp(stack.valkey.url) as valkey:
        return int(valkey.call("LLEN", "fathom"))


def _wait(check: Callable[[], bool], seconds: float) -> bool:
    """Wait until `check` returns True; return False if it does not in time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _draw_kills(rng: random.Random, kills: int) -> list[str]:
    victims = rng.choices(list(KILLS), list(KILLS.values()), k=kills)
    return [f"kill {victim}" for victim in victims]


def _draw_mixed(rng: random.Random, kills: int) -> list[str]:
    actions = [
        *_draw_kills(rng, kills),
        *["restart"] * 2,
        *["storm"] * 3,
        *(f"s3 {mode}" for mode in S3_FAULTS),
    ]
    rng.shuffle(actions)
    return actions


_ACTIONS: dict[str, Callable[[random.Random, int], list[str]]] = {
    "kills": _draw_kills,
    "valkey": lambda rng, kills: ["restart"] * 5,
    "flush": lambda rng, kills: ["flush"],
    "s3": lambda rng, kills: [f"s3 {mode}" for mode in S3_FAULTS * 2],
    "pauses": lambda rng, kills: ["storm"] * 10,
    "pop-window": lambda rng, kills: ["lose"] * 3,
    "mixed": _draw_mixed,
}
#: When faults are due, if not at random. Only an idle worker waits for a ticket.
_DUES = {"flush": [0.4], "pop-window": [1.0, 1.0, 1.0]}
ATTACKS = tuple(_ACTIONS)

_INJECTORS: dict[str, Callable[[PlannedFault, ChaosTarget, str], bool]] = {
    "kill": _kill,
    "restart": _restart_valkey,
    "flush": _flush_valkey,
    "s3": _disturb_s3,
    "storm": _storm,
    "lose": _lose_ticket,
}
