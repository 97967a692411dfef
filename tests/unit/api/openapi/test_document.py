from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from flask import Flask

from api.openapi.document import Undocumented, build_document, routes
from fathom.options import (
    OUTPUT_TEXTS,
    PRESETS,
    LayersFormat,
    LayersOptions,
    Options,
    Output,
    StereoLayout,
    StereoOptions,
)
from fathom.result_names import output_files
from shared.jobs import object_keys
from shared.settings import Settings
from tests.unit.api.conftest import Api

REFERENCE = re.compile(r'"\$ref": "([^"]+)"')


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    return dict(api.get("/openapi.json").get_json())


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return all operations by their ids."""
    return {
        operation["operationId"]: operation
        for methods in document["paths"].values()
        for operation in methods.values()
    }


def test_every_route_is_described(api: Api, document: dict[str, Any]) -> None:
    app = api.client.application
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}

    assert described == served
    assert len(served) > 20


def test_a_route_that_declares_nothing_cannot_be_described(api: Api) -> None:
    app = Flask("bare")
    app.add_url_rule("/secret", "secret", lambda: "")

    with pytest.raises(Undocumented, match="/secret"):
        list(routes(app))


def test_the_document_is_valid_openapi_3_1_without_dangling_references(
    document: dict[str, Any],
) -> None:
    names = set(REFERENCE.findall(json.dumps(document)))

    assert document["openapi"] == "3.1.0"
    assert {name.rpartition("/")[2] for name in names} <= document["components"]["schemas"].keys()
    assert len(operations(document)) == sum(map(len, document["paths"].values()))


@pytest.mark.parametrize(
    ("operation", "status", "codes"),
    [
        ("submissions.create", 422, {"invalid_options", "no_images", "idempotency_key_reused"}),
        ("submissions.create", 409, {"idempotency_key_in_use"}),
        ("submissions.create", 429, {"quota_exceeded", "rate_limited"}),
        ("submissions.create", 503, {"job_store_full", "job_store_unavailable", "object_store_unavailable"}),
        ("submissions.create", 415, {"unsupported_media_type"}),
        ("submissions.start", 409, {"uploads_missing", "invalid_transition"}),
        ("jobs.show", 404, {"job_not_found"}),
        ("jobs.show", 401, {"unauthenticated", "invalid_key"}),
        ("jobs.cancel", 403, {"missing_scope", "forbidden"}),
        ("jobs.events", 503, {"too_many_streams"}),
        ("depth.depth", 422, {"image_corrupt", "unsupported_format", "image_empty", "invalid_options"}),
        ("depth.depth", 429, {"too_many_depth_requests"}),
        ("depth.depth", 503, {"depth_timed_out"}),
        ("results.output", 404, {"output_not_found", "not_found"}),
    ],
)
def test_every_status_names_its_codes(
    document: dict[str, Any], operation: str, status: int, codes: set[str]
) -> None:
    response = operations(document)[operation]["responses"][str(status)]
    _, known = response["content"]["application/problem+json"]["schema"]["allOf"]

    assert codes <= set(known["properties"]["code"]["enum"])
    assert known["properties"]["status"] == {"const": status}


@pytest.mark.parametrize(
    ("operation", "status", "headers"),
    [
        ("submissions.create", 202, {"Location", "Retry-After", "Preference-Applied", "Idempotent-Replayed"}),
        ("submissions.create", 429, {"Retry-After"}),
        ("jobs.show", 200, {"ETag", "Retry-After", "Preference-Applied", "X-Request-Id"}),
        ("jobs.show", 304, {"ETag"}),
        ("jobs.show", 401, {"WWW-Authenticate"}),
        ("results.output", 307, {"Location"}),
        ("depth.depth", 200, {"Depth-Min", "Depth-Max"}),
    ],
)
def test_answers_name_their_headers(
    document: dict[str, Any], operation: str, status: int, headers: set[str]
) -> None:
    assert headers <= operations(document)[operation]["responses"][str(status)]["headers"].keys()


@pytest.mark.parametrize(
    ("operation", "names"),
    [
        ("submissions.create", {"Idempotency-Key", "Prefer"}),
        ("jobs.show", {"job_id", "Prefer", "If-None-Match"}),
        ("jobs.events", {"job_id", "Last-Event-ID", "after"}),
        ("jobs.images", {"job_id", "state", "cursor", "limit"}),
    ],
)
def test_requests_name_their_parameters(document: dict[str, Any], operation: str, names: set[str]) -> None:
    assert {parameter["name"] for parameter in operations(document)[operation]["parameters"]} == names


#: Options that say nothing of one photo.
OF_MANY_PHOTOS = {"depth16.folder", "layers.masks"}


def test_one_photo_has_the_options_of_a_job_as_parameters(document: dict[str, Any]) -> None:
    found = {p["name"]: p for p in operations(document)["depth.depth"]["parameters"]}
    options = Options()
    names = {each.name for each in fields(options)} - {"outputs", "normalize"}
    groups = {name for name in names if is_dataclass(getattr(options, name))}
    inner = {f"{name}.{each.name}" for name in groups for each in fields(getattr(options, name))}

    assert found.keys() == {"output", "clip", "Prefer", "Accept", *(names - groups), *inner} - OF_MANY_PHOTOS
    assert all(found[name]["in"] == "query" and not found[name]["required"] for name in inner & found.keys())
    assert all(found[name]["schema"]["description"] for name in inner & found.keys())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("output", {"$ref": "#/components/schemas/Output", "default": "heatmap"}),
        ("stereo.layout", {"type": "string", "enum": [*StereoLayout], "default": "sbs_full"}),
        ("stereo.divergence", {"type": "number", "minimum": 0, "maximum": 5, "default": 2}),
        ("normals.bits", {"type": "integer", "enum": [8, 16], "default": 8}),
        ("mesh.backfill", {"type": "boolean", "default": True}),
        ("refocus.focus", {"type": "string", "default": "0.5,0.5"}),
        ("clip", {"type": "string", "default": "0,100", "deprecated": True}),
        ("percentiles", {"type": "string", "default": "0,100"}),
        ("depth_source", {"type": "string", "enum": ["auto", "model", "embedded"], "default": "auto"}),
        ("heatmap_format", {"enum": ["png", "jpeg"]}),
    ],
)
def test_a_parameter_of_one_photo_is_described_as_its_option(
    document: dict[str, Any], name: str, says: dict[str, Any]
) -> None:
    found = {p["name"]: p["schema"] for p in operations(document)["depth.depth"]["parameters"]}

    assert found[name] == found[name] | says
    assert "default" not in found["heatmap_format"]


def test_one_photo_is_answered_with_the_media_type_of_any_result(document: dict[str, Any]) -> None:
    media = operations(document)["depth.depth"]["responses"]["200"]["content"].keys()
    layouts = [Options(outputs=(*Output,), stereo=StereoOptions(layout=layout)) for layout in StereoLayout]
    formats = [Options(outputs=(*Output,), layers=LayersOptions(format=each)) for each in LayersFormat]
    files = {file for options in (*layouts, *formats) for file in output_files(options).values()}

    assert {object_keys.content_type(file) for file in files} <= media
    assert {"model/gltf-binary", "image/x-exr", "image/vnd.adobe.photoshop", "application/zip"} <= media
    assert media == operations(document)["results.output"]["responses"]["200"]["content"].keys()


def test_requests_explain_the_outputs_and_the_presets(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    given, shown = schemas["GivenOptions"]["properties"], schemas["Options"]["properties"]

    assert given.keys() - shown.keys() == {"preset"}
    assert (given["preset"]["type"], given["preset"]["enum"]) == ("string", [*PRESETS])
    assert all(preset.description in given["preset"]["description"] for preset in PRESETS.values())
    assert all(f"`{name}`: {text}" in given["outputs"]["description"] for name, text in OUTPUT_TEXTS.items())
    assert schemas["JobOut"]["properties"]["options"]["$ref"].endswith("/Options")
    for name in ("Announcement", "Sourcing"):
        assert schemas[name]["properties"]["options"]["$ref"].endswith("/GivenOptions")


def test_the_default_options_of_a_job_are_options_that_it_takes(document: dict[str, Any]) -> None:
    default = document["components"]["schemas"]["Announcement"]["properties"]["options"]["default"]

    assert Options.parse(default) == Options()


def test_the_form_names_its_parts(document: dict[str, Any]) -> None:
    content = operations(document)["submissions.create"]["requestBody"]["content"]
    form = content["multipart/form-data"]["schema"]

    assert {"images", "archive", "options", "title", "weight"} <= form["properties"].keys()
    assert form["properties"]["images"]["items"] == {"type": "string", "format": "binary"}
    assert form["properties"]["options"]["$ref"].endswith("/GivenOptions")
    assert form["additionalProperties"] is False


def test_routes_that_need_a_key_name_both_ways_to_send_it(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    found = operations(document)

    assert {"key": []} in found["jobs.show"]["security"]
    assert {"session": []} in found["jobs.show"]["security"]
    assert {"session": []} not in found["jobs.cancel"]["security"]
    assert found["health.live"]["security"] == []
    assert schemes["key"]["scheme"] == "bearer"


def test_a_returned_job_links_to_its_operations(document: dict[str, Any]) -> None:
    links = operations(document)["submissions.create"]["responses"]["202"]["links"]

    assert links["jobs.show"]["parameters"] == {"path.job_id": "$response.body#/id"}
    assert {link["operationId"] for link in links.values()} <= operations(document).keys()


def test_the_documented_limits_of_a_request_are_the_enforced_ones(document: dict[str, Any]) -> None:
    parameters = {p["name"]: p for p in operations(document)["jobs.index"]["parameters"]}

    assert (parameters["limit"]["schema"]["minimum"], parameters["limit"]["schema"]["maximum"]) == (1, 100)
    assert document["components"]["schemas"]["AnnouncedUpload"]["properties"]["name"]["maxLength"] == 4096


def test_the_page_shows_every_operation_and_runs_nothing(api: Api, document: dict[str, Any]) -> None:
    response = api.get("/docs")
    policy = response.headers["Content-Security-Policy"]

    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    for name in operations(document):
        assert f'id="{name}"' in response.text
    assert "script-src" not in policy
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "<script" not in response.text
    assert "style=" not in response.text
    assert re.findall(r'(?:src|href)="(?!#)([^"]*)"', response.text) == [
        "/docs/reference.css",
        "/openapi.json",
    ]


@pytest.mark.parametrize(
    "row",
    [
        "<code>stereo.divergence</code></td><td>query</td><td>number from 0 to 5</td>",
        "percent of the width. Default: <code>2</code>.</td>",
        "<code>vertices</code></td><td>integer from 1000 to 1000000</td>",
        "so that none shows a hole. Default: <code>true</code>.</td>",
        "<code>normals</code></td><td>NormalsOptions</td><td>Options of the output `normals`, which must be "
        "among the outputs.</td>",
        "<code>preset</code></td><td>vr | web3d | blender | controlnet | 3dgs | game | print | share</td>",
    ],
)
def test_the_page_shows_the_limits_and_defaults_of_options(api: Api, row: str) -> None:
    assert row in re.sub(r">\s+<", "><", api.get("/docs").text)


def test_the_styles_of_the_page_are_served(api: Api) -> None:
    response = api.get("/docs/reference.css")

    assert (response.status_code, response.content_type) == (200, "text/css; charset=utf-8")
    assert "url(" not in response.text


def test_the_document_of_an_app_is_the_same_every_time(api: Api) -> None:
    app = api.client.application
    with app.app_context():
        first, second = build_document(app), build_document(app)

    assert first == second == api.get("/openapi.json").get_json()
    assert Settings.from_environ({}).max_job_images > 0
