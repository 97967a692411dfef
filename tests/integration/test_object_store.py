"""The object store on two different S3 servers: SeaweedFS, and the front end of MinIO."""

from __future__ import annotations

import io
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

import httpx
import pytest

from fathom.stack.servers import free_ports
from shared.errors import FathomError, ObjectStoreDenied, ObjectStoreUnavailable
from shared.objectstore.port import ObjectStore
from shared.objectstore.s3 import S3ObjectStore
from shared.settings import Settings
from tests.conftest import ACCESS_KEY, BUCKET, SECRET_KEY, empty, start_or_skip
from tests.contracts.object_store import KEYS, ObjectStoreContract
from tests.servers import JuicefsGateway
from tests.waiting import eventually

StoreFactory = Callable[..., S3ObjectStore]
Operation = Callable[[S3ObjectStore], object]

OPERATIONS: dict[str, Operation] = {
    "put": lambda store: store.put("k", b"x"),
    "put_stream": lambda store: store.put_stream("k", io.BytesIO(bytes(9 * 2**20))),
    "get": lambda store: store.get("k"),
    "stream": lambda store: store.stream("k"),
    "size": lambda store: store.size("k"),
    "exists": lambda store: store.exists("k"),
    "list": lambda store: list(store.list("")),
    "delete": lambda store: store.delete("k"),
    "delete_prefix": lambda store: store.delete_prefix("k"),
    "ensure_bucket": lambda store: store.ensure_bucket(),
    "ping": lambda store: store.ping(),
}
operations = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())


@contextmanager
def built(settings: Settings) -> Iterator[S3ObjectStore]:
    store = S3ObjectStore.from_settings(settings)
    try:
        yield store
    finally:
        store.close()


