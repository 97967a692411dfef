"""Keys of objects. A user's file name is data, and never part of a key."""

from __future__ import annotations

import re
from hashlib import sha256

from fathom.photos.labels import label_key

#: API keys, one object each.
KEYS = "keys/"
REVOKED_KEYS = "keys/revoked/"
#: Records of Idempotency-Keys, one object each.
IDEMPOTENCY = "idempotency/"
#: Models that were added from files.
MODELS = "models/"

#: An index as `input_image` writes it.
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def api_key(key_id: str) -> str:
    """An API key: its scopes, its bounds and the hash of its secret."""
    return f"{KEYS}{key_id}.json"


def revoked_key(key_id: str) -> str:
    """Exists once an API key is revoked, and says when that was."""
    return f"{REVOKED_KEYS}{key_id}"


def idempotency_record(entry: str) -> str:
    """The payload's fingerprint and the job's id, by the hash of owner and key."""
    return f"{IDEMPOTENCY}{entry}.json"


def model(file_name: str) -> str:
    """A model, `<sha256>.onnx`, or its description, `<name>.json`."""
    return f"{MODELS}{file_name}"


def job_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/"


def job_record(job_id: str) -> str:
    """Options, owner and time of creation, as accepted."""
    return f"jobs/{job_id}/job.json"


def manifest(job_id: str) -> str:
    """One line of JSON for each image: index, name as given, source."""
    return f"jobs/{job_id}/manifest.jsonl"


def manifest_index(job_id: str) -> str:
    """Where each line of the manifest begins."""
    return f"jobs/{job_id}/manifest.index"


def archives_prefix(job_id: str) -> str:
    """The archives of a job, until they are expanded."""
    return f"jobs/{job_id}/archives/"


def archive(job_id: str, first: int) -> str:
    """An archive, by the index of its first photo."""
    return f"jobs/{job_id}/archives/{first}.zip"


def gathering_prefix(job_id: str) -> str:
    """What is kept while a job's images are gathered; deleted when the job starts."""
    return f"jobs/{job_id}/gathering/"


def gathering_cursor(job_id: str) -> str:
    """How far gathering has come."""
    return f"jobs/{job_id}/gathering/cursor.json"


def gathered_part(job_id: str, name: str) -> str:
    """Some lines of the future manifest."""
    return f"jobs/{job_id}/gathering/{name}.jsonl"


def sources(job_id: str) -> str:
    """One line of JSON for each source, as submitted, if the sources are still to be listed."""
    return f"jobs/{job_id}/sources.jsonl"


def skipped(job_id: str) -> str:
    """How many files in archives and below prefixes are no photos, and the first of their names."""
    return f"jobs/{job_id}/skipped.json"


def deliveries_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/deliveries/"


def delivery(job_id: str, message_id: str) -> str:
    """What finally became of a message to a webhook."""
    return f"jobs/{job_id}/deliveries/{message_id}.json"


def inputs_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/inputs/"


def input_image(job_id: str, index: int) -> str:
    return f"jobs/{job_id}/inputs/{index}"


def labels_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/labels/"


def labels(job_id: str, name: str) -> str:
    """The label picture of the photos of a name, whatever their suffix."""
    key = sha256(label_key(name).encode(errors="replace")).hexdigest()[:32]
    return f"{labels_prefix(job_id)}{key}.png"


def unreadable_prefix(job_id: str) -> str:
    return f"jobs/{job_id}/unreadable/"


def unreadable(job_id: str, index: int) -> str:
    """Why there is no input: the photo cannot be read out of its archive."""
    return f"jobs/{job_id}/unreadable/{index}.json"


def input_index(job_id: str, key: str) -> int | None:
    """Return the index of the photo under a key; None if the object is no input of the job."""
    rest = key.removeprefix(inputs_prefix(job_id))
    return int(rest) if _INDEX.fullmatch(rest) else None


def input_tags(job_id: str) -> str:
    """Tags of the uploads that were accepted at the job's start, by index."""
    return f"jobs/{job_id}/inputs.tags"


def output(job_id: str, index: int, file_name: str) -> str:
    return f"jobs/{job_id}/outputs/{index}/{file_name}"


def intent(job_id: str) -> str:
    """What a client last asked of the job, so that it holds even if Redis is lost."""
    return f"jobs/{job_id}/intent.json"


def is_input(key: str) -> bool:
    """Return whether a key belongs to a photo."""
    return key.startswith("jobs/") and key.split("/")[2:3] == ["inputs"]


def is_output(key: str) -> bool:
    """Return whether a key belongs to a result."""
    return key.startswith("jobs/") and key.split("/")[2:3] == ["outputs"]


def failures(job_id: str, retries: int = 0) -> str:
    """Why images failed, one line of JSON each; written at the job's end, after so many retries.

    Each end has an object of its own, so that a slow worker cannot overwrite a later end's failures.
    """
    return f"jobs/{job_id}/failures.{retries}.jsonl" if retries else f"jobs/{job_id}/failures.jsonl"


def all_failures_prefix(job_id: str) -> str:
    """The prefix of the failures of all ends."""
    return f"jobs/{job_id}/failures."


def failures_prefix(job_id: str) -> str:
    """Until the job ends, the reason of each failed image lies here."""
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
    ".exr": "image/x-exr",
    ".glb": "model/gltf-binary",
    ".ply": "application/octet-stream",
    ".psd": "image/vnd.adobe.photoshop",
    ".zip": "application/zip",
    ".mp4": "video/mp4",
    ".webp": "image/webp",
    ".gif": "image/gif",
}

#: Media types of results.
MEDIA_TYPES = tuple(dict.fromkeys(_CONTENT_TYPES.values()))


def content_type(file_name: str) -> str:
    return _CONTENT_TYPES[file_name[file_name.rindex(".") :]]
