"""What `fathom doctor` checks in Redis: the server itself, and the workers registered there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fathom.doctor.findings import Finding, error, judge_clock, ok, warning
from shared.errors import FathomError, JobStoreDenied
from shared.jobs.job import ServedModel
from shared.jobstore.redis_store import RedisJobStore
from shared.net.redis_address import is_sentinel, without_login
from shared.redis.client import connect_redis
from shared.redis.info import RedisFacts, SentinelFacts, look_at_redis, look_at_sentinels
from shared.settings import Settings

#: The oldest Redis with all the commands that Fathom needs.
OLDEST = (6, 2)
#: Seconds of a round trip above which leases take noticeably long.
FAR = 0.02
#: The share of its memory above which new jobs will soon be refused.
FULL = 0.8


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Check the job store, the workers that are registered there, and another broker if there is one."""
    where = without_login(settings.redis_url)
    try:
        if is_sentinel(settings.redis_url):
            yield judge_sentinels(look_at_sentinels(settings.redis_url), where)
        facts = look_at_redis(settings.redis_url)
    except FathomError as exc:
        yield _unreachable("redis", where, exc, "FATHOM_REDIS_URL")
        return
    yield from judge_redis(facts, where)
    if not facts.in_cluster:
        yield from check_workers(settings)
    if settings.broker_at != settings.redis_url:
        yield from check_broker(settings.broker_at)


def check_broker(url: str) -> Iterator[Finding]:
    """Check a Redis that holds Celery's messages alone; it may lose them."""
    where = without_login(url)
    try:
        facts = look_at_redis(url)
    except FathomError as exc:
        yield _unreachable("broker", where, exc, "FATHOM_BROKER_URL")
        return
    if facts.in_cluster:
        yield error(
            "broker",
            f"{where} is a node of a Redis Cluster, which Celery does not support.",
            "Give FATHOM_BROKER_URL a single server or sentinels.",
        )
    else:
        yield ok("broker", f"{where} answers; it holds Celery's messages.")


def judge_sentinels(facts: SentinelFacts, where: str) -> Finding:
    """Judge by how many sentinels know the master."""
    text = f"The sentinels of {where} name {facts.master} as the master"
    if not facts.silent:
        return ok("redis", f"{text}; all {facts.asked} answer.")
    return warning(
        "redis",
        f"{text}; {', '.join(facts.silent)} did not answer, or does not know it.",
        "Start them, or correct FATHOM_REDIS_URL: a failover needs a majority of the sentinels.",
    )


def _unreachable(part: str, where: str, exc: FathomError, variable: str) -> Finding:
    if isinstance(exc, JobStoreDenied):
        return error(part, f"{where}: {exc.message}", f"Put user and password into {variable}.")
    return error(part, f"{where}: {exc.message}", f"Start it, or correct {variable}.")


def judge_redis(facts: RedisFacts, where: str) -> Iterator[Finding]:
    """Judge a server by what it says about itself."""
    version = ".".join(map(str, facts.version))
    if facts.version < OLDEST:
        yield error("redis", f"{where} is Redis {version}.", "Fathom needs Redis 6.2 or any Valkey.")
    else:
        yield ok("redis", f"{where} answers ({facts.kind}, compatible with Redis {version}).")
    if facts.in_cluster:
        yield error(
            "redis",
            "It is a node of a Redis Cluster, which neither Celery nor Fathom supports.",
            "Give FATHOM_REDIS_URL a single server, or the sentinels of several.",
        )
    if facts.appends:
        yield ok("redis", "Changes are written to disk (AOF).")
    else:
        yield error(
            "redis",
            "Changes are not written to disk: a restart loses all jobs until they are recovered from S3.",
            "Set `appendonly yes`.",
        )
    yield _judge_memory(facts)
    yield _judge_latency(facts)
    yield judge_clock("redis", "Redis", facts.ahead)


def _judge_memory(facts: RedisFacts) -> Finding:
    used = f"{facts.used_bytes / 2**20:.0f} MB"
    if facts.policy != "noeviction":
        return error(
            "redis",
            f"When its memory is full it evicts data ({facts.policy}): jobs would vanish.",
            "Set `maxmemory-policy noeviction`.",
        )
    if facts.most_bytes is None:
        return ok("redis", f"It uses {used} and is not bounded (maxmemory 0); nothing is evicted.")
    share = facts.used_bytes / facts.most_bytes
    text = f"It uses {used} of {facts.most_bytes / 2**20:.0f} MB; nothing is evicted."
    if share > FULL:
        return warning(
            "redis", text, "Raise `maxmemory` or delete ended jobs; new jobs will soon be refused."
        )
    return ok("redis", text)


def _judge_latency(facts: RedisFacts) -> Finding:
    text = f"A round trip takes {facts.latency * 1000:.1f} ms."
    if facts.latency > FAR:
        return warning("redis", text, "Run Redis near the workers: every image takes three round trips.")
    return ok("redis", text)


def check_workers(settings: Settings) -> Iterator[Finding]:
    """Say how many workers are alive, and which networks they serve."""
    with connect_redis(settings.redis_url) as client:
        store = RedisJobStore(client)
        try:
            slots, served = store.slots(), store.served_models()
        except FathomError as exc:
            yield error("workers", exc.message, "See above.")
            return
    if slots == 0:
        yield warning(
            "workers", "No worker is running: jobs are accepted and wait.", "Start one: see the README."
        )
        return
    yield ok("workers", f"Workers are running: {slots} images at once.")
    yield judge_served(served, settings.model)


def judge_served(served: Mapping[str, ServedModel], default: str) -> Finding:
    """Judge by the networks that living workers serve. Jobs that name none get the default."""
    named = [f"{name} ({model.slots} images at once)" for name, model in served.items()]
    text = f"They serve {', '.join(named) or 'no model'}."
    if default in served:
        return ok("workers", text)
    return warning(
        "workers",
        f"{text} None serves FATHOM_MODEL, {default}: jobs that name no model are refused.",
        "Start a worker that serves it (FATHOM_MODELS), or give the API another FATHOM_MODEL.",
    )