class S3Contract(ObjectStoreContract):
    """Tests for every S3 server. A subclass provides `environ` and `store`."""

    @pytest.fixture
    def build(self, environ: dict[str, str]) -> Iterator[StoreFactory]:
        """Build another store on the same server: `build(s3_bucket="other")`."""
        stores = []

        def build(**changes: Any) -> S3ObjectStore:
            settings = replace(Settings.from_environ(environ), **changes)
            stores.append(S3ObjectStore.from_settings(settings))
            return stores[-1]

        yield build
        for store in stores:
            store.close()

    @pytest.mark.parametrize("key", KEYS)
    def test_a_presigned_url_reads_the_object_at_the_public_address(
        self, store: S3ObjectStore, environ: dict[str, str], key: str
    ) -> None:
        store.put(key, key.encode())

        url = store.presigned_get(key)

        assert url is not None
        assert url.startswith(f"{environ['FATHOM_S3_PUBLIC_URL']}/{BUCKET}/")
        assert not url.startswith(environ["FATHOM_S3_ENDPOINT_URL"])
        answer = httpx.get(url)
        assert (answer.status_code, answer.content) == (200, key.encode())

    @pytest.mark.parametrize("name", ["a b.png", "東京 タワー.png", "über+50%.png", 'quo"te\\.png', "📷.png"])
    def test_a_presigned_url_names_the_download_in_any_script(self, store: S3ObjectStore, name: str) -> None:
        store.put("k", b"x", content_type="image/png")

        answer = httpx.get(store.presigned_get("k", file_name=name, content_type="image/x-test") or "")

        assert answer.headers["content-type"] == "image/x-test"
        disposition = answer.headers["content-disposition"]
        assert disposition.startswith('attachment; filename="')
        assert unquote(disposition.partition("filename*=UTF-8''")[2]) == name.replace("\\", "_")

    def test_a_presigned_url_gives_the_type_the_object_was_written_with(self, store: S3ObjectStore) -> None:
        store.put("k", b"x", content_type="image/png")
        store.put_stream("streamed", io.BytesIO(bytes(9 * 2**20)), content_type="image/jpeg")

        assert httpx.get(store.presigned_get("k") or "").headers["content-type"] == "image/png"
        assert httpx.get(store.presigned_get("streamed") or "").headers["content-type"] == "image/jpeg"

    def test_a_presigned_url_serves_ranges(self, store: S3ObjectStore) -> None:
        store.put("k", b"0123456789")

        answer = httpx.get(store.presigned_get("k") or "", headers={"Range": "bytes=2-4"})

        assert (answer.status_code, answer.content) == (206, b"234")

    @pytest.mark.parametrize("key", KEYS)
    def test_a_presigned_url_writes_an_object(self, store: S3ObjectStore, key: str) -> None:
        answer = httpx.put(
            store.presigned_put(key) or "", content=b"uploaded", headers={"Content-Type": "a/b"}
        )

        assert answer.status_code == 200
        assert store.get(key) == b"uploaded"

    @pytest.mark.parametrize("size", [0, 8])
    def test_a_presigned_url_for_a_size_takes_that_size(self, store: S3ObjectStore, size: int) -> None:
        answer = httpx.put(store.presigned_put("k", size=size) or "", content=b"u" * size)

        assert answer.status_code == 200
        assert store.size("k") == size

    @pytest.mark.parametrize(
        "content",
        [b"", b"uploade", b"uploaded!", bytes(2**20), iter([b"uploaded"])],
        ids=["none", "less", "more", "much more", "unsaid"],
    )
    def test_a_presigned_url_for_a_size_takes_no_other(
        self, store: S3ObjectStore, content: bytes | Iterator[bytes]
    ) -> None:
        answer = httpx.put(store.presigned_put("k", size=8) or "", content=content)

        assert answer.status_code in (403, 411)
        assert not store.exists("k")

    def test_a_presigned_url_is_for_one_key_and_one_verb(self, store: S3ObjectStore) -> None:
        store.put("public", b"x")
        store.put("secret", b"x")
        url = store.presigned_get("public") or ""

        assert httpx.get(url.replace("/public?", "/secret?")).status_code == 403
        assert httpx.put(url, content=b"y").status_code == 403
        assert httpx.get(url.partition("?")[0]).status_code == 403

    def test_an_expired_presigned_url_is_refused(self, store: S3ObjectStore, build: StoreFactory) -> None:
        store.put("k", b"x")
        short = build(presign_seconds=1).presigned_get("k") or ""
        long = build(presign_seconds=600).presigned_get("k") or ""

        refusal = eventually(lambda: httpx.get(short).status_code, lambda status: status != 200)

        assert refusal in (400, 403)
        assert httpx.get(long).status_code == 200

    @pytest.fixture(
        scope="class",
        params=[{"s3_secret_key": "wrong-secret-key"}, {"s3_access_key": "unknown-access-key"}],
        ids=["secret", "access"],
    )
    @classmethod
    def denied_store(cls, request: pytest.FixtureRequest, environ: dict[str, str]) -> Iterator[S3ObjectStore]:
        """A store with a wrong key."""
        with built(replace(Settings.from_environ(environ), **request.param)) as denied:
            yield denied

    @operations
    def test_wrong_credentials_are_denied(
        self, store: S3ObjectStore, denied_store: S3ObjectStore, operation: Operation
    ) -> None:
        with pytest.raises(ObjectStoreDenied):
            operation(denied_store)

    @pytest.mark.parametrize("name", ["put", "put_stream", "list", "ping"])
    def test_a_missing_bucket_is_an_error_of_the_store(self, build: StoreFactory, name: str) -> None:
        with pytest.raises(ObjectStoreUnavailable):
            OPERATIONS[name](build(s3_bucket="no-such-bucket"))

    def test_no_public_address_means_no_presigned_url(self, build: StoreFactory) -> None:
        store = build(s3_public_url=None)

        assert store.presigned_get("k") is None
        assert store.presigned_put("k") is None

    def test_a_long_stream_is_written_in_constant_memory(self, store: S3ObjectStore) -> None:
        source = Pattern(60_000_000)
        store.ping()

        tracemalloc.start()
        store.put_stream("long", cast(BinaryIO, source))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert peak < 20 * 2**20
        assert store.size("long") == 60_000_000
        assert store.get("long", start=59_999_000) == Pattern.piece(59_999_000, 60_000_000)

    def test_an_interrupted_stream_leaves_no_object(self, store: S3ObjectStore) -> None:
        source = cast(BinaryIO, Pattern(60_000_000, broken_at=30_000_000))

        with pytest.raises(OSError, match="The disk is gone"):
            store.put_stream("broken", source)

        assert not store.exists("broken")


