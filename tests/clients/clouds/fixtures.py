"""The fakes as fixtures: one of each for a test, healthy and with an empty memory.

Those of models stand in front of the scripted upstream (`upstream`), and take what the identity service beside them
issues.
"""

import os

import pytest

from .aws import Aws
from .azure_openai import AzureOpenAI
from .bedrock import Bedrock
from .certificates import Authority
from .entra import Entra
from .google import Google
from .mantle import Mantle
from .vertex import Vertex

# What tells clients of a cloud that they are in one, and who they are.
OURS = ("AWS_", "AZURE_", "GOOGLE_", "GCE_", "CLOUDSDK_", "MSI_", "IDENTITY_")
FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "CLOUDSDK_CONFIG")


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Signs the certificates of all fakes: `authority.ca_file` is what clients must trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def no_cloud_of_our_own(monkeypatch, tmp_path):
    """What the machine that runs the tests knows of clouds is not seen by them."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    for name in FILES:
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


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


@pytest.fixture
def azure(authority, upstream, entra):
    with AzureOpenAI(authority, upstream.url, entra) as fake:
        yield fake


@pytest.fixture
def vertex(authority, upstream, google_identity):
    with Vertex(authority, upstream.url, google_identity) as fake:
        yield fake


@pytest.fixture
def bedrock(authority, upstream, aws_identity):
    with Bedrock(authority, upstream.url, aws_identity) as fake:
        yield fake


@pytest.fixture
def mantle(authority, upstream, aws_identity):
    with Mantle(authority, upstream.url, aws_identity) as fake:
        yield fake
