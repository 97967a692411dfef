"""Models in a real object store."""

from __future__ import annotations

import pytest

from shared.objectstore.s3 import S3ObjectStore
from tests.contracts.shared_models import SharedModelsContract


class TestSeaweed(SharedModelsContract):
    @pytest.fixture
    def objects(self, object_store: S3ObjectStore) -> S3ObjectStore:
        return object_store