class TestSeaweed(S3Contract):
    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, seaweed_environ: dict[str, str]) -> dict[str, str]:
        return seaweed_environ

    @pytest.fixture
    def store(self, object_store: S3ObjectStore) -> S3ObjectStore:
        return object_store

    @pytest.fixture
    def wide(self, build: StoreFactory) -> S3ObjectStore:
        """A bucket of its own: SeaweedFS keeps empty folders, and every later test would look into them."""
        store = build(s3_bucket="wide")
        store.ensure_bucket()
        return store

    def test_racing_processes_may_create_one_bucket(self, build: StoreFactory) -> None:
        stores = [build(s3_bucket="raced-for") for _ in range(8)]

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(S3ObjectStore.ensure_bucket, stores))

        stores[0].put("k", b"x")
        assert stores[7].get("k") == b"x"


class TestMinio(S3Contract):
    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, juicefs_environ: dict[str, str]) -> dict[str, str]:
        return juicefs_environ

    @pytest.fixture
    def store(self, juicefs_store: S3ObjectStore) -> S3ObjectStore:
        empty(juicefs_store)
        return juicefs_store

    # These make thousands of objects; SeaweedFS runs the same test every time.

    @pytest.mark.slow
    def test_a_listing_is_complete_past_one_page_and_in_order(self, wide: ObjectStore) -> None:
        super().test_a_listing_is_complete_past_one_page_and_in_order(wide)

    @pytest.mark.slow
    def test_a_listing_is_complete_where_folders_and_objects_mix(self, wide: ObjectStore) -> None:
        super().test_a_listing_is_complete_where_folders_and_objects_mix(wide)

    @pytest.mark.slow
    def test_folders_are_complete_past_one_page(self, wide: ObjectStore) -> None:
        super().test_folders_are_complete_past_one_page(wide)


