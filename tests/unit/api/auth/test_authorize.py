from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from api.auth import authorize, cookie
from api.auth.authenticate import gate_of
from api.auth.exposure import is_loopback, settle_exposure
from api.auth.key_cache import FOR_UNKNOWN, KeyCache
from fathom.options import Options
from shared.api_keys import ApiKey, KeyStore, make_key
from shared.errors import InvalidKey
from shared.jobs import object_keys
from shared.jobs.job import ANYONE, Job, JobState, new_job_id
from shared.jobs.record import encode_job, new_job
from tests.fakes import FakeClock
from tests.unit.api.conftest import Api, ApiFactory

#: All public routes. Adding one here is a deliberate decision.
PUBLIC = {
    "session.end",
    "health.index",
    "health.live",
    "health.ready",
    "page.asset",
    "page.document",
    "reference.document",
    "reference.page",
    "reference.styles",
}


class Keyring:
    """Keys made for an API under test."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.store = KeyStore(api.objects)

    def make(self, *scopes: str, **bounds: Any) -> tuple[ApiKey, dict[str, str]]:
        """Return a new key and the header that sends it."""
        key, text = make_key("somebody", scopes or ("read", "submit"), **bounds)
        self.store.save(key)
        gate_of(self.api.client.application).keys.forget()
        return key, {"Authorization": f"Bearer {text}"}


@pytest.fixture
def keys(api: Api) -> Keyring:
    return Keyring(api)


def add_job(api: Api, owner: str, *, state: JobState = JobState.UPLOADING) -> Job:
    job = replace(
        new_job(new_job_id(), total=3, options=Options(), state=state, created_at=time.time()), owner=owner
    )
    api.jobs.create(job)
    api.objects.put(object_keys.job_record(job.id), encode_job(job))
    return job


def check(response: TestResponse, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.get_json()["code"] == code
    assert response.mimetype == "application/problem+json"


# --- open and closed ---------------------------------------------------------


def test_without_keys_everybody_has_access(api: Api):
    assert api.get("/v1/jobs").status_code == 200
    assert api.get("/v1/session").get_json() == {
        "anonymous": True,
        "key_id": None,
        "name": None,
        "scopes": ["admin", "read", "submit"],
    }


def test_jobs_made_without_keys_belong_to_anyone(api: Api):
    assert api.jobs.get(api.submit("a.jpg")).owner == ANYONE


def test_a_key_sent_while_there_are_none_is_ignored(api: Api):
    assert api.get("/v1/jobs", headers={"Authorization": "Bearer fathom_old_key"}).status_code == 200


def test_the_first_key_is_enforced_by_running_processes(api: Api, keys: Keyring):
    gate, clock = gate_of(api.client.application), FakeClock()
    gate.keys = KeyCache(api.objects, clock=clock)
    assert api.client.get("/v1/jobs").status_code == 200
    key, text = make_key("somebody", ("read", "submit"))
    keys.store.save(key)
    clock.advance(FOR_UNKNOWN + 0.01)

    sent = api.client.post(
        "/v1/jobs", json={"uploads": [{"name": "a", "size": 1}]}, headers={"Authorization": f"Bearer {text}"}
    )

    assert sent.status_code == 202
    assert api.jobs.get(sent.get_json()["id"]).owner == key.id


def test_once_there_is_a_key_it_is_required(api: Api, keys: Keyring):
    keys.make()
    response = api.get("/v1/jobs")

    check(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="fathom"'


def test_a_revoked_key_still_prevents_anonymous_access(api: Api, keys: Keyring):
    key, header = keys.make()
    keys.store.revoke(key.id)

    check(api.get("/v1/jobs"), 401, "unauthenticated")
    check(api.get("/v1/jobs", headers=header), 401, "invalid_key")


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key", "bearer"])
def test_a_key_may_be_sent_in_two_ways(api: Api, keys: Keyring, name: str):
    text = keys.make()[1]["Authorization"].removeprefix("Bearer ")
    headers = {
        "Authorization": {"Authorization": f"Bearer {text}"},
        "X-API-Key": {"X-API-Key": text},
        "bearer": {"Authorization": f"bearer  {text}"},
    }[name]

    assert api.get("/v1/jobs", headers=headers).status_code == 200


def test_a_wrong_secret_is_refused(api: Api, keys: Keyring):
    _, header = keys.make()
    wrong = header["Authorization"][:-1] + ("a" if header["Authorization"][-1] != "a" else "b")

    check(api.get("/v1/jobs", headers={"Authorization": wrong}), 401, "invalid_key")


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", "Bearer nonsense", "Basic dTpw", "Bearer fathom_" + "a" * 12 + "_" + "a" * 32,
     "Bearer \xff", "Bearer " + "x" * 5000],
)  # fmt: skip
def test_a_malformed_key_is_refused(api: Api, keys: Keyring, value: str):
    keys.make()

    assert api.get("/v1/jobs", headers={"Authorization": value}).status_code == 401


def test_the_keys_cannot_be_read_while_the_object_store_is_away(api: Api):
    api.objects.away = True
    response = api.get("/v1/jobs")

    check(response, 503, "object_store_unavailable")
    assert "Retry-After" in response.headers


# --- scopes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "method", "status"),
    [
        (["read"], "GET", 200),
        (["read"], "HEAD", 200),
        (["submit"], "GET", 403),
        (["admin"], "GET", 403),
        (["read"], "POST", 403),
        (["admin"], "POST", 403),
        (["submit"], "POST", 415),
    ],
)
def test_a_scope_is_needed_for_each_method(
    api: Api, keys: Keyring, scopes: list[str], method: str, status: int
):
    _, header = keys.make(*scopes)
    response = api.client.open("/v1/jobs", method=method, headers=header)

    assert response.status_code == status
    if status == 403:
        check(response, 403, "missing_scope")


def test_admin_sees_and_controls_all_jobs(api: Api, keys: Keyring):
    _, header = keys.make("read", "submit", "admin")
    jobs = [add_job(api, owner) for owner in (ANYONE, "aaaaaaaaaaaa")]

    for job in jobs:
        assert api.get(f"/v1/jobs/{job.id}", headers=header).status_code == 200
        assert api.client.post(f"/v1/jobs/{job.id}/cancel", headers=header).status_code == 202
    listed = api.get("/v1/jobs", headers=header).get_json()["jobs"]
    assert {job["id"] for job in listed} == {job.id for job in jobs}


def test_admin_without_submit_changes_nothing(api: Api, keys: Keyring):
    _, header = keys.make("read", "admin")
    job = add_job(api, ANYONE)

    check(api.client.delete(f"/v1/jobs/{job.id}", headers=header), 403, "missing_scope")
    assert api.jobs.get(job.id) is not None


# --- owners ------------------------------------------------------------------


def test_a_job_belongs_to_the_key_that_made_it(api: Api, keys: Keyring):
    mine, header = keys.make()
    response = api.client.post("/v1/jobs", json={"uploads": [{"name": "a.jpg", "size": 1}]}, headers=header)

    assert response.status_code == 202
    assert api.jobs.get(response.get_json()["id"]).owner == mine.id


def test_a_list_shows_only_the_callers_own_jobs(api: Api, keys: Keyring):
    mine, header = keys.make()
    own = add_job(api, mine.id)
    add_job(api, keys.make()[0].id)
    add_job(api, ANYONE)

    assert [job["id"] for job in api.get("/v1/jobs", headers=header).get_json()["jobs"]] == [own.id]


def rules_of(app: Flask) -> list[tuple[Rule, str]]:
    """Return every route with each of its methods."""
    return [
        (rule, method)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"OPTIONS"})
    ]


def address(app: Flask, rule: Rule, job_id: str) -> str:
    """Return a path of a route, for a job."""
    values: dict[str, Any] = {
        name: 0 if type(converter).__name__ == "IntegerConverter" else "heatmap"
        for name, converter in rule._converters.items()
    }
    built = rule.build(values | ({"job_id": job_id} if "job_id" in values else {}))
    assert built is not None
    return built[1]


def test_no_route_shows_or_changes_the_job_of_another_key(api: Api, keys: Keyring):
    theirs, _ = keys.make()
    _, header = keys.make()
    app = api.client.application
    routes = [
        (rule, method)
        for rule, method in rules_of(app)
        if "job_id" in rule.arguments and rule.endpoint not in PUBLIC
    ]
    job, unknown = add_job(api, theirs.id), new_job_id()
    before = (api.jobs.get(job.id), dict(api.objects.objects))

    assert len({rule.endpoint for rule, _ in routes}) >= 11
    for rule, method in routes:
        refused = api.client.open(address(app, rule, job.id), method=method, headers=header)
        absent = api.client.open(address(app, rule, unknown), method=method, headers=header)
        assert (rule.rule, method, refused.status_code) == (rule.rule, method, 404)
        assert _without_ids(refused, job.id) == _without_ids(absent, unknown)
    assert (api.jobs.get(job.id), dict(api.objects.objects)) == before


def _without_ids(response: TestResponse, job_id: str) -> Any:
    body = response.get_json(silent=True) or {}
    return {name: str(value).replace(job_id, "") for name, value in body.items() if name != "request_id"}


def test_every_route_of_a_job_uses_the_same_parameter(api: Api):
    about_jobs = [rule for rule, _ in rules_of(api.client.application) if rule.rule.startswith("/v1/jobs/<")]

    assert about_jobs
    assert {rule.rule for rule in about_jobs if not rule.rule.startswith("/v1/jobs/<job_id>")} == set()


def test_every_route_except_the_public_ones_requires_a_key(api: Api, keys: Keyring):
    keys.make()
    app = api.client.application
    answers = {
        (rule.endpoint, method): api.client.open(address(app, rule, new_job_id()), method=method).status_code
        for rule, method in rules_of(app)
    }

    assert {endpoint for (endpoint, _), status in answers.items() if status != 401} == PUBLIC


def test_a_new_route_requires_a_key_and_the_owner_of_the_job(make_api: ApiFactory):
    api = make_api()
    reached = []

    def handler(job_id: str) -> Response:
        reached.append(authorize.job(job_id).id)
        return Response("ok")

    api.client.application.add_url_rule("/v1/jobs/<job_id>/new", "new", handler)
    keys = Keyring(api)
    mine, header = keys.make()
    theirs, _ = keys.make()

    assert api.get(f"/v1/jobs/{add_job(api, mine.id).id}/new").status_code == 401
    assert api.get(f"/v1/jobs/{add_job(api, theirs.id).id}/new", headers=header).status_code == 404
    assert reached == []
    assert api.get(f"/v1/jobs/{add_job(api, mine.id).id}/new", headers=header).text == "ok"


def test_only_the_owner_may_delete_the_remains_of_a_job(api: Api, keys: Keyring):
    mine, header = keys.make()
    _, other = keys.make()
    job = add_job(api, mine.id)
    api.objects.put(object_keys.input_image(job.id, 0), b"photo")
    api.jobs.mark_reconciled()
    api.jobs.delete(job.id)

    assert api.client.delete(f"/v1/jobs/{job.id}", headers=other).status_code == 404
    assert api.objects.exists(object_keys.input_image(job.id, 0))
    assert api.client.delete(f"/v1/jobs/{job.id}", headers=header).status_code == 204
    assert not api.objects.exists(object_keys.input_image(job.id, 0))


def test_a_job_in_recovery_is_hidden_from_other_owners(api: Api, keys: Keyring):
    mine, header = keys.make()
    _, other = keys.make()
    job = add_job(api, mine.id)
    api.jobs.delete(job.id)

    check(api.get(f"/v1/jobs/{job.id}", headers=header), 503, "job_recovering")
    check(api.get(f"/v1/jobs/{job.id}", headers=other), 404, "job_not_found")


# --- sessions ----------------------------------------------------------------


@dataclass
class Session:
    """A browser with a session; a call sends a request with its cookie and no key."""

    key: ApiKey
    browser: FlaskClient

    def __call__(self, path: str, method: str = "GET", **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.browser.open(path, method=method, headers=named)


@pytest.fixture
def session(api: Api, keys: Keyring) -> Session:
    key, header = keys.make("read", "submit")
    browser = api.client.application.test_client()
    assert browser.post("/v1/session", headers=header).status_code == 200
    return Session(key=key, browser=browser)


def cookie_of(browser: FlaskClient) -> str:
    found = browser.get_cookie(cookie.NAME, path="/v1")
    assert found is not None
    return found.value


def test_a_session_allows_reading(session: Session):
    assert session("/v1/jobs").status_code == 200
    assert session("/v1/session").get_json()["anonymous"] is False


def test_the_cookie_is_hidden_from_scripts_and_other_sites(api: Api, keys: Keyring):
    _, header = keys.make()
    cookie = api.client.post("/v1/session", headers=header).headers["Set-Cookie"]
    over_tls = api.client.post("/v1/session", headers=header, base_url="https://localhost")

    assert {"HttpOnly", "SameSite=Strict", "Path=/v1", "Max-Age=28800"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert "Secure" in over_tls.headers["Set-Cookie"].split("; ")
    assert header["Authorization"].rpartition("_")[2] not in cookie


def test_a_rotated_key_still_sees_its_jobs(api: Api, keys: Keyring):
    key, header = keys.make("read")
    job = add_job(api, key.id)
    _, text = keys.store.rotate(key.id, keep=0.0)
    gate_of(api.client.application).keys.forget()

    check(api.client.get("/v1/jobs", headers=header), 401, "invalid_key")
    listed = api.client.get("/v1/jobs", headers={"Authorization": f"Bearer {text}"}).get_json()
    assert [each["id"] for each in listed["jobs"]] == [job.id]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_session_changes_nothing(api: Api, session: Session, method: str):
    job = add_job(api, session.key.id)
    path = {"POST": "/cancel", "PUT": "/uploads/0", "DELETE": ""}[method]

    check(session(f"/v1/jobs/{job.id}{path}", method), 401, "unauthenticated")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_session_is_ignored_for_pages_of_other_sites(session: Session, site: str):
    check(session("/v1/jobs", Sec_Fetch_Site=site), 401, "unauthenticated")


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_a_session_serves_the_own_page_and_the_user(session: Session, site: str):
    assert session("/v1/jobs", Sec_Fetch_Site=site).status_code == 200


def test_a_session_cannot_begin_another_session(session: Session):
    assert session("/v1/session", "POST").status_code == 401


def test_a_session_ends_with_its_key(api: Api, session: Session):
    KeyStore(api.objects).revoke(session.key.id)
    gate_of(api.client.application).keys.forget()

    check(session("/v1/jobs"), 401, "invalid_key")


@pytest.mark.parametrize(("keep", "status"), [(3600.0, 200), (0.0, 401)])
def test_a_session_survives_the_rotation_of_its_key_as_long_as_its_secret(
    api: Api, session: Session, keep: float, status: int
):
    KeyStore(api.objects).rotate(session.key.id, keep=keep)
    gate_of(api.client.application).keys.forget()

    assert session("/v1/jobs").status_code == status


def test_a_session_can_be_ended(session: Session):
    assert session("/v1/session", "DELETE").status_code == 204
    assert session("/v1/jobs").status_code == 401


def test_a_session_expires(api: Api, keys: Keyring):
    key, _ = keys.make()
    past = cookie.sign(key, int(time.time()) - 1)
    api.client.set_cookie(cookie.NAME, past, path="/v1")

    check(api.get("/v1/jobs"), 401, "invalid_key")


@pytest.mark.parametrize(
    "forge",
    [
        lambda value, other: value[:-1] + ("0" if value[-1] != "0" else "1"),
        lambda value, other: value.replace("s1.", "s2."),
        lambda value, other: ".".join([*value.split(".")[:2], str(10**11), value.split(".")[3]]),
        lambda value, other: ".".join(["s1", other, *value.split(".")[2:]]),
        lambda value, other: "",
        lambda value, other: "s1.a.b.c",
    ],
    ids=["signature", "version", "expiry", "key", "empty", "nonsense"],
)
def test_a_forged_session_is_refused(api: Api, keys: Keyring, forge: Callable[[str, str], str]):
    _, header = keys.make()
    other, _ = keys.make()
    browser = api.client.application.test_client()
    browser.post("/v1/session", headers=header)
    forged = forge(cookie_of(browser), other.id)
    browser.set_cookie(cookie.NAME, forged, path="/v1")

    check(browser.get("/v1/jobs"), 401, "invalid_key")


def test_a_key_takes_precedence_over_a_session(api: Api, keys: Keyring, session: Session):
    other, header = keys.make("read")

    assert session("/v1/session", **header).get_json()["key_id"] == other.id


# --- revocation --------------------------------------------------------------


def test_a_long_response_is_cut_off_once_its_key_is_revoked(make_api: ApiFactory):
    api = make_api()
    keys = Keyring(api)
    key, header = keys.make()
    closed = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"one"
            keys.store.revoke(key.id)
            gate_of(api.client.application).keys.forget()
            yield b"two"
        finally:
            closed.append(True)

    api.client.application.add_url_rule("/v1/long", "long", lambda: Response(pieces()))
    with pytest.raises(InvalidKey):
        api.get("/v1/long", headers=header, buffered=False).get_data()

    assert closed == [True]


# --- where it listens ---------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("127.0.0.1", 8080), True),
        (("127.9.9.9", 8080), True),
        (("::1", 8080, 0, 0), True),
        (("localhost", 8080), True),
        (("0.0.0.0", 8080), False),
        (("::", 8080), False),
        (("", 8080), False),
        (("192.168.1.5", 8080), False),
        (("example.org", 8080), False),
        ("/run/fathom.sock", False),
    ],
)
def test_loopback_addresses_are_recognised(address: Any, expected: bool):
    assert is_loopback(address) is expected


def start_api(api: Api, *addresses: Any) -> None:
    settle_exposure(api.client.application, addresses, pause=lambda _: None)


def test_the_api_starts_on_loopback_without_keys(api: Api):
    start_api(api, ("127.0.0.1", 8080), ("::1", 8080, 0, 0))

    assert api.get("/v1/jobs").status_code == 200


@pytest.mark.parametrize("addresses", [[("0.0.0.0", 80)], [("127.0.0.1", 80), ("10.0.0.1", 80)], ["/run/s"]])
def test_the_api_does_not_start_on_a_reachable_address_without_keys(
    api: Api, caplog: pytest.LogCaptureFixture, addresses: list[Any]
):
    with pytest.raises(SystemExit) as exit:
        start_api(api, *addresses)

    assert exit.value.code == 3
    assert "fathom keys create" in caplog.text


def test_the_api_does_not_start_behind_a_proxy_without_keys(make_api: ApiFactory):
    with pytest.raises(SystemExit):
        start_api(make_api(trusted_proxies=1), ("127.0.0.1", 8080))


def test_the_api_starts_anywhere_if_anonymous_access_is_allowed(make_api: ApiFactory):
    api = make_api(allow_anonymous=True)
    start_api(api, ("0.0.0.0", 8080))

    assert api.get("/v1/jobs").status_code == 200


def test_the_api_starts_anywhere_with_a_key(api: Api, keys: Keyring):
    _, header = keys.make()
    start_api(api, ("0.0.0.0", 8080))

    assert api.get("/v1/jobs").status_code == 401
    assert api.get("/v1/jobs", headers=header).status_code == 200


def test_an_exposed_api_that_lost_its_keys_stays_closed(api: Api, keys: Keyring):
    key, _ = keys.make()
    start_api(api, ("0.0.0.0", 8080))
    api.objects.delete(object_keys.api_key(key.id))
    gate_of(api.client.application).keys.forget()

    check(api.get("/v1/jobs"), 401, "unauthenticated")


# --- names --------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "fathom", "x.localhost", "10.0.0.7"]
)
def test_without_keys_it_answers_for_host_names_that_no_other_site_can_have(api: Api, host: str):
    assert api.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example.", "localhost.evil.example:80"]
)
def test_without_keys_it_refuses_host_names_that_other_sites_can_have(api: Api, host: str):
    check(api.get("/v1/jobs", headers={"Host": host}), 400, "wrong_host")


def test_a_host_name_can_be_allowed(make_api: ApiFactory):
    api = make_api(allowed_hosts=("depth.example",))

    assert api.get("/v1/jobs", headers={"Host": "depth.example:8080"}).status_code == 200


def test_with_keys_any_host_name_is_accepted(api: Api, keys: Keyring):
    _, header = keys.make()

    assert api.get("/v1/jobs", headers={**header, "Host": "depth.example"}).status_code == 200
