from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.test import TestResponse

from fathom.options import DepthSource, Options, Output, StereoLayout, StereoOptions
from shared.jobs.job import ImageFailure, Job, JobState
from tests.unit.api.conftest import CORRUPT, Api, ApiFactory, encode_form
from tests.unit.api.routes.test_submissions import problem
from tests.waiting import eventually


@contextmanager
def working(api: Api, *, failure: ImageFailure | None = None, ends: bool = True) -> Iterator[list[Job]]:
    """Process urgent jobs as a worker does; yield the finished jobs."""
    done: list[Job] = []
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.005):
            for job in api.jobs.list().items:
                if job.urgent and job.counts.pending and job.state.runs:
                    done.append(job)
                    api.work(failing={0: failure} if failure else None)
            claim = api.jobs.claim_finalize() if ends else None
            if claim is not None:
                state = api.jobs.get(claim.job_id).state
                canceled = state is JobState.CANCELING
                api.jobs.finish(claim, JobState.CANCELED if canceled else JobState.SUCCEEDED)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield done
    finally:
        over.set()
        worker.join()


def send(api: Api, photo: bytes = b"photo", query: str = "", **headers: str) -> TestResponse:
    response = api.client.post(
        f"/v1/depth{query}",
        data=photo,
        headers={"Content-Type": "image/jpeg"} | {name.replace("_", "-"): v for name, v in headers.items()},
    )
    # Servers do this once a response has been sent.
    response.close()
    return response


def eventually_empty(api: Api) -> bool:
    """Wait until no job and no object is left."""
    eventually(lambda: (sorted(api.objects.objects), api.jobs.list().items), lambda left: left == ([], ()))
    return True


def test_a_photo_is_answered_with_its_heatmap_and_nothing_is_left(api: Api) -> None:
    with working(api) as done:
        response = send(api)

        assert (response.status_code, response.data) == (200, b"heatmap of 0")
        assert response.content_type == "image/png"
        assert response.headers["Content-Disposition"] == 'inline; filename="heatmap.png"'
        assert (response.headers["Depth-Min"], response.headers["Depth-Max"]) == ("0.5", "8.0")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        (job,) = done
        assert (job.urgent, job.counts.total, job.bytes) == (True, 1, 5)
        assert eventually_empty(api)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"photo", "image/heic"),
        (b"photo", "application/octet-stream"),
        (b"photo", ""),
        (encode_form([("image", "写真.jpg", b"photo")], []), "multipart/form-data; boundary=sep"),
    ],
)
def test_a_photo_may_come_as_the_body_or_in_a_form(api: Api, body: bytes, content_type: str) -> None:
    with working(api) as done:
        response = api.client.post("/v1/depth", data=body, content_type=content_type)

    assert response.status_code == 200
    assert [job.bytes for job in done] == [5]


@pytest.mark.parametrize(
    ("query", "accept", "content_type", "asked"),
    [
        ("", "*/*", "image/png", {"outputs": (Output.HEATMAP,), "heatmap_format": "png"}),
        ("", "image/jpeg", "image/jpeg", {"heatmap_format": "jpeg"}),
        ("", "image/png;q=0.5, image/jpeg", "image/jpeg", {"heatmap_format": "jpeg"}),
        ("?heatmap_format=png", "image/jpeg", "image/png", {"heatmap_format": "png"}),
        ("?output=depth16", "*/*", "image/png", {"outputs": (Output.DEPTH16,)}),
        ("?output=pfm", "*/*", "application/octet-stream", {"outputs": (Output.PFM,)}),
        (
            "?colormap=turbo&invert=true&clip=2,98&size=network&edges=smooth",
            "*/*",
            "image/png",
            {"colormap": "turbo", "invert": True, "percentiles": (2.0, 98.0), "size": "network"},
        ),
    ],
)
def test_the_requested_output_is_returned(
    api: Api, query: str, accept: str, content_type: str, asked: dict[str, Any]
) -> None:
    with working(api) as done:
        response = send(api, query=query, Accept=accept)

    assert (response.status_code, response.content_type) == (200, content_type)
    assert {name: getattr(done[0].options, name) for name in asked} == asked


