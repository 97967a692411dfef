"""The contract of every store of chores.

A subclass provides the fixtures `chores` (empty) and `advance`, which lets seconds pass for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from shared.chores.port import Chore, ChoreKind, Chores, ChoreState
from shared.jobs.job import new_job_id

Advance = Callable[[float], None]

EXPAND, LIST, NOTIFY, DELIVER = ChoreKind
JOB = new_job_id()


def claim(chores: Chores, *kinds: ChoreKind, seconds: float = 30.0) -> Chore:
    chore = chores.claim(kinds or (EXPAND,), seconds=seconds)
    assert chore is not None
    return chore


class ChoresContract:
    """Adding, claiming, settling."""

    def test_a_chore_round_trips(self, chores: Chores) -> None:
        payload = '{"name": "«café» 写真", "n": 1}'
        chores.add("c", DELIVER, JOB, payload=payload)

        chore = claim(chores, DELIVER)
        assert (chore.id, chore.kind, chore.job_id, chore.payload) == ("c", DELIVER, JOB, payload)
        assert (chore.state, chore.attempts, chore.claims, chore.note) == (ChoreState.OPEN, 0, 1, "")
        assert chore.token
        assert chore.due_at - chore.created_at == pytest.approx(30, abs=1)

    def test_an_empty_store_has_nothing_due(self, chores: Chores) -> None:
        assert chores.claim(tuple(ChoreKind), seconds=30) is None
        assert chores.get("c") is None
        assert chores.list(JOB) == ()

    def test_a_chore_has_one_holder_at_a_time(self, chores: Chores) -> None:
        chores.add("c", EXPAND, JOB)
        claim(chores)

        assert chores.claim((EXPAND,), seconds=30) is None

    def test_only_the_requested_kinds_are_claimed(self, chores: Chores) -> None:
        chores.add("c", EXPAND, JOB)

        assert chores.claim((LIST, NOTIFY, DELIVER), seconds=30) is None
        assert claim(chores, NOTIFY, EXPAND).id == "c"

    def test_the_chore_that_has_been_due_longest_comes_first(self, chores: Chores, advance: Advance) -> None:
        chores.add("later", EXPAND, JOB, delay=5)
        chores.add("first", NOTIFY, JOB, delay=1)
        chores.add("second", EXPAND, JOB, delay=3)
        advance(10)

        assert [claim(chores, EXPAND, NOTIFY).id for _ in range(3)] == ["first", "second", "later"]

    def test_a_chore_waits_for_its_time(self, chores: Chores, advance: Advance) -> None:
        chores.add("c", EXPAND, JOB, delay=60)
        assert chores.claim((EXPAND,), seconds=30) is None

        advance(61)
        assert claim(chores).id == "c"

    def test_a_chore_of_a_dead_holder_is_claimed_by_another(self, chores: Chores, advance: Advance) -> None:
        chores.add("c", EXPAND, JOB)
        dead = claim(chores)
        advance(31)
        heir = claim(chores)

        assert (heir.claims, heir.attempts) == (2, 0)
        assert chores.finish(dead) is False
        assert chores.postpone(dead, seconds=1, note="") is False
        assert chores.renew(dead, seconds=30) is False
        assert chores.finish(heir) is True

    def test_a_renewed_claim_lasts(self, chores: Chores, advance: Advance) -> None:
        chores.add("c", EXPAND, JOB)
        chore = claim(chores)
        advance(20)
        assert chores.renew(chore, seconds=30) is True
        advance(20)

        assert chores.claim((EXPAND,), seconds=30) is None
        assert chores.finish(chore) is True

    def test_adding_a_known_chore_adds_nothing(self, chores: Chores) -> None:
        chores.add("c", EXPAND, JOB, payload="first")
        chores.add("c", EXPAND, JOB, payload="second")

        assert [chore.payload for chore in chores.list(JOB)] == ["first"]
        claim(chores)
        assert chores.claim((EXPAND,), seconds=30) is None

    @pytest.mark.parametrize("failed", [False, True])
    def test_a_done_chore_is_kept_and_not_done_again(self, chores: Chores, failed: bool) -> None:
        chores.add("c", EXPAND, JOB)
        chores.finish(claim(chores), note="the end", failed=failed)
        chores.add("c", EXPAND, JOB)
        chores.wake("c")

        assert chores.claim((EXPAND,), seconds=30) is None
        (chore,) = chores.list(JOB)
        assert chore.state == (ChoreState.FAILED if failed else ChoreState.DONE)
        assert chore.note == "the end"

    def test_postponing_a_chore_counts_an_attempt(self, chores: Chores, advance: Advance) -> None:
        chores.add("c", EXPAND, JOB)
        for attempt in range(3):
            chore = claim(chores)
            assert (chore.attempts, chore.claims, chore.note) == (attempt, 1, "busy" if attempt else "")
            assert chores.postpone(chore, seconds=5, note="busy") is True
            assert chores.claim((EXPAND,), seconds=30) is None
            advance(6)

    def test_releasing_a_chore_counts_no_attempt(self, chores: Chores) -> None:
        chores.add("c", EXPAND, JOB)
        chores.release(claim(chores))
        chore = claim(chores)

        assert (chore.attempts, chore.claims) == (0, 1)

    def test_a_faulty_release_counts_like_a_dead_holder(self, chores: Chores) -> None:
        chores.add("c", EXPAND, JOB)
        for claims in (1, 2, 3):
            chore = claim(chores)
            assert chore.claims == claims
            chores.release(chore, faulty=True)
        chores.release(claim(chores))

        assert claim(chores).claims == 1

    def test_a_postponed_chore_is_due_when_it_is_woken(self, chores: Chores, advance: Advance) -> None:
        chores.add("c", NOTIFY, JOB, delay=math.inf)
        advance(1e6)
        assert chores.claim((NOTIFY,), seconds=30) is None
        assert chores.list(JOB)[0].due_at == math.inf

        chores.wake("c")
        assert claim(chores, NOTIFY).id == "c"

    def test_a_chore_postponed_for_ever_is_never_due(self, chores: Chores, advance: Advance) -> None:
        chores.add("c", NOTIFY, JOB)
        chores.postpone(claim(chores, NOTIFY), seconds=math.inf, note="")
        advance(1e6)

        assert chores.claim((NOTIFY,), seconds=30) is None

    @pytest.mark.parametrize("by", ["wake", "add"])
    @pytest.mark.parametrize("end", ["sleep", "finish"])
    def test_a_chore_woken_while_it_is_claimed_is_due_again(self, chores: Chores, by: str, end: str) -> None:
        chores.add("c", NOTIFY, JOB)
        chore = claim(chores, NOTIFY)
        if by == "wake":
            chores.wake("c")
        else:
            chores.add("c", NOTIFY, JOB)
        assert chores.claim((NOTIFY,), seconds=30) is None, "It is still held."
        if end == "sleep":
            chores.postpone(chore, seconds=math.inf, note="")
        else:
            chores.finish(chore)

        again = claim(chores, NOTIFY)
        chores.finish(again)
        assert chores.claim((NOTIFY,), seconds=30) is None

    def test_waking_an_unknown_chore_is_no_error(self, chores: Chores) -> None:
        chores.wake("nothing")

        assert chores.get("nothing") is None

    def test_the_chores_of_a_job_are_listed_in_order(self, chores: Chores, advance: Advance) -> None:
        other = new_job_id()
        for name, job_id in (("b", JOB), ("x", other), ("a", JOB), ("c", JOB)):
            chores.add(name, EXPAND, job_id)
            advance(0.01)
        chores.finish(claim(chores))

        assert [chore.id for chore in chores.list(JOB)] == ["b", "a", "c"]
        assert [chore.state for chore in chores.list(JOB)] == [
            ChoreState.DONE,
            ChoreState.OPEN,
            ChoreState.OPEN,
        ]
        assert [chore.id for chore in chores.list(other)] == ["x"]

    def test_deleted_chores_are_gone_and_lost_to_their_holders(self, chores: Chores) -> None:
        chores.add("held", EXPAND, JOB)
        held = claim(chores)
        chores.add("open", EXPAND, JOB)
        chores.add("other", EXPAND, new_job_id())
        chores.forget(JOB)

        assert chores.list(JOB) == ()
        assert chores.finish(held) is False
        assert claim(chores).id == "other"
        assert chores.claim((EXPAND,), seconds=30) is None
