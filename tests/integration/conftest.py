"""Fixtures of the integration tests alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.object_store import S3ObjectStore
from shared.settings import Settings
from tests.conftest import ACCESS_KEY, BUCKET, SECRET_KEY, start_or_skip
from tests.servers import JuicefsGateway


@pytest.fixture(scope="session")
def juicefs_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JuicefsGateway]:
    """MinIO's S3 front end, one for the whole run, with the bucket `fathom-test`."""
    server = start_or_skip(
        JuicefsGateway(
            tmp_path_factory.mktemp("juicefs"), bucket=BUCKET, access_key=ACCESS_KEY, secret_key=SECRET_KEY
        )
    )
    yield server
    server.stop()


@pytest.fixture(scope="session")
def juicefs_environ(juicefs_gateway: JuicefsGateway) -> dict[str, str]:
    """`FATHOM_S3_*` of MinIO's front end; the public address differs from the internal one."""
    return juicefs_gateway.environ() | {"FATHOM_S3_PUBLIC_URL": f"http://localhost:{juicefs_gateway.port}"}


@pytest.fixture(scope="session")
def juicefs_store(juicefs_environ: dict[str, str]) -> Iterator[S3ObjectStore]:
    """The object store over MinIO's front end, as it stands after other tests."""
    store = S3ObjectStore.from_settings(Settings.from_environ(juicefs_environ))
    yield store
    store.close()
