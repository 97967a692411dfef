"""API keys on a whole stack: keys from the command, jobs hidden from other owners, metrics."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fathom.errors import ApiError
from fathom.sync_client import Fathom
from tests.acceptance.albums import jpeg, photo
from tests.acceptance.conftest import WITHOUT_NETWORK
from tests.acceptance.stacks import CommandResult, LaunchedStack, invoke_fathom
from tests.waiting import eventually


@pytest.fixture(scope="module")
def guarded(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedStack]:
    """A stack with a job from before the first key. The tests make keys."""
    with LaunchedStack(
        tmp_path_factory.mktemp("guarded") / "data", environ | WITHOUT_NETWORK
    ).running() as stack:
        yield stack


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index}.jpg").write_bytes(jpeg(photo()))
    return folder


def make_key(stack: LaunchedStack, *options: str) -> dict[str, str]:
    """Create a key with `fathom keys create`; return its id and text."""
    ended = invoke_fathom(
        "keys", "--data", stack.data, "create", "--name", "test", "--json", *options, environ=stack.environ
    )
    assert ended.code == 0, ended.err
    return dict(ended.json)


def submit(stack: LaunchedStack, album: Path, out: Path, **environ: str) -> CommandResult:
    return invoke_fathom(
        "submit", album, "--out", out, "--quiet", "--api", stack.api, environ={**stack.environ, **environ}
    )


def test_the_first_key_ends_anonymous_access(guarded: LaunchedStack, album: Path, tmp_path: Path):
    assert submit(guarded, album, tmp_path / "before").code == 0
    mine, other = make_key(guarded), make_key(guarded)
    # Every process of the API learns of the first key on its own.
    outs = (tmp_path / f"refused-{number}" for number in itertools.count())
    refused = eventually(lambda: submit(guarded, album, next(outs)), lambda ended: ended.code != 0)
    done = submit(guarded, album, tmp_path / "mine", FATHOM_API_KEY=mine["key"])

    assert refused.code == 1
    assert "API key" in refused.err
    assert done.code == 0, done.err
    assert len(list((tmp_path / "mine").glob("*.png"))) == 3
    with Fathom(guarded.api, api_key=mine["key"]) as one, Fathom(guarded.api, api_key=other["key"]) as two:
        (job,) = one.jobs()
        assert list(two.jobs()) == []
        with pytest.raises(ApiError) as error:
            two.job(job.id)
        assert error.value.code == "job_not_found"


def test_a_revoked_key_is_refused_soon(guarded: LaunchedStack):
    key = make_key(guarded)
    header = {"Authorization": f"Bearer {key['key']}"}
    assert httpx.get(f"{guarded.api}/v1/jobs", headers=header).status_code == 200
    ended = invoke_fathom("keys", "--data", guarded.data, "revoke", key["id"], environ=guarded.environ)
    listed = invoke_fathom("keys", "--data", guarded.data, "list", "--json", environ=guarded.environ)

    assert ended.code == 0
    assert "revoked" in ended.out
    assert [k["revoked_at"] is not None for k in listed.json["keys"] if k["id"] == key["id"]] == [True]
    assert key["key"].rpartition("_")[2] not in listed.out
    eventually(lambda: httpx.get(f"{guarded.api}/v1/jobs", headers=header).status_code == 401)


def test_a_rotated_key_keeps_its_jobs_and_not_its_secret(guarded: LaunchedStack, album: Path, tmp_path: Path):
    key = make_key(guarded)
    assert submit(guarded, album, tmp_path / "out", FATHOM_API_KEY=key["key"]).code == 0
    rotate = ("keys", "--data", guarded.data, "rotate", key["id"], "--keep", "0", "--json")
    ended = invoke_fathom(*rotate, environ=guarded.environ)

    def status(text: str) -> int:
        header = {"Authorization": f"Bearer {text}"}
        return httpx.get(f"{guarded.api}/v1/jobs", headers=header).status_code

    assert ended.code == 0, ended.err
    # Every process of the API accepts the new secret at once, and soon refuses the old one.
    assert [status(ended.json["key"]) for _ in range(20)] == [200] * 20
    eventually(lambda: {status(key["key"]) for _ in range(20)} == {401})
    with Fathom(guarded.api, api_key=ended.json["key"]) as client:
        assert [job.total for job in client.jobs()] == [3]


def test_the_metrics_count_the_work(guarded: LaunchedStack, album: Path, tmp_path: Path):
    key = make_key(guarded, "--scopes", "read,submit,admin")
    assert submit(guarded, album, tmp_path / "out", FATHOM_API_KEY=key["key"]).code == 0
    stages = {"fetch", "decode", "prepare", "infer", "upsample", "encode", "store"}

    def read_metrics() -> dict[str, float] | None:
        text = httpx.get(f"{guarded.api}/metrics", headers={"Authorization": f"Bearer {key['key']}"}).text
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        counts = {s.labels["stage"]: s.value for s in samples if s.name == "fathom_stage_seconds_count"}
        images = [s.value for s in samples if s.name == "fathom_worker_images_total"]
        done = [s.value for s in samples if s.name == "fathom_images_total"]
        return counts if stages <= set(counts) and sum(images) == sum(done) > 0 else None

    counts = eventually(read_metrics)
    assert counts["infer"] >= 3
    assert counts["store"] >= counts["infer"]
