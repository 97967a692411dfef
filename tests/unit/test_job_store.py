from __future__ import annotations

import pytest

from shared.jobstore.port import JobStore
from tests.contracts.job_costs import JobCostsContract
from tests.contracts.job_lives import JobLivesContract
from tests.contracts.job_models import JobModelsContract
from tests.contracts.job_owners import JobOwnersContract
from tests.contracts.job_store import PATIENT, Advance, JobStoreContract
from tests.fakes import FakeClock, FakeJobStore


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> JobStore:
    return FakeJobStore(clock)


@pytest.fixture
def patient_store(clock: FakeClock) -> JobStore:
    return FakeJobStore(clock, **PATIENT)


@pytest.fixture
def advance(clock: FakeClock) -> Advance:
    return clock.advance


class TestFakeJobStore(
    JobStoreContract, JobOwnersContract, JobLivesContract, JobCostsContract, JobModelsContract
):
    """The fake fulfils the contract, so unit tests may rely on it."""
