"""The oracle of the sample that a test names by its key."""

import pytest

from tests.support.oracle import Oracle
from tests.support.sample_recipes import SampleUnavailable
from tests.support.samples import Samples, shared_samples


@pytest.fixture(scope="module")
def oracle(request: pytest.FixtureRequest, samples: Samples) -> Oracle:
    """Give the key by `pytest.mark.parametrize("oracle", keys, indirect=True)`."""
    try:
        return Oracle(shared_samples().get(request.param) or samples[request.param])
    except SampleUnavailable as reason:
        pytest.skip(str(reason))
