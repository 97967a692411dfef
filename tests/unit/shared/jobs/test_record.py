from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fathom.options import Edges, Options
from shared.jobs.cost import cost_of
from shared.jobs.job import Cost, Job, JobState, new_job_id
from shared.jobs.record import decode_job, encode_job, new_job
from tests.traces import SAMPLED


def a_job(traceparent: str | None) -> Job:
    return new_job(
        new_job_id(),
        total=3,
        options=Options(),
        state=JobState.QUEUED,
        created_at=1_700_000_000.25,
        traceparent=traceparent,
    )


@pytest.mark.parametrize("traceparent", [None, SAMPLED])
def test_a_job_record_round_trips(traceparent: str | None):
    job = a_job(traceparent)

    assert decode_job(encode_job(job)) == job


def test_a_record_of_an_earlier_version_has_no_trace():
    job = a_job(SAMPLED)
    record = json.loads(encode_job(job))
    del record["traceparent"]

    assert decode_job(json.dumps(record).encode()).traceparent is None


def test_a_record_from_before_edges_could_be_chosen_has_smooth_ones():
    record = json.loads(encode_job(a_job(None)))
    assert record["options"].pop("edges") == "snap"

    assert decode_job(json.dumps(record).encode()).options == Options(edges=Edges.SMOOTH)


def test_a_job_costs_what_its_options_do_and_its_record_keeps_that():
    options = Options.parse({"outputs": ["stereo"], "normalize": "job"})
    job = new_job(new_job_id(), total=3, options=options, state=JobState.QUEUED, created_at=1.0)
    repriced = replace(job, cost=Cost(measure=0.7, render=3.25))

    assert job.cost == cost_of(options) != Cost()
    assert decode_job(encode_job(repriced)) == repriced


def test_a_record_of_an_earlier_version_costs_one():
    job = replace(a_job(None), options=Options.parse({"outputs": ["layers"]}))
    record = json.loads(encode_job(job))
    del record["cost"]

    assert decode_job(json.dumps(record).encode()).cost == Cost(measure=1.0, render=1.0)


@pytest.mark.parametrize("given", [7, "x" * 10_000, SAMPLED.upper(), {"a": 1}])
def test_an_invalid_traceparent_does_not_break_a_record(given: object):
    record = {**json.loads(encode_job(a_job(None))), "traceparent": given}

    assert decode_job(json.dumps(record).encode()).traceparent is None
