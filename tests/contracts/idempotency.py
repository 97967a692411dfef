"""The contract of every store of idempotency keys. A subclass provides the fixtures `keys` and `advance`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.idempotency.durable_store import DurableIdempotency
from shared.idempotency.port import Claim, Idempotency, Standing

HOLD, KEEP = 90.0, 86400.0

#: Claims and seals keys: the store itself, or its durable wrapper.
Claims = Idempotency | DurableIdempotency

#: Lets seconds pass for the store.
Advance = Callable[[float], None]


def seal(claims: Claims, token: str = "t", *, owner: str = "me") -> bool:
    return claims.seal(owner, "k", token, fingerprint="f", job_id="j")


class IdempotencyContract:
    @pytest.fixture
    def claims(self, keys: Idempotency) -> Claims:
        return keys

    def test_an_unused_key_can_be_claimed(self, claims: Claims) -> None:
        assert claims.claim("me", "k", "t") == Claim(standing=Standing.NEW)

    def test_a_claim_may_be_repeated(self, claims: Claims) -> None:
        claims.claim("me", "k", "t")

        assert claims.claim("me", "k", "t").standing is Standing.NEW

    def test_a_key_in_use_is_refused_with_the_time_left(self, claims: Claims) -> None:
        claims.claim("me", "k", "t")
        claim = claims.claim("me", "k", "other")

        assert claim.standing is Standing.RUNNING
        assert HOLD - 5 < claim.seconds_left <= HOLD

    @pytest.mark.parametrize(
        ("owner", "key"), [("you", "k"), ("me", "k2"), ("mek", ""), ("", "mek"), ("m", "ek")]
    )
    def test_other_keys_and_keys_of_other_owners_are_independent(
        self, claims: Claims, owner: str, key: str
    ) -> None:
        claims.claim("me", "k", "t")

        assert claims.claim(owner, key, "other").standing is Standing.NEW

    def test_a_finished_submission_is_known_for_a_day(
        self, claims: Claims, keys: Idempotency, advance: Advance
    ) -> None:
        claims.claim("me", "k", "t")
        assert seal(claims)
        assert keys.finish("me", "k", "t")
        advance(KEEP - 60)
        done = Claim(standing=Standing.DONE, fingerprint="f", job_id="j")

        assert claims.claim("me", "k", "other") == done
        assert claims.claim("me", "k", "t") == done
        advance(61)
        assert claims.claim("me", "k", "other").standing is Standing.NEW

    def test_a_dead_holder_loses_its_claim(self, claims: Claims, keys: Idempotency, advance: Advance) -> None:
        claims.claim("me", "k", "t")
        advance(HOLD + 1)

        assert claims.claim("me", "k", "other").standing is Standing.NEW
        assert not keys.renew("me", "k", "t")
        assert not seal(claims)
        assert claims.claim("me", "k", "third").standing is Standing.RUNNING

    def test_a_holder_that_renews_keeps_its_claim(
        self, claims: Claims, keys: Idempotency, advance: Advance
    ) -> None:
        claims.claim("me", "k", "t")
        for _ in range(3):
            advance(HOLD - 10)
            assert keys.renew("me", "k", "t")

        assert claims.claim("me", "k", "other").standing is Standing.RUNNING

    def test_the_job_of_a_holder_that_dies_after_sealing_is_known(
        self, claims: Claims, keys: Idempotency, advance: Advance
    ) -> None:
        claims.claim("me", "k", "t")
        seal(claims)
        assert claims.claim("me", "k", "other").standing is Standing.RUNNING
        advance(HOLD + 1)

        assert claims.claim("me", "k", "other") == Claim(
            standing=Standing.SEALED, fingerprint="f", job_id="j"
        )
        assert claims.claim("me", "k", "third").standing is Standing.RUNNING
        assert not keys.finish("me", "k", "t")
        assert keys.finish("me", "k", "other")

    def test_a_sealed_job_stays_known_if_the_next_holder_dies_too(
        self, claims: Claims, advance: Advance
    ) -> None:
        claims.claim("me", "k", "t")
        seal(claims)
        for token in ("other", "third"):
            advance(HOLD + 1)
            assert claims.claim("me", "k", token).job_id == "j"

    def test_the_next_holder_may_seal_again(
        self, claims: Claims, keys: Idempotency, advance: Advance
    ) -> None:
        claims.claim("me", "k", "t")
        seal(claims)
        advance(HOLD + 1)
        claims.claim("me", "k", "other")
        assert claims.seal("me", "k", "other", fingerprint="f2", job_id="j2")
        keys.finish("me", "k", "other")

        assert claims.claim("me", "k", "t") == Claim(standing=Standing.DONE, fingerprint="f2", job_id="j2")

    def test_releasing_a_failed_submission_frees_its_key(self, claims: Claims, keys: Idempotency) -> None:
        claims.claim("me", "k", "t")
        assert keys.release("me", "k", "t")

        assert claims.claim("me", "k", "other") == Claim(standing=Standing.NEW)

    def test_releasing_a_sealed_submission_frees_its_key(self, claims: Claims, keys: Idempotency) -> None:
        claims.claim("me", "k", "t")
        seal(claims)
        assert keys.release("me", "k", "t")

        assert claims.claim("me", "k", "other").standing is not Standing.RUNNING
        assert seal(claims, "other")

    def test_a_finished_submission_is_not_released(self, claims: Claims, keys: Idempotency) -> None:
        claims.claim("me", "k", "t")
        seal(claims)
        keys.finish("me", "k", "t")
        keys.release("me", "k", "t")

        assert claims.claim("me", "k", "other").standing is Standing.DONE

    def test_only_the_holder_can_change_an_entry(self, claims: Claims, keys: Idempotency) -> None:
        claims.claim("me", "k", "t")

        assert not keys.renew("me", "k", "other")
        assert not seal(claims, "other")
        assert not keys.finish("me", "k", "other")
        assert not keys.release("me", "k", "other")
        assert not seal(claims, owner="you")
        assert claims.claim("me", "k", "other").standing is Standing.RUNNING


class DurableIdempotencyContract(IdempotencyContract):
    """The additional contract of keys that are also recorded in the object store.

    A subclass also provides the fixtures `durable`, over `keys`, and `lose`, which empties `keys`.
    """

    @pytest.fixture
    def claims(self, durable: DurableIdempotency) -> Claims:
        return durable

    @pytest.mark.parametrize("finished", [False, True])
    def test_after_a_loss_of_redis_the_job_is_known(
        self, claims: Claims, keys: Idempotency, lose: Callable[[], None], finished: bool
    ) -> None:
        claims.claim("me", "k", "t")
        seal(claims)
        if finished:
            keys.finish("me", "k", "t")
        lose()
        sealed = Claim(standing=Standing.SEALED, fingerprint="f", job_id="j")

        assert claims.claim("me", "k", "other") == sealed
        assert claims.claim("me", "k", "third").standing is Standing.RUNNING
        assert keys.finish("me", "k", "other")
        assert claims.claim("me", "k", "third") == Claim(standing=Standing.DONE, fingerprint="f", job_id="j")

    def test_after_a_loss_of_redis_other_keys_are_unused(
        self, claims: Claims, lose: Callable[[], None]
    ) -> None:
        claims.claim("me", "k", "t")
        seal(claims)
        lose()

        assert claims.claim("you", "k", "t").standing is Standing.NEW
        assert claims.claim("me", "k2", "t").standing is Standing.NEW
