from __future__ import annotations

from typing import Any

import pytest

from fathom.models import ModelInfo
from shared.jobs.cost import cost_of
from shared.networks import NETWORKS
from tests.unit.api.conftest import Api, ApiFactory

LARGE = NETWORKS["dpt_large"]


def listed(api: Api) -> dict[str, dict[str, Any]]:
    return {model["name"]: model for model in api.get("/v1/models").get_json()["models"]}


def submit_by(api: Api, way: str, model: str) -> Any:
    options = {"model": model} if model else {}
    if way == "form":
        return api.post_files([("a.jpg", b"x")], options)
    if way == "announcement":
        return api.announce({"name": "a.jpg", "size": 1}, options=options)
    if way == "sources":
        sources = [{"url": "https://example.com/a.jpg"}]
        return api.client.post("/v1/jobs", json={"sources": sources, "options": options})
    return api.client.post("/v1/depth", query_string=options, data=b"x", content_type="image/jpeg")


def test_models_are_listed_with_licence_size_cost_and_whether_they_are_served(api: Api) -> None:
    assert list(listed(api)) == list(NETWORKS)
    assert not any(model["available"] for model in listed(api).values())
    api.jobs.register_worker("w", 2, {"midas_small": 1.0, "dpt_large": LARGE.cost, "file:mine": 3.25})

    models = listed(api)

    assert [name for name, model in models.items() if model["available"]] == [
        "midas_small",
        "dpt_large",
        "file:mine",
    ]
    assert models["dpt_large"] == {
        "name": "dpt_large",
        "title": "DPT-Large",
        "tier": "best",
        "description": LARGE.suits,
        "relative_cost": 150.0,
        "megabytes": 1376,
        "parameters": LARGE.parameters,
        "code_licence": "MIT",
        "weights_licence": "MIT",
        "licence_note": "",
        "available": True,
        "slots": 2,
        "default": False,
    }
    assert "CC-BY-NC" in models["midas_large"]["licence_note"]
    assert models["file:mine"]["relative_cost"] == 3.2
    assert [name for name, model in models.items() if model["default"]] == ["midas_small"]


def test_the_client_knows_every_field(api: Api) -> None:
    api.jobs.register_worker("w", 1, {"file:mine": 3.25})

    for data in listed(api).values():
        model = ModelInfo.from_json(data)
        assert {name: getattr(model, name) for name in data} == data


@pytest.mark.parametrize("way", ["form", "announcement", "sources", "one photo"])
def test_a_model_that_no_worker_serves_is_refused_and_nothing_is_left(api: Api, way: str) -> None:
    api.jobs.register_worker("w", 1, {"midas_small": 1.0, "dpt_hybrid": 50.0})
    response = submit_by(api, way, "dpt_large")

    assert (response.status_code, response.get_json()["code"]) == (422, "model_unavailable")
    assert response.get_json()["detail"] == (
        "No worker serves the model 'dpt_large'. Available now: dpt_hybrid, midas_small. "
        "Its weights are fetched by `fathom model fetch dpt_large`."
    )
    assert not api.jobs.list().items
    assert not [*api.objects.list("jobs/")]


def test_an_unknown_model_is_refused_as_one_that_is_not_served(api: Api) -> None:
    api.jobs.register_worker("w", 1)
    response = submit_by(api, "form", "file:nobodys")

    assert response.status_code == 422
    assert response.get_json()["detail"] == (
        "No worker serves the model 'file:nobodys'. Available now: midas_small."
    )


@pytest.mark.parametrize("model", ["DPT large", "../x", 7])
def test_what_can_be_no_model_is_an_invalid_option(api: Api, model: object) -> None:
    response = api.post_files([("a.jpg", b"x")], {"model": model})

    assert (response.status_code, response.get_json()["code"]) == (422, "invalid_options")


@pytest.mark.parametrize("way", ["form", "announcement", "sources"])
def test_a_job_keeps_its_model_and_costs_what_that_takes(api: Api, way: str) -> None:
    api.jobs.register_worker("w", 1, {"midas_small": 1.0, "dpt_large": 90.0})
    answer = submit_by(api, way, "dpt_large").get_json()
    job = api.jobs.get(answer["id"])

    assert answer["options"]["model"] == job.model == "dpt_large"
    assert job.cost == cost_of(job.options, 90.0)
    assert job.cost.render > 25
    if way != "announcement":
        assert api.tickets.by_model == {"dpt_large": 1}


def test_without_a_name_a_job_gets_the_default_of_the_server(make_api: ApiFactory) -> None:
    api = make_api(model="dpt_hybrid")

    assert submit_by(api, "form", "").get_json()["options"]["model"] == "dpt_hybrid"
    assert listed(api)["dpt_hybrid"]["default"]


def test_while_no_worker_is_alive_only_the_default_is_taken_on_trust(api: Api) -> None:
    assert submit_by(api, "form", "").status_code == 202
    assert submit_by(api, "form", "midas_small").status_code == 202
    response = submit_by(api, "form", "dpt_large")

    assert response.status_code == 422
    assert "No worker is alive." in response.get_json()["detail"]


def test_a_default_that_living_workers_do_not_serve_is_refused(api: Api) -> None:
    api.jobs.register_worker("w", 1, {"dpt_large": LARGE.cost})

    assert submit_by(api, "form", "").get_json()["code"] == "model_unavailable"
