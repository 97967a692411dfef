"""Read the final state of a stack: Valkey over RESP2, S3 over plain HTTP."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from bench.bare_s3 import BareS3
from bench.chaos.observations import FinalJob
from bench.chaos.photos import Submitted
from bench.resp import Resp

ROOT = "{fathom}"
#: Commands in one pipeline.
_BATCH = 1000
_UNACKED, _UNACKED_INDEX, _UNACKED_MUTEX = "unacked", "unacked_index", "unacked_mutex"


def read_job(valkey: Resp, s3: BareS3, job: Submitted) -> FinalJob:
    """Return everything that Valkey and S3 hold of a job."""
    key = f"{ROOT}:job:{job.id}"
    fields = _pairs(valkey.call("HGETALL", key))
    outputs = _outputs(s3, job.id)
    result = s3.get(f"jobs/{job.id}/result.json")
    return FinalJob(
        id=job.id,
        total=job.total,
        state=fields.get("state", "unknown"),
        succeeded=int(fields.get("ok", -1)),
        failed=int(fields.get("bad", -1)),
        bitcounts=(valkey.call("BITCOUNT", f"{key}:ok"), valkey.call("BITCOUNT", f"{key}:bad")),
        succeeded_bits=_bits(valkey, f"{key}:ok", job.total),
        failed_bits=_bits(valkey, f"{key}:bad", job.total),
        outputs=outputs,
        sources={index: _source(s3, job.id, index) for index in outputs},
        photos=job.photos,
        result=json.loads(result) if result is not None else None,
    )


def count_unfinished(valkey: Resp, jobs: Sequence[Submitted]) -> dict[str, int]:
    """Return, by name, the size of everything that must be empty when all jobs have ended."""
    sizes = {
        "tickets": valkey.call("LLEN", "fathom"),
        "unacknowledged tickets": valkey.call("HLEN", _UNACKED),
        "lease keys": len(_keys(valkey, f"{ROOT}:lease:*")),
    }
    for name in ("expiry", "waiting", "finalize", "unwritten"):
        sizes[name] = _size(valkey, f"{ROOT}:{name}")
    for pattern in ("turns:*", "owner:*:batch", "owner:*:urgent"):
        sizes[pattern] = sum(_size(valkey, key) for key in _keys(valkey, f"{ROOT}:{pattern}"))
    sizes["unfinished images counted"] = int(valkey.call("HGET", f"{ROOT}:totals", "images") or 0)
    for name in ("held", "retries", "attempts"):
        sizes[f"images {name}"] = sum(_size(valkey, f"{ROOT}:job:{job.id}:{name}") for job in jobs)
    return sizes


def expire_tickets(valkey: Resp) -> int:
    """Expire the tickets that killed workers held, so that Celery delivers them again at once.

    Kombu would wait ten minutes. Its lock is deleted too, because a killed worker may hold it (for 300 s).
    """
    valkey.call("DEL", _UNACKED_MUTEX)
    tags = valkey.call("ZRANGE", _UNACKED_INDEX, 0, -1)
    for tag in tags:
        valkey.call("ZADD", _UNACKED_INDEX, "XX", 0, tag)
    return len(tags)


def keys_of(valkey: Resp, jobs: Sequence[Submitted]) -> tuple[str, ...]:
    """Return all keys whose names contain the id of a job."""
    return tuple(sorted(key for job in jobs for key in _keys(valkey, f"*{job.id}*")))


def key_bytes(valkey: Resp, pattern: str = "*") -> dict[str, int]:
    """Return the bytes of each key as Valkey reports them (MEMORY USAGE)."""
    keys = sorted(_keys(valkey, pattern))
    sizes = valkey.pipeline(("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys)
    return {key: size or 0 for key, size in zip(keys, sizes, strict=True)}


def wait_until(check: Callable[[], bool], seconds: float) -> bool:
    """Wait until `check` returns True; return False if it does not in time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _bits(valkey: Resp, key: str, total: int) -> frozenset[int]:
    """Read the bits one by one, and some beyond the end, where none may be set."""
    found: set[int] = set()
    for start in range(0, total + 64, _BATCH):
        indices = range(start, min(start + _BATCH, total + 64))
        answers = valkey.pipeline(("GETBIT", key, index) for index in indices)
        found.update(index for index, bit in zip(indices, answers, strict=True) if bit)
    return frozenset(found)


def _outputs(s3: BareS3, job_id: str) -> dict[int, frozenset[str]]:
    prefix = f"jobs/{job_id}/outputs/"
    files: defaultdict[int, set[str]] = defaultdict(set)
    for key, size in s3.list(prefix):
        index, _, name = key.removeprefix(prefix).partition("/")
        files[int(index)].add(name if size else f"{name} (empty)")
    return {index: frozenset(names) for index, names in files.items()}


def _source(s3: BareS3, job_id: str, index: int) -> str:
    sidecar = s3.get(f"jobs/{job_id}/outputs/{index}/depth.json")
    return str(json.loads(sidecar)["source"]["sha256"]) if sidecar else "nothing"


def _keys(valkey: Resp, pattern: str) -> set[str]:
    found: set[str] = set()
    cursor: Any = b"0"
    while True:
        cursor, keys = valkey.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        found.update(key.decode() for key in keys)
        if cursor == b"0":
            return found


def _size(valkey: Resp, key: str) -> int:
    """Return the number of members of a collection; 0 if the key does not exist."""
    command = {b"zset": "ZCARD", b"hash": "HLEN", b"set": "SCARD", b"list": "LLEN"}
    kind = valkey.call("TYPE", key)
    return int(valkey.call(command[kind], key)) if kind != b"none" else 0


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