class TestServerAway:
    @pytest.fixture(scope="class")
    @classmethod
    def unreachable_store(cls) -> Iterator[S3ObjectStore]:
        with built(settings_for(free_ports(1)[0])) as store:
            yield store

    @operations
    @pytest.mark.timeout(60)
    def test_a_refused_connection_is_soon_reported_as_unavailable(
        self, unreachable_store: S3ObjectStore, operation: Operation
    ) -> None:
        with pytest.raises(ObjectStoreUnavailable):
            operation(unreachable_store)

    def test_a_store_works_again_when_its_server_is_back(self, tmp_path: Path) -> None:
        server = JuicefsGateway(tmp_path, bucket=BUCKET, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        start_or_skip(server)
        with built(Settings.from_environ(server.environ())) as store:
            store.put("k", b"kept")
            server.stop()
            with pytest.raises(ObjectStoreUnavailable):
                store.get("k")
            server.start()
            try:
                assert store.get("k") == b"kept"
            finally:
                server.stop()

    @pytest.mark.timeout(60)
    def test_a_silent_server_fails_a_ping_soon(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            built(settings_for(silent.getsockname()[1])) as store,
            pytest.raises(ObjectStoreUnavailable),
        ):
            store.ping()

    def test_a_body_cut_short_is_unavailable(self) -> None:
        with (
            answering(CUT_SHORT) as server,
            built(settings_for(server.port)) as store,
            pytest.raises(ObjectStoreUnavailable),
        ):
            store.get("k")

    def test_a_streamed_body_cut_short_is_unavailable(self) -> None:
        with answering(CUT_SHORT) as server, built(settings_for(server.port)) as store:
            pieces = store.stream("k", chunk_size=4)

            assert next(pieces) == b"only"
            with pytest.raises(ObjectStoreUnavailable):
                list(pieces)

    def test_a_listing_cut_short_is_unavailable(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n<ListBucketResult><Contents>"
        with (
            answering(answer) as server,
            built(settings_for(server.port)) as store,
            pytest.raises(ObjectStoreUnavailable),
        ):
            list(store.list("k"))

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 18\r\n\r\n<html>nginx</html>",
            b"HTTP/1.1 500 Oh\r\nContent-Length: 42\r\n\r\n<Error><Code>InternalError</Code></Error>  ",
            b"HTTP/1.1 400 Late\r\nContent-Length: 43\r\n\r\n<Error><Code>RequestTimeout</Code></Error>  ",
            b"",
        ],
        ids=["slow down", "proxy", "internal error", "request timeout", "connection closed"],
    )
    def test_server_errors_are_retried_three_times(self, answer: bytes) -> None:
        with answering(answer) as server, built(settings_for(server.port)) as store:
            with pytest.raises(ObjectStoreUnavailable):
                store.get("k")
            assert server.requests == 3

    def test_a_temporary_server_error_is_hidden(self) -> None:
        trouble = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"
        good = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
        with answering(trouble, b"", good) as server, built(settings_for(server.port)) as store:
            assert store.get("k") == b"good"

    def test_a_client_error_is_not_retried(self) -> None:
        answer = (
            b"HTTP/1.1 400 No\r\nContent-Length: 46\r\n\r\n<Error><Code>KeyTooLongError</Code></Error>   "
        )
        with answering(answer) as server, built(settings_for(server.port)) as store:
            with pytest.raises(Exception, match="KeyTooLong") as raised:
                store.get("k")
            assert not isinstance(raised.value, FathomError)
            assert server.requests == 1


CUT_SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly the beginning"


def settings_for(port: int) -> Settings:
    return Settings.from_environ(
        {
            "FATHOM_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "FATHOM_S3_ACCESS_KEY": ACCESS_KEY,
            "FATHOM_S3_SECRET_KEY": SECRET_KEY,
        }
    )


class Pattern(io.RawIOBase):
    """A long seekable stream that takes no memory; byte n is n modulo 251."""

    #: Longer than any part, so that every part is one slice of it.
    _CYCLE = bytes(range(251)) * 40_000

    def __init__(self, size: int, *, broken_at: int | None = None) -> None:
        self._size = size
        self._broken_at = broken_at
        self._at = 0

    @classmethod
    def piece(cls, start: int, stop: int) -> bytes:
        offset = start % 251
        return cls._CYCLE[offset : offset + stop - start]

    def read(self, size: int = -1) -> bytes:
        stop = self._size if size < 0 else min(self._size, self._at + size)
        if self._broken_at is not None and stop > self._broken_at:
            raise OSError("The disk is gone.")
        data = self.piece(self._at, stop)
        self._at = stop
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = {0: 0, 1: self._at, 2: self._size}[whence] + offset
        return self._at


class CannedServer:
    """Answers each request on a new connection with the next of some byte strings; the last one repeats."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.requests = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        answer = self._answers[min(self.requests, len(self._answers) - 1)]
        # Count first, because a test may read the count as soon as the client has the response.
        self.requests += 1
        # Without this header, the client might send its next request on the closing connection.
        connection.sendall(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))


@contextmanager
def answering(*answers: bytes) -> Iterator[CannedServer]:
    server = CannedServer(answers)
    try:
        yield server
    finally:
        server.stop()
