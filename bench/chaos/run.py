"""One run: a stack is started, jobs are sent, strikes are dealt, and the evidence is gathered."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from bench.chaos import findings
from bench.chaos.attacks import Field, Strike, deal, has_ended, plan
from bench.chaos.evidence import Evidence, Image, Remains
from bench.chaos.judge import Verdict, judge
from bench.chaos.photos import Submitted, make_photo, submit
from bench.chaos.stack import Size, Stack
from bench.chaos.witness import Witness
from bench.resp import Resp

#: Seconds between looks at whether the jobs have ended.
_LOOK = 0.25
_POLL = 0.02
#: Seconds, once all jobs have ended, for tickets to be taken, those that died with their workers too,
#: and for killed workers to be forgotten.
_SETTLE = 40.0


@dataclass(frozen=True, kw_only=True)
class Orders:
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
    size: Size = field(default_factory=Size)


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a run went."""

    orders: Orders
    #: From the first job sent to the end of the last one.
    seconds: float
    evidence: Evidence
    verdicts: tuple[Verdict, ...]

    @property
    def holds(self) -> bool:
        return all(verdict.holds for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        seen, orders = self.evidence, self.orders
        return {
            "attack": orders.attack,
            "seed": orders.seed,
            "workers": orders.size.workers,
            "children_of_each": orders.size.children,
            "simulated": orders.size.simulate,
            "jobs": [job.total for job in seen.jobs],
            "seconds": round(self.seconds, 1),
            "strikes": seen.strikes_dealt,
            "processes_killed": sum(len(blow.pids) for blow in seen.blows),
            "photos_read": len(seen.fetched),
            "images_stored": len(seen.stored),
            "stored_again": len(seen.stored) - len({store.image for store in seen.stored}),
            "outcomes_recorded": len(seen.recorded),
            "failed": sum(job.failed for job in seen.jobs),
            "timed": {name: round(seconds, 1) for name, (seconds, _) in seen.timed.items()},
            "holds": self.holds,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
        }


def run(orders: Orders, folder: Path, *, say: Callable[[str], None]) -> Report:
    """Run an attack in a folder of its own. Raises ChaosFailed if the stack does not come up."""
    witness = Witness()
    stack = Stack(folder, orders.size, witness)
    with stack.running(), stack.http() as api:
        say(f"{orders.size.slots} children of {orders.size.workers} workers are ready")
        _warm_up(stack, api)
        with Resp(stack.valkey.url) as valkey:
            before = findings.bytes_of_keys(valkey)
        with witness.recording(stack.valkey.url):
            battle = Field(stack=stack, witness=witness, api=api, jobs=[])
            began = time.monotonic()
            battle.jobs += _send(api, orders)
            dealt = _fight(battle, orders, say)
            seconds = time.monotonic() - began
            say(f"{dealt} strikes in {seconds:.0f} s; looking at what is left")
            evidence = _gather(battle, orders, dealt, before)
    return Report(orders=orders, seconds=seconds, evidence=evidence, verdicts=judge(evidence))


def _warm_up(stack: Stack, api: httpx.Client) -> None:
    """Work a small job off and delete it, so that scripts are loaded and connections made."""
    job = submit(api, [make_photo(number) for number in range(4 * stack.size.slots)])
    stack.wait("the first job", lambda: has_ended(api, job), seconds=60.0)
    api.delete(f"/v1/jobs/{job.id}").raise_for_status()


def _send(api: httpx.Client, orders: Orders) -> list[Submitted]:
    """Send the jobs, the large one first; no two photos are the same."""
    sizes = [orders.images] + [orders.small_images] * orders.small_jobs
    starts = [sum(sizes[:position]) for position in range(len(sizes))]
    return [
        submit(api, [make_photo(number) for number in range(start, start + size)])
        for start, size in zip(starts, sizes, strict=True)
    ]


def _fight(battle: Field, orders: Orders, say: Callable[[str], None]) -> int:
    """Deal the strikes as they become due, until all are dealt and all jobs have ended."""
    strikes = deque(plan(orders.attack, seed=orders.seed, kills=orders.kills))
    planned, looked, over = len(strikes), 0.0, False
    deadline = time.monotonic() + orders.patience
    while (strikes or not over) and time.monotonic() < deadline:
        battle.stack.revive()
        if strikes and _is_due(strikes[0], battle, over=over) and deal(strikes[0], battle):
            say(f"{battle.witness.images_stored()} images stored: {strikes.popleft().act}")
            looked, over = 0.0, False
        if time.monotonic() > looked + _LOOK:
            looked, over = time.monotonic(), all(has_ended(battle.api, job) for job in battle.jobs)
        time.sleep(_POLL)
    return planned - len(strikes)


def _is_due(strike: Strike, battle: Field, *, over: bool) -> bool:
    if over:
        # A strike at work comes too late now; whoever judges hears that it was not dealt.
        return strike.due >= 1.0
    share = battle.witness.images_stored() / sum(job.total for job in battle.jobs)
    return share >= strike.due and strike.due < 1.0


def _gather(battle: Field, orders: Orders, dealt: int, before: dict[str, int]) -> Evidence:
    stack, witness = battle.stack, battle.witness
    with Resp(stack.valkey.url, timeout=60.0) as valkey, stack.bare_s3() as s3:
        unfinished = _settle(stack, valkey, battle.jobs)
        found = [findings.find_job(valkey, s3, job) for job in battle.jobs]
        slots = stack.slots()
        remains = _clean_up(battle, valkey, before, unfinished, slots)
    return Evidence(
        jobs=tuple(found),
        remains=remains,
        fetched=_of(battle.jobs, witness.fetched),
        stored=_of(battle.jobs, witness.stored),
        recorded=_of(battle.jobs, witness.recorded),
        blows=tuple(witness.blows),
        strikes_planned=len(plan(orders.attack, seed=orders.seed, kills=orders.kills)),
        strikes_dealt=dealt,
        timed=dict(battle.timed),
        oddities=tuple(battle.oddities),
        turned_away=tuple(witness.turned_away),
    )


class _OfImage(Protocol):
    @property
    def image(self) -> Image: ...


_Seen = TypeVar("_Seen", bound=_OfImage)


def _of(jobs: list[Submitted], seen: list[_Seen]) -> tuple[_Seen, ...]:
    """Return what was seen of these jobs: the first job only warmed the stack up."""
    ids = {job.id for job in jobs}
    return tuple(each for each in list(seen) if each.image[0] in ids)


def _settle(stack: Stack, valkey: Resp, jobs: list[Submitted]) -> dict[str, int]:
    """Wait until nothing is in hand any more, and return what is."""
    stack.wait_until_ready()
    findings.age_tickets(valkey)

    def is_quiet() -> bool:
        stack.revive()
        # Killed workers are counted for a while; then only the living are.
        return not any(findings.unfinished(valkey, jobs).values()) and stack.slots() == stack.size.slots

    findings.wait_until(is_quiet, _SETTLE)
    return findings.unfinished(valkey, jobs)


def _clean_up(
    battle: Field, valkey: Resp, before: dict[str, int], unfinished: dict[str, int], slots: int
) -> Remains:
    """Delete the jobs as a client does, and return what is left of them."""
    for job in battle.jobs:
        battle.api.delete(f"/v1/jobs/{job.id}", timeout=120.0).raise_for_status()
    with battle.stack.bare_s3() as s3:
        objects = tuple(key for job in battle.jobs for key, _ in s3.list(f"jobs/{job.id}/"))
    return Remains(
        unfinished=unfinished,
        slots=slots,
        slots_wanted=battle.stack.size.slots,
        keys_of_jobs=findings.keys_of(valkey, battle.jobs),
        objects_of_jobs=objects,
        bytes_before=before,
        bytes_after=findings.bytes_of_keys(valkey),
    )
