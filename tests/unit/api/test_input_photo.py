"""The original photo, which the page shows beneath its heatmap."""

from __future__ import annotations

import io

import pillow_heif
import pytest
from PIL import Image

from tests.unit.api.conftest import Api, ApiFactory


def encode(kind: str) -> bytes:
    data, image = io.BytesIO(), Image.new("RGB", (32, 32), "teal")
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(data)
    else:
        image.save(data, kind)
    return data.getvalue()


def submit(api: Api, name: str, data: bytes) -> str:
    response = api.post_files([(name, data)])
    assert response.status_code == 202, response.text
    return f"/v1/jobs/{response.get_json()['id']}/images/0/input"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF"])
def test_a_photo_comes_back_byte_by_byte_with_its_own_type(api: Api, kind: str) -> None:
    data = encode(kind)

    response = api.get(submit(api, "trip/a.bin", data))

    assert (response.status_code, response.data) == (200, data)
    assert response.content_type == f"image/{kind.lower()}"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "filename=a.bin" in response.headers["Content-Disposition"]


@pytest.mark.parametrize(
    "data",
    [b"<html><script>alert(1)</script>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b""],
    ids=["html", "svg", "pdf", "empty"],
)
def test_an_input_that_is_not_a_picture_is_never_sent_as_something_that_a_browser_runs(
    api: Api, data: bytes
) -> None:
    response = api.get(submit(api, "a.html", data))

    assert response.status_code == 200
    assert response.content_type == "application/octet-stream"
    assert "sandbox" in response.headers["Content-Security-Policy"]


def test_a_client_that_reaches_the_object_store_is_redirected(make_api: ApiFactory) -> None:
    api = make_api(public_url="https://s3.example")
    path = submit(api, "a.jpg", encode("JPEG"))

    assert api.get(path).status_code == 307
    assert api.get(f"{path}?stream=1").data == encode("JPEG")


def test_an_image_the_job_does_not_have_has_no_photo(api: Api) -> None:
    path = submit(api, "a.jpg", encode("JPEG"))

    response = api.get(path.replace("/0/", "/1/"))

    assert (response.status_code, response.get_json()["code"]) == (404, "not_found")


def test_a_missing_photo_is_not_found(api: Api) -> None:
    job = api.announce({"name": "a.jpg", "size": 10}).get_json()["id"]

    response = api.get(f"/v1/jobs/{job}/images/0/input")

    assert (response.status_code, response.get_json()["code"]) == (404, "output_not_found")


def test_uploads_are_listed_with_the_sizes_that_were_announced(api: Api) -> None:
    """After a reload, the page finds the files again by name and size."""
    answer = api.announce({"name": "a.jpg", "size": 10}, {"name": "b.jpg", "size": 1}).get_json()

    assert [upload["size"] for upload in answer["uploads"]] == [10, 1]