@pytest.mark.parametrize(
    ("query", "content_type", "name"),
    [
        ("output=comparison", "image/jpeg", "comparison.jpg"),
        ("output=exr&exr.channel=Y", "image/x-exr", "depth.exr"),
        ("output=normals&normals.bits=16", "image/png", "normals.png"),
        ("output=stereo&stereo.layout=sbs_half", "image/jpeg", "stereo_LR.jpg"),
        ("output=stereo", "image/jpeg", "stereo_LRF_Full_SBS.jpg"),
        ("output=mesh&mesh.vertices=1000", "model/gltf-binary", "mesh.glb"),
        ("output=cloud&cloud.axes=opencv", "application/octet-stream", "cloud.ply"),
        ("output=layers", "image/vnd.adobe.photoshop", "layers.psd"),
        ("output=layers&layers.format=zip&layers.count=3", "application/zip", "layers.zip"),
        ("output=refocus&refocus.focus=0.25,0.75&refocus.aperture=2", "image/jpeg", "refocus.jpg"),
        ("output=embedded&depth_source=model", "image/jpeg", "embedded.jpg"),
    ],
)
def test_an_output_is_returned_as_a_file_of_its_type(
    api: Api, query: str, content_type: str, name: str
) -> None:
    with working(api):
        response = send(api, query=f"?{query}")

    assert (response.status_code, response.content_type) == (200, content_type)
    assert response.headers["Content-Disposition"] == f'inline; filename="{name}"'
    assert (response.headers["Depth-Min"], response.headers["Depth-Max"]) == ("0.5", "8.0")


def test_every_output_can_be_asked_for(api: Api) -> None:
    with working(api) as done:
        statuses = {output: send(api, query=f"?output={output}").status_code for output in Output}

    assert statuses == dict.fromkeys(Output, 200)
    assert [job.options.outputs for job in done] == [(output,) for output in Output]


def test_the_options_of_an_output_are_parameters(api: Api) -> None:
    query = "?output=stereo&stereo.layout=cross&stereo.divergence=2.5&stereo.swap=yes&depth_source=embedded"
    with working(api) as done:
        send(api, query=query)

    assert done[0].options == Options(
        outputs=(Output.STEREO,),
        model="midas_small",
        depth_source=DepthSource.EMBEDDED,
        stereo=StereoOptions(layout=StereoLayout.CROSS, divergence=2.5, swap=True),
    )


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("output=stereo&stereo.layout=cube", "stereo.layout must be one of sbs_full, sbs_half, "),
        ("output=stereo&stereo.divergence=6", "stereo.divergence must be a number from 0 to 5"),
        ("output=stereo&stereo.depth=1", "stereo.depth is not an option; the options are layout, "),
        ("output=layers&layers.count=2.5", "layers.count must be a whole number from 2 to 8"),
        ("stereo.layout=cross", "stereo has options, but is not among the outputs"),
        ("output=mesh&size=network", "mesh is made at the photo's own size"),
        (
            "output=stereo&stereo.layout=pair",
            "stereo with these options is 2 files, stereo_left and stereo_right",
        ),
        ("colormap=jet", "colormap must be one of inferno, "),
    ],
)
def test_a_wrong_option_is_named(api: Api, query: str, says: str) -> None:
    assert says in problem(send(api, query=f"?{query}"), 422, "invalid_options")["detail"]
    assert api.objects.objects == {}


@pytest.mark.parametrize("name", ["depth16.folder", "normalize", "preset", "stereo", "photo.layout"])
def test_an_option_of_whole_jobs_is_no_parameter(api: Api, name: str) -> None:
    body = problem(send(api, query=f"?output=depth16&{name}=a"), 400, "invalid_request")

    assert [error["field"] for error in body["errors"]] == [name]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?output=nothing", 400, "invalid_request"),
        ("?outputs=heatmap", 400, "invalid_request"),
        ("?clip=98,2", 422, "invalid_options"),
        ("?clip=a", 422, "invalid_options"),
        ("?output=clip&clip=2,98&clip.seconds=2", 422, "invalid_options"),
        ("?output=pfm&output=npy", 400, "invalid_request"),
    ],
)
def test_a_wrong_query_is_refused(api: Api, query: str, status: int, code: str) -> None:
    problem(send(api, query=query), status, code)
    assert api.objects.objects == {}


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", "image/jpeg", 422, "image_empty"),
        (b"x" * 1001, "image/jpeg", 422, "image_too_large"),
        (b"{}", "application/json", 415, "unsupported_media_type"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (encode_form([], []), "multipart/form-data; boundary=sep", 422, "no_images"),
        (
            encode_form([("image", "a", b"x"), ("image", "b", b"y")], []),
            "multipart/form-data; boundary=sep",
            400,
            "invalid_request",
        ),
        (
            encode_form([("images", "a", b"x")], []),
            "multipart/form-data; boundary=sep",
            400,
            "invalid_request",
        ),
        (encode_form([("image", "a", b"")], []), "multipart/form-data; boundary=sep", 422, "image_empty"),
        (
            encode_form([("image", "a", b"x")], [])[:-15],
            "multipart/form-data; boundary=sep",
            400,
            "malformed_form",
        ),
        (b"x", "multipart/form-data", 400, "malformed_form"),
    ],
)
def test_anything_but_a_photo_is_refused_before_it_is_stored(
    make_api: ApiFactory, body: bytes, content_type: str, status: int, code: str
) -> None:
    api = make_api(max_image_bytes=1000)

    problem(api.client.post("/v1/depth", data=body, content_type=content_type), status, code)
    assert api.objects.objects == {}


