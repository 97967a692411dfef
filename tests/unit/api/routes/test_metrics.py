from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.services.backend import backend_of
from shared.metrics.model import Family
from shared.networks import NETWORKS
from tests.unit.api.auth.test_authorize import Keyring
from tests.unit.api.conftest import Api, ApiFactory

ROOT = Path(__file__).parents[4]
DASHBOARD = ROOT / "deploy" / "grafana" / "fathom.json"


def samples(api: Api, **headers: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return the value of every sample, by its name and its labels."""
    backend_of(api.client.application).metrics_buffer.flush()
    response = api.get("/metrics", headers=headers)
    assert response.status_code == 200, response.text
    assert response.content_type.startswith("text/plain; version=")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(api: Api, name: str, **labels: str) -> float:
    return samples(api)[name][tuple(sorted(labels.items()))]


def busy_api(api: Api) -> Api:
    """An API with jobs, workers and requests of several kinds."""
    api.client.post("/v1/jobs", json={"uploads": [{"name": "a.jpg", "size": 1}]})
    api.jobs.register_worker("host:1", 3)
    metrics_buffer = backend_of(api.client.application).metrics_buffer
    metrics_buffer.observe(Family.STAGE, "infer", seconds=0.03)
    metrics_buffer.count_image("host:1")
    return api


def test_jobs_and_images_are_counted(api: Api):
    api.client.post(
        "/v1/jobs", json={"uploads": [{"name": "a.jpg", "size": 1}, {"name": "b.jpg", "size": 1}]}
    )

    assert value(api, "fathom_jobs", state="uploading") == 1
    assert value(api, "fathom_jobs", state="failed") == 0
    assert value(api, "fathom_unfinished_images") == 2


def test_what_is_left_to_do_is_shown_by_network(api: Api):
    api.jobs.register_worker("host:1", 3)
    assert api.post_files([("a.jpg", b"x"), ("b.jpg", b"x")]).status_code == 202

    assert value(api, "fathom_runnable_images", model="midas_small") == 2
    assert value(api, "fathom_runnable_work", model="midas_small") == 2
    assert value(api, "fathom_runnable_work", model="dpt_large") == 0


def test_tickets_are_the_depth_of_the_queue(api: Api):
    api.tickets.publish(7)

    assert value(api, "fathom_tickets") == 7


def test_living_workers_are_counted(api: Api):
    api.jobs.register_worker("host:1", 3)
    api.jobs.register_worker("host:2", 4)
    backend_of(api.client.application).metrics_buffer.count_image("host:2")
    found = samples(api)

    assert found["fathom_workers"][()] == 2
    assert found["fathom_worker_slots"] == {(("worker", "host:1"),): 3, (("worker", "host:2"),): 4}
    assert found["fathom_worker_images_total"] == {(("worker", "host:1"),): 0, (("worker", "host:2"),): 1}


def test_a_stage_is_a_histogram(api: Api):
    for seconds in (0.004, 0.03, 0.03, 1000.0):
        backend_of(api.client.application).metrics_buffer.observe(Family.STAGE, "infer", seconds=seconds)
    buckets = {
        dict(labels)["le"]: count for labels, count in samples(api)["fathom_stage_seconds_bucket"].items()
    }

    assert (buckets["0.005"], buckets["0.025"], buckets["0.05"], buckets["60.0"], buckets["+Inf"]) == (
        1,
        1,
        3,
        3,
        4,
    )
    assert value(api, "fathom_stage_seconds_count", stage="infer") == 4
    assert value(api, "fathom_stage_seconds_sum", stage="infer") == pytest.approx(1000.064)


def test_requests_are_counted_by_route_and_not_by_address(api: Api):
    for job_id in ("a" * 26, "b" * 26, "<script>"):
        api.get(f"/v1/jobs/{job_id}")
    api.get("/nowhere")

    counts = samples(api)["fathom_http_request_seconds_count"]
    assert counts[("method", "GET"), ("route", "/v1/jobs/<job_id>"), ("status", "404")] == 3
    assert counts[("method", "GET"), ("route", "none"), ("status", "404")] == 1


def test_unknown_methods_create_no_series(api: Api):
    for n in range(20):
        api.client.open("/v1/jobs", method=f"METHOD{n}")

    methods = {dict(labels)["method"] for labels in samples(api)["fathom_http_request_seconds_count"]}
    assert methods == {"other"}


def test_without_a_job_store_the_metrics_are_503(api: Api):
    api.jobs.away = True
    found = samples(api)

    assert found == {"fathom_part_up": {(("part", "job_store"),): 0, (("part", "object_store"),): 1}}


# --- who may read them --------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "status"), [(["admin"], 200), (["read", "submit"], 403), (["read", "submit", "admin"], 200)]
)
def test_a_key_needs_the_scope_for_it(api: Api, scopes: list[str], status: int):
    _, header = Keyring(api).make(*scopes)

    assert api.get("/metrics", headers=header).status_code == status


def test_with_keys_anonymous_clients_cannot_read_metrics(api: Api):
    Keyring(api).make()

    assert api.get("/metrics").status_code == 401


def test_the_metrics_token_reads_metrics_and_nothing_else(make_api: ApiFactory):
    api = make_api(metrics_token="scrape-me")
    Keyring(api).make()
    header = {"Authorization": "Bearer scrape-me"}

    assert samples(api, **header)
    assert api.get("/v1/jobs", headers=header).status_code == 401
    assert api.get("/metrics", headers={"Authorization": "Bearer scrape-m"}).status_code == 401
    assert api.get("/metrics", headers={"Authorization": "Bearer scrape-m\xe9"}).status_code == 401


def test_the_token_works_while_the_object_store_is_away(make_api: ApiFactory):
    api = make_api(metrics_token="scrape-me")
    api.objects.away = True

    assert api.get("/metrics", headers={"Authorization": "Bearer scrape-me"}).status_code == 200


# --- what autoscalers need ----------------------------------------------------


def load(api: Api, **headers: str) -> dict[str, Any]:
    response = api.get("/v1/load", headers=headers)
    assert response.status_code == 200, response.text
    return dict(response.get_json())


def test_an_idle_service_has_no_load_of_any_network(api: Api):
    answer = load(api)

    assert (answer["images"], answer["work"], answer["slots"]) == (0, 0, 0)
    assert set(answer["by_model"]) == set(NETWORKS)
    assert {tuple(each.values()) for each in answer["by_model"].values()} == {(0, 0, 0)}


def test_the_load_is_what_jobs_that_run_have_left(api: Api):
    api.jobs.register_worker("host:1", 3, {"midas_small": 1.0, "file:mine": 2.0})
    api.post_files([("a.jpg", b"x"), ("b.jpg", b"x")], {"outputs": ["heatmap", "depth16"]})
    api.announce({"name": "c.jpg", "size": 1})
    paused = api.post_files([("d.jpg", b"x")]).get_json()["id"]
    api.client.post(f"/v1/jobs/{paused}/pause")

    answer = load(api)

    assert (answer["images"], answer["work"], answer["slots"]) == (2, 3.6, 3)
    assert answer["by_model"]["midas_small"] == {"images": 2, "work": 3.6, "slots": 3}
    assert answer["by_model"]["file:mine"] == {"images": 0, "work": 0, "slots": 3}


def test_the_photos_of_an_archive_count_before_it_is_expanded(api: Api):
    two_photos = io.BytesIO()
    with zipfile.ZipFile(two_photos, "w") as archive:
        archive.writestr("a.jpg", b"x")
        archive.writestr("b.jpg", b"y")
    assert api.post_parts([("archive", "a.zip", two_photos.getvalue())]).status_code == 202

    assert load(api)["images"] == 2


def test_without_a_job_store_an_autoscaler_gets_an_error_and_no_number(api: Api):
    api.jobs.away = True

    assert api.get("/v1/load").status_code == 503


def test_the_load_is_read_with_the_metrics_token_or_an_admin_key(make_api: ApiFactory):
    api = make_api(metrics_token="scrape-me")
    keys = Keyring(api)
    _, admin = keys.make("admin")
    _, user = keys.make("read", "submit")

    assert load(api, Authorization="Bearer scrape-me")["images"] == 0
    assert load(api, **admin)["images"] == 0
    assert api.get("/v1/load", headers=user).status_code == 403
    assert api.get("/v1/load").status_code == 401


# --- the dashboard ------------------------------------------------------------


def expressions() -> list[str]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_metric_of_the_dashboard_exists(api: Api):
    emitted = set(samples(busy_api(api)))
    asked = {name for expression in expressions() for name in re.findall(r"\bfathom_\w+", expression)}

    assert len(asked) >= 10
    assert asked - emitted == set()


def test_every_label_of_the_dashboard_exists(api: Api):
    found = samples(busy_api(api))
    labels = {name for series in found.values() for labels in series for name, _ in labels}
    dashboard = DASHBOARD.read_text(encoding="utf-8")
    asked = {
        label.strip()
        for group in re.findall(r"\bby \(([^)]*)\)", dashboard) + re.findall(r"\{\{(\w+)\}\}", dashboard)
        for label in group.split(",")
    }

    assert asked - labels == set()


def test_the_dashboard_shows_every_metric(api: Api):
    families = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in samples(busy_api(api))}
    shown = " ".join(expressions())

    assert {family for family in families if family not in shown} == set()


def test_the_panels_of_the_dashboard_do_not_overlap():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
