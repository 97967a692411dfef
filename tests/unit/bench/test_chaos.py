"""The plans of `bench.chaos`, and what its observer notes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from bench.chaos.attacks import ATTACKS, KILLS, plan
from bench.chaos.observer import Observer
from bench.chaos.photos import make_photo
from bench.http_exchange import Exchange

JOB = "abcdefghijklmnopqrstuvwxyz"


def exchange(**changes: Any) -> Exchange:
    fields: dict[str, Any] = {
        "method": "PUT",
        "path": f"/fathom/jobs/{JOB}/outputs/7/depth.json?x-id=PutObject",
        "client": 42,
        "began_at": 1.0,
        "ended_at": 2.0,
        "status": 200,
        "answered": True,
    }
    return Exchange(**fields | changes)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_same_seed_gives_the_same_plan_and_another_seed_gives_another(attack: str) -> None:
    assert plan(attack, seed=5, kills=20) == plan(attack, seed=5, kills=20)
    assert plan(attack, seed=5, kills=20) != plan(attack, seed=6, kills=20)


@pytest.mark.parametrize("attack", ATTACKS)
def test_faults_are_due_in_order_and_before_the_last_images(attack: str) -> None:
    dues = [planned.due for planned in plan(attack, seed=1, kills=50)]

    assert dues == sorted(dues)
    assert all(0 < due <= 0.9 or due == 1.0 for due in dues)


def test_a_plan_has_the_requested_number_of_kills_with_their_weights() -> None:
    actions = Counter(planned.action for planned in plan("kills", seed=1, kills=2000))

    assert actions.total() == 2000
    for what, share in KILLS.items():
        assert actions[f"kill {what}"] / 2000 == pytest.approx(share / 100, abs=0.03)


def test_valkey_is_restarted_five_times() -> None:
    assert [planned.action for planned in plan("valkey", seed=1, kills=0)] == ["restart"] * 5


def test_the_observer_notes_a_stored_sidecar_with_its_process() -> None:
    observer = Observer()
    observer.note_request(exchange())

    (stored,) = observer.stored
    assert (stored.image, stored.pid, stored.at) == ((JOB, 7), 42, 2.0)
    assert observer.images_stored() == 1


def test_the_observer_notes_a_fetched_photo_with_its_process() -> None:
    observer = Observer()
    observer.note_request(exchange(method="GET", path=f"/fathom/jobs/{JOB}/inputs/7", status=206))

    (fetched,) = observer.fetched
    assert (fetched.image, fetched.pid, fetched.at) == ((JOB, 7), 42, 1.0)
    assert observer.has_worked(42)
    assert not observer.has_worked(43)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": None, "answered": False},
        {"status": 500},
        {"method": "GET"},
        {"path": f"/fathom/jobs/{JOB}/outputs/7/heatmap.png"},
        {"path": f"/fathom/jobs/{JOB}/outputs/7/depth.json.bak"},
        {"path": f"/fathom/jobs/{JOB}/result.json"},
    ],
)
def test_other_requests_do_not_count_as_stored(changes: dict[str, Any]) -> None:
    observer = Observer()
    observer.note_request(exchange(**changes))

    assert (observer.stored, observer.fetched) == ([], [])


def test_the_observer_notes_requests_answered_503() -> None:
    observer = Observer()
    observer.note_request(exchange(status=None, answered=True))

    assert observer.answered_503 == [(1.0, 42)]
    assert observer.stored == []


def test_every_number_gives_another_photo_and_always_the_same() -> None:
    photos = [make_photo(number) for number in range(50)]

    assert len(set(photos)) == 50
    assert photos == [make_photo(number) for number in range(50)]
    assert all(len(photo) < 3000 for photo in photos)