def test_a_photo_that_cannot_be_processed_is_answered_with_its_failure(api: Api) -> None:
    with working(api, failure=CORRUPT):
        body = problem(send(api), 422, "image_corrupt")

        assert body["detail"] == CORRUPT.message
        assert eventually_empty(api)


def test_an_unknown_failure_code_is_a_server_error(api: Api) -> None:
    with working(api, failure=ImageFailure(code="new_kind", message="It is new.")):
        assert problem(send(api), 422, "internal_error")["detail"] == "It is new."


def test_after_the_deadline_it_is_503_and_nothing_is_left(make_api: ApiFactory) -> None:
    api = make_api(depth_seconds=0.2)
    response = send(api)

    problem(response, 503, "depth_timed_out")
    assert int(response.headers["Retry-After"]) >= 1
    with working(api):
        assert eventually_empty(api)


def test_a_client_may_shorten_the_deadline_and_not_lengthen_it(make_api: ApiFactory) -> None:
    api = make_api(depth_seconds=0.3)

    problem(send(api, Prefer="wait=0"), 503, "depth_timed_out")
    problem(send(api, Prefer="wait=1000"), 503, "depth_timed_out")


def test_an_applied_preference_is_confirmed(api: Api) -> None:
    with working(api):
        assert send(api, Prefer="wait=15").headers["Preference-Applied"] == "wait=15"


def test_too_many_simultaneous_requests_are_refused(make_api: ApiFactory) -> None:
    api = make_api(max_depth_requests=1)
    api.backend.depth_slots.acquire()
    response = send(api)

    problem(response, 429, "too_many_depth_requests")
    assert response.headers["Retry-After"] == "1"
    api.backend.depth_slots.release()
    with working(api):
        assert send(api).status_code == 200


@pytest.mark.parametrize("photo", [b"photo", b""])
def test_every_response_frees_its_place(make_api: ApiFactory, photo: bytes) -> None:
    api = make_api(max_depth_requests=1)
    with working(api):
        statuses = [send(api, photo).status_code for _ in range(3)]

    assert statuses == [200 if photo else 422] * 3


def test_beyond_the_limit_of_unfinished_images_it_is_429(make_api: ApiFactory) -> None:
    api = make_api(max_unfinished_images=1)
    job_id = api.submit("a.jpg")

    problem(send(api), 429, "quota_exceeded")
    assert {key.split("/")[1] for key in api.objects.objects} == {job_id}


@pytest.mark.parametrize(
    ("part", "code"), [("jobs", "job_store_unavailable"), ("objects", "object_store_unavailable")]
)
def test_an_unavailable_part_is_reported(api: Api, part: str, code: str) -> None:
    getattr(api, part).away = True

    problem(send(api), 503, code)


def test_the_list_of_jobs_hides_single_photos(api: Api) -> None:
    job_id = api.submit("a.jpg")
    with working(api, ends=False):
        send(api)

        assert any(job.urgent for job in api.jobs.list().items)
        assert [job["id"] for job in api.get("/v1/jobs").get_json()["jobs"]] == [job_id]


def test_a_single_photo_has_priority_over_batch_work(api: Api) -> None:
    api.submit(*(f"{n}.jpg" for n in range(50)))
    with working(api) as done:
        assert send(api).status_code == 200

    assert [job.counts.total for job in done] == [1]
