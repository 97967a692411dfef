from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3.session
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from shared.errors import (
    FathomError,
    ObjectNotFound,
    ObjectStoreDenied,
    ObjectStoreUnavailable,
)
from shared.objectstore.port import ObjectStore
from shared.objectstore.s3 import S3ObjectStore, attachment
from shared.settings import Settings
from tests.contracts.object_store import ObjectStoreContract
from tests.fakes import FakeObjectStore

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class TestFakeObjectStore(ObjectStoreContract):
    """The fake fulfils the contract, so unit tests may rely on it."""

    @pytest.fixture
    def store(self) -> ObjectStore:
        return FakeObjectStore()

    def test_the_fake_can_be_away(self) -> None:
        store = FakeObjectStore()
        store.put("k", b"x")
        store.away = True

        with pytest.raises(ObjectStoreUnavailable):
            store.get("k")
        with pytest.raises(ObjectStoreUnavailable):
            store.ping()


@pytest.fixture(scope="module")
def client() -> S3Client:
    session = boto3.session.Session("key", "secret", region_name="us-east-1")
    return session.client("s3", endpoint_url="http://s3.test")


@pytest.fixture
def server(client: S3Client) -> Iterator[Stubber]:
    """The responses of the server, request by request; the test must use all."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def store(client: S3Client, server: Stubber) -> S3ObjectStore:
    return S3ObjectStore(client=client, probe=client, public=None, bucket="b", presign_seconds=60)


def build_store(**environ: str) -> S3ObjectStore:
    keys = {"FATHOM_S3_ACCESS_KEY": "key", "FATHOM_S3_SECRET_KEY": "very-secret"}
    return S3ObjectStore.from_settings(Settings.from_environ(keys | environ))


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("NoSuchKey", 404, ObjectNotFound),
        ("404", 404, ObjectNotFound),
        ("NoSuchBucket", 404, ObjectStoreUnavailable),
        ("AccessDenied", 403, ObjectStoreDenied),
        ("403", 403, ObjectStoreDenied),
        ("InvalidAccessKeyId", 403, ObjectStoreDenied),
        ("SignatureDoesNotMatch", 403, ObjectStoreDenied),
        ("RequestTimeTooSkewed", 403, ObjectStoreDenied),
        ("ExpiredToken", 400, ObjectStoreDenied),
        ("401", 401, ObjectStoreDenied),
        ("SlowDown", 503, ObjectStoreUnavailable),
        ("InternalError", 500, ObjectStoreUnavailable),
        ("RequestTimeout", 400, ObjectStoreUnavailable),
        ("ConditionalRequestConflict", 409, ObjectStoreUnavailable),
        ("TooManyRequests", 429, ObjectStoreUnavailable),
        ("504", 504, ObjectStoreUnavailable),
        ("XMinioServerNotInitialized", 503, ObjectStoreUnavailable),
    ],
)
def test_server_errors_become_fathom_errors(
    store: S3ObjectStore, server: Stubber, code: str, status: int, error: type[FathomError]
) -> None:
    server.add_client_error("get_object", code, http_status_code=status)

    with pytest.raises(error) as raised:
        store.get("some/key")
    assert isinstance(raised.value.__cause__, ClientError)
    assert raised.value.transient is (error is ObjectStoreUnavailable)


@pytest.mark.parametrize(
    ("code", "status"),
    [("KeyTooLongError", 400), ("InvalidArgument", 400), ("NotImplemented", 501), ("301", 301)],
)
def test_programming_errors_are_raised_unchanged(
    store: S3ObjectStore, server: Stubber, code: str, status: int
) -> None:
    server.add_client_error("put_object", code, http_status_code=status)

    with pytest.raises(ClientError):
        store.put("k", b"x")


def test_a_missing_object_names_its_key(store: S3ObjectStore, server: Stubber) -> None:
    server.add_client_error("head_object", "404", http_status_code=404)

    with pytest.raises(ObjectNotFound, match="'jobs/写真'"):
        store.size("jobs/写真")


def test_a_denied_request_names_its_reason(store: S3ObjectStore, server: Stubber) -> None:
    server.add_client_error("list_objects_v2", "SignatureDoesNotMatch", http_status_code=403)

    with pytest.raises(ObjectStoreDenied, match="SignatureDoesNotMatch"):
        list(store.list("k"))


def listing(*keys: str) -> dict[str, Any]:
    contents = [{"Key": key, "Size": 1, "LastModified": datetime.now(UTC)} for key in keys]
    return {"Contents": contents, "IsTruncated": False}


@pytest.mark.parametrize(
    ("code", "status"), [("NotImplemented", 501), ("MethodNotAllowed", 405), ("MissingContentMD5", 400)]
)
def test_keys_are_deleted_one_by_one_if_the_server_cannot_delete_batches(
    store: S3ObjectStore, server: Stubber, code: str, status: int
) -> None:
    server.add_response("list_objects_v2", listing("p/1", "p/2"))
    server.add_client_error("delete_objects", code, http_status_code=status)
    server.add_response("delete_object", {}, {"Bucket": "b", "Key": "p/1"})
    server.add_client_error("delete_object", "NoSuchKey", http_status_code=404)

    assert store.delete_prefix("p/") == 2


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDenied", ObjectStoreDenied),
        ("InternalError", ObjectStoreUnavailable),
        ("SlowDown", ObjectStoreUnavailable),
        ("Locked", FathomError),
    ],
)
def test_a_key_that_a_batch_did_not_delete_is_an_error(
    store: S3ObjectStore, server: Stubber, code: str, error: type[FathomError]
) -> None:
    server.add_response("list_objects_v2", listing("p/1", "p/2"))
    server.add_response("delete_objects", {"Errors": [{"Key": "p/2", "Code": code, "Message": "No."}]})

    with pytest.raises(error) as raised:
        store.delete_prefix("p/")
    assert type(raised.value) is error


def test_a_key_missing_in_a_batch_counts_as_deleted(store: S3ObjectStore, server: Stubber) -> None:
    server.add_response("list_objects_v2", listing("p/1"))
    server.add_response("delete_objects", {"Errors": [{"Key": "p/1", "Code": "NoSuchKey"}]})

    assert store.delete_prefix("p/") == 1


@pytest.mark.parametrize("code", ["BucketAlreadyOwnedByYou", "BucketAlreadyExists", "OperationAborted"])
def test_a_bucket_that_another_process_just_created_is_no_error(
    store: S3ObjectStore, server: Stubber, code: str
) -> None:
    server.add_client_error("head_bucket", "404", http_status_code=404)
    server.add_client_error("create_bucket", code, http_status_code=409)
    server.add_response("head_bucket", {})

    store.ensure_bucket()


def test_a_bucket_of_somebody_else_is_denied(store: S3ObjectStore, server: Stubber) -> None:
    server.add_client_error("head_bucket", "404", http_status_code=404)
    server.add_client_error("create_bucket", "BucketAlreadyExists", http_status_code=409)
    server.add_client_error("head_bucket", "403", http_status_code=403)

    with pytest.raises(ObjectStoreDenied):
        store.ensure_bucket()


def test_a_new_bucket_in_the_first_region_names_no_region(store: S3ObjectStore, server: Stubber) -> None:
    server.add_client_error("head_bucket", "404", http_status_code=404)
    server.add_response("create_bucket", {}, {"Bucket": "b"})

    store.ensure_bucket()


def test_a_new_bucket_elsewhere_names_its_region() -> None:
    session = boto3.session.Session("key", "secret", region_name="eu-west-1")
    client = session.client("s3", endpoint_url="http://s3.test")
    expected = {"Bucket": "b", "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    with Stubber(client) as server:
        server.add_client_error("head_bucket", "404", http_status_code=404)
        server.add_response("create_bucket", {}, expected)

        S3ObjectStore(client=client, probe=client, public=None, bucket="b", presign_seconds=1).ensure_bucket()


def test_ping_names_the_bucket_that_is_missing(store: S3ObjectStore, server: Stubber) -> None:
    server.add_client_error("head_bucket", "404", http_status_code=404)

    with pytest.raises(ObjectStoreUnavailable, match="no bucket 'b'"):
        store.ping()


def test_a_presigned_url_is_made_for_the_public_address_without_a_request() -> None:
    store = build_store(
        FATHOM_S3_ENDPOINT_URL="http://minio:9000",
        FATHOM_S3_PUBLIC_URL="https://files.example.org",
        FATHOM_S3_BUCKET="albums",
        FATHOM_PRESIGN_SECONDS="90",
    )

    parts = urlsplit(
        store.presigned_get("jobs/1/a b+ü.png", file_name="a.png", content_type="image/png") or ""
    )

    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert (parts.scheme, parts.netloc) == ("https", "files.example.org")
    assert unquote(parts.path) == "/albums/jobs/1/a b+ü.png"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Expires"] == "90"
    assert query["X-Amz-SignedHeaders"] == "host"
    assert query["response-content-type"] == "image/png"
    assert query["response-content-disposition"] == attachment("a.png")
    assert "very-secret" not in parts.query


def test_without_an_endpoint_requests_go_to_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://somewhere.test")
    store = build_store(
        FATHOM_S3_PUBLIC_URL="https://s3.eu-west-1.amazonaws.com", FATHOM_S3_REGION="eu-west-1"
    )

    assert store._client.meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"
    assert (store.presigned_put("k") or "").startswith("https://s3.eu-west-1.amazonaws.com/fathom/k?")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a b.png", "attachment; filename=\"a b.png\"; filename*=UTF-8''a%20b.png"),
        ("50%.png", "attachment; filename=\"50_.png\"; filename*=UTF-8''50%25.png"),
        ("é.png", "attachment; filename=\"_.png\"; filename*=UTF-8''%C3%A9.png"),
        ("📷", "attachment; filename=\"_\"; filename*=UTF-8''%F0%9F%93%B7"),
        ('a"b\\c/d', "attachment; filename=\"a_b_c_d\"; filename*=UTF-8''a%22b_c_d"),
        (
            "a\r\nSet-Cookie: x",
            "attachment; filename=\"a__Set-Cookie: x\"; filename*=UTF-8''a__Set-Cookie%3A%20x",
        ),
        ("'*(lone \udcff)", "attachment; filename=\"'*(lone _)\"; filename*=UTF-8''%27%2A%28lone%20%3F%29"),
    ],
)
def test_a_download_is_named_as_in_rfc_6266(name: str, header: str) -> None:
    assert attachment(name) == header
    assert header.isascii()
