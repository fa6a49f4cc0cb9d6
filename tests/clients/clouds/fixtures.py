"""The fakes as fixtures: one of each for a test, healthy and with an empty memory."""

import pytest

from .aws import Aws
from .certificates import Authority
from .entra import Entra
from .google import Google


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Signs the certificates of all fakes: `authority.ca_file` is what clients must trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def entra(authority):
    with Entra(authority) as fake:
        yield fake


@pytest.fixture
def google_identity(authority):
    with Google(authority) as fake:
        yield fake


@pytest.fixture
def aws_identity(authority):
    with Aws(authority) as fake:
        yield fake
