from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from fathom.commands.connection import find_job
from fathom.commands.exit import CommandFailed
from fathom.errors import ApiError
from fathom.sync_client import Fathom
from tests.unit.fathom.job_server import FakeJob, JobServer

IDS = ("abcd" + "2" * 22, "abcd" + "3" * 22, "wxyz" + "4" * 22)


@pytest.fixture
def fathom() -> Iterator[Fathom]:
    jobs = {id: FakeJob(id=id, names=["a.jpg"], sizes=[1], options={}) for id in IDS}
    with Fathom("http://fathom.test", transport=httpx.MockTransport(JobServer(jobs=jobs))) as client:
        yield client


@pytest.mark.parametrize("text", ["wxyz", "wxyz444", IDS[2]])
def test_the_first_letters_of_an_id_are_enough(fathom: Fathom, text: str) -> None:
    assert find_job(fathom, text).id == IDS[2]


def test_an_ambiguous_prefix_names_the_matching_ids(fathom: Fathom) -> None:
    with pytest.raises(CommandFailed, match=f"2 jobs begin with abcd: .*{IDS[0]}.* Give more letters"):
        find_job(fathom, "abcd")


@pytest.mark.parametrize("text", ["wxy", "nnnn", "WXYZ", "a" * 26, "wxyz*"])
def test_a_prefix_of_no_id_is_an_unknown_job(fathom: Fathom, text: str) -> None:
    with pytest.raises(ApiError, match="no such job"):
        find_job(fathom, text)
