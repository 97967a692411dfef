"""Keys of the objects of a job. A user's file name is data and never part of a key."""

from __future__ import annotations

import re

#: API keys, one object each.
KEYS = "keys/"
REVOKED_KEYS = "keys/revoked/"
#: What came under Idempotency-Keys, one object each.
IDEMPOTENCY = "idempotency/"

#: An index as `input_image` writes it.
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def api_key(key_id: str) -> str:
    """An API key: its scopes, its bounds and the hash of its secret."""
    return f"{KEYS}{key_id}.json"


def revoked_key(key_id: str) -> str:
    """There once an API key is revoked: since when that is."""
    return f"{REVOKED_KEYS}{key_id}"


def idempotency_record(entry: str) -> str:
    """The payload's fingerprint and the job's id, by the hash of owner and key."""
    return f"{IDEMPOTENCY}{entry}.json"


def job_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/"


def job_record(job_id: str) -> str:
    """Options, owner and time of creation, as accepted."""
    return f"jobs/{job_id}/job.json"


def manifest(job_id: str) -> str:
    """One JSON line an image: index, name as given, source."""
    return f"jobs/{job_id}/manifest.jsonl"


def manifest_index(job_id: str) -> str:
    """Where each line of the manifest begins."""
    return f"jobs/{job_id}/manifest.index"


def archives_prefix(job_id: str) -> str:
    """The archives of a job, which are gone once they are expanded."""
    return f"jobs/{job_id}/archives/"


def archive(job_id: str, first: int) -> str:
    """An archive, by the index of its first photo."""
    return f"jobs/{job_id}/archives/{first}.zip"


def gathering_prefix(job_id: str) -> str:
    """What is kept while a job's images are gathered, and gone when it starts."""
    return f"jobs/{job_id}/gathering/"


def gathering_cursor(job_id: str) -> str:
    """How far that came."""
    return f"jobs/{job_id}/gathering/cursor.json"


def gathered_part(job_id: str, name: str) -> str:
    """Some lines of the manifest to be."""
    return f"jobs/{job_id}/gathering/{name}.jsonl"


def sources(job_id: str) -> str:
    """One JSON line a source, as submitted, of a job whose sources are to be listed."""
    return f"jobs/{job_id}/sources.jsonl"


def skipped(job_id: str) -> str:
    """Files in archives and below prefixes that are no photos: how many, and the first names."""
    return f"jobs/{job_id}/skipped.json"


def deliveries_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/deliveries/"


def delivery(job_id: str, message_id: str) -> str:
    """What became of a webhook's message in the end."""
    return f"jobs/{job_id}/deliveries/{message_id}.json"


def inputs_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/inputs/"


def input_image(job_id: str, index: int) -> str:
    return f"jobs/{job_id}/inputs/{index}"


def unreadable_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/unreadable/"


def unreadable(job_id: str, index: int) -> str:
    """Why there is no input: the photo could not be read out of its archive, and never will be."""
    return f"jobs/{job_id}/unreadable/{index}.json"


def input_index(job_id: str, key: str) -> int | None:
    """Return which photo of a job lies under a key; None for an object that is no input of it."""
    rest = key.removeprefix(inputs_prefix(job_id))
    return int(rest) if _INDEX.fullmatch(rest) else None


def input_tags(job_id: str) -> str:
    """Tags of the uploads that a start accepted, by index."""
    return f"jobs/{job_id}/inputs.tags"


def output(job_id: str, index: int, file_name: str) -> str:
    return f"jobs/{job_id}/outputs/{index}/{file_name}"


def intent(job_id: str) -> str:
    """What a client asked of the job last, so that it holds even if Redis is lost."""
    return f"jobs/{job_id}/intent.json"


def is_input(key: str) -> bool:
    """Return whether a key is that of a photo."""
    return key.startswith("jobs/") and key.split("/")[2:3] == ["inputs"]


def is_output(key: str) -> bool:
    """Return whether a key is that of a result."""
    return key.startswith("jobs/") and key.split("/")[2:3] == ["outputs"]


def failures(job_id: str, retries: int = 0) -> str:
    """Why images failed, one JSON line each; written at the job's end, after so many retries.

    Each end has its own, so that a slow worker cannot write those of an earlier end over them.
    """
    return f"jobs/{job_id}/failures.{retries}.jsonl" if retries else f"jobs/{job_id}/failures.jsonl"


def all_failures_prefix(job_id: str) -> str:
    """What the keys of the failures of all ends begin with."""
    return f"jobs/{job_id}/failures."


def failures_prefix(job_id: str) -> str:
    """Where the reasons of failed images lie one by one until the job's end."""
    return f"jobs/{job_id}/failures/"


def failure(job_id: str, index: int) -> str:
    return f"jobs/{job_id}/failures/{index}.json"


def outputs_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/outputs/"


def result(job_id: str) -> str:
    """The job's commit point: its final state and counts."""
    return f"jobs/{job_id}/result.json"


_CONTENT_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".pfm": "application/octet-stream",
    ".npy": "application/octet-stream",
}


def content_type(file_name: str) -> str:
    return _CONTENT_TYPES[file_name[file_name.rindex(".") :]]
