import pytest

from storage_backends.s3 import S3Backend
from tests.storage_backends.contract import BackendContract, Put
from tests.support.s3_bucket import Bucket


class TestOverMoto(BackendContract):
    @pytest.fixture
    def put(self, put: Put) -> Put:
        return put

    @pytest.fixture
    def backend(self, backend: S3Backend) -> S3Backend:
        return backend


class TestOverVersityGateway(TestOverMoto):
    @pytest.fixture
    def bucket(self, versity_bucket: Bucket) -> Bucket:
        return versity_bucket
