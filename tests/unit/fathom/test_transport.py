from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from fathom.errors import ApiError, ConnectionLost
from fathom.sync_client import Fathom
from fathom.transport import Patience
from tests.unit.fathom.conftest import JOB_ID, FakeServer, lose, on, problem, refuse_connection, times


def test_an_error_response_is_one_exception_with_code_and_sentence(fathom: Fathom) -> None:
    with pytest.raises(ApiError, match="There is no such job") as caught:
        fathom.job("nobody")

    assert (caught.value.status, caught.value.code) == (404, "job_not_found")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<Error><Code>SlowDown</Code></Error>", "application/xml"),
        ("{broken", "application/json"),
        ('["no object"]', "application/json"),
        ("", ""),
    ],
)
def test_an_error_that_is_no_problem_document_still_has_a_code(
    fathom: Fathom, server: FakeServer, body: str, content_type: str
) -> None:
    answer = httpx.Response(418, content=body, headers={"Content-Type": content_type})
    server.faults.append(on("GET", "/v1/jobs", lambda _: answer))

    with pytest.raises(ApiError, match="answered 418") as caught:
        fathom.job(JOB_ID)

    assert caught.value.code == "http_418"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_get_is_sent_again_while_the_server_is_away(
    fathom: Fathom, server: FakeServer, status: int
) -> None:
    server.faults.append(times(2, on("GET", "/v1/jobs", lambda _: problem(status, "x", "Not now."))))

    assert fathom.job(JOB_ID).id == JOB_ID
    assert len(server.requests) == 3


def test_retry_after_in_seconds_is_honoured(fathom: Fathom, server: FakeServer, pauses: list[float]) -> None:
    busy = problem(503, "unavailable", "Not now.", **{"Retry-After": "7"})
    server.faults.append(times(1, on("GET", "/v1/jobs", lambda _: busy)))

    fathom.job(JOB_ID)

    assert pauses == [7.0]


def test_retry_after_as_a_date_is_honoured(fathom: Fathom, server: FakeServer, pauses: list[float]) -> None:
    began = datetime.now(UTC)
    date = began.replace(microsecond=0) + timedelta(seconds=8)
    busy = problem(429, "busy", "Not now.", **{"Retry-After": format_datetime(date, usegmt=True)})
    server.faults.append(times(1, on("GET", "/v1/jobs", lambda _: busy)))

    fathom.job(JOB_ID)

    least, most = ((date - now).total_seconds() for now in (datetime.now(UTC), began))
    assert least <= pauses[0] <= most


@pytest.mark.parametrize("value", ["soon", "-5", "nan", "inf", "99999999"])
def test_an_invalid_retry_after_never_exceeds_the_patience(
    fathom: Fathom, server: FakeServer, pauses: list[float], value: str
) -> None:
    busy = problem(503, "unavailable", "Not now.", **{"Retry-After": value})
    server.faults.append(times(1, on("GET", "/v1/jobs", lambda _: busy)))

    fathom.job(JOB_ID)

    assert 0.0 < pauses[0] <= 10.0


def test_the_final_error_has_the_message_of_the_server(
    fathom: Fathom, server: FakeServer, pauses: list[float]
) -> None:
    server.faults.append(on("GET", "/v1/jobs", lambda _: problem(503, "unavailable", "Redis is away.")))

    with pytest.raises(ApiError, match="Redis is away"):
        fathom.job(JOB_ID)

    assert 5.0 <= sum(pauses) <= 10.0


@pytest.mark.parametrize("fault", [lose, refuse_connection])
def test_a_get_survives_lost_connections(
    fathom: Fathom, server: FakeServer, fault: Callable[[httpx.Request], httpx.Response]
) -> None:
    server.faults.append(times(3, on("GET", "/v1/jobs", fault)))

    assert fathom.job(JOB_ID).id == JOB_ID


def test_a_post_that_may_have_arrived_is_not_sent_twice(fathom: Fathom, server: FakeServer) -> None:
    job = fathom.job(JOB_ID)
    server.faults.append(on("POST", "/cancel", lose))

    with pytest.raises(ConnectionLost, match=r"connection to http://fathom\.test was lost"):
        job.cancel()

    assert sum(request.method == "POST" for request in server.requests) == 1


def test_a_post_that_never_left_is_sent_again(fathom: Fathom, server: FakeServer) -> None:
    job = fathom.job(JOB_ID)
    server.faults.append(times(2, on("POST", "/cancel", refuse_connection)))

    assert job.cancel().id == JOB_ID


def test_a_post_refused_temporarily_is_sent_again(fathom: Fathom, server: FakeServer) -> None:
    job = fathom.job(JOB_ID)
    server.faults.append(times(2, on("POST", "/pause", lambda _: problem(503, "unavailable", "Not now."))))

    assert job.pause().id == JOB_ID


def test_a_post_that_a_proxy_may_have_forwarded_is_not_sent_twice(fathom: Fathom, server: FakeServer) -> None:
    job = fathom.job(JOB_ID)
    server.faults.append(on("POST", "/resume", lambda _: problem(502, "bad_gateway", "No answer.")))

    with pytest.raises(ApiError, match="No answer"):
        job.resume()


def test_an_unreachable_server_is_named(fathom: Fathom, server: FakeServer) -> None:
    server.faults.append(on("GET", "/v1/jobs", refuse_connection))

    with pytest.raises(ConnectionLost, match=r"Cannot reach http://fathom\.test .* `fathom up`"):
        fathom.job(JOB_ID)


def test_a_server_that_never_answered_is_given_up_soon(
    fathom: Fathom, server: FakeServer, pauses: list[float]
) -> None:
    server.faults.append(on("GET", "/v1/jobs", refuse_connection))

    with pytest.raises(ConnectionLost):
        fathom.job(JOB_ID)

    assert sum(pauses) < 4.0


def test_a_server_that_answered_before_is_waited_for(
    fathom: Fathom, server: FakeServer, pauses: list[float]
) -> None:
    job = fathom.job(JOB_ID)
    server.faults.append(on("GET", "/v1/jobs", refuse_connection))

    with pytest.raises(ConnectionLost):
        job.refresh()

    assert sum(pauses) > 5.0


def test_pauses_double_up_to_a_limit_and_stay_within_the_total() -> None:
    pauses = list(Patience(first=1.0, longest=4.0, total=20.0).pauses())

    assert len(pauses) == 7
    assert sum(pauses) <= 20.0
    assert all(0.5 * full <= pause <= full for pause, full in zip(pauses, [1, 2, 4, 4, 4, 4], strict=False))


def test_a_presigned_address_keeps_its_host_and_query() -> None:
    with Fathom("http://fathom.test") as fathom:
        url = "https://s3.example/bucket/key?X-Amz-Signature=a%2Fb"

        assert str(fathom._http.build("GET", url).url) == url
        assert str(fathom._http.build("GET", "/v1/jobs").url) == "http://fathom.test/v1/jobs"
