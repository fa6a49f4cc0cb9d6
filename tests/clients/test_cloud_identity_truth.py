"""The fakes of the clouds' identity services are what they claim to be: the vendors' own credential chains use them."""

import json
import os
import subprocess
import sys
import time

import botocore.exceptions
import botocore.utils
import google.auth
import google.auth.crypt
import google.auth.exceptions
import google.auth.jwt
import google.auth.transport.requests
import httpx2
import msal
import pytest
from azure import identity
from azure.core.exceptions import ClientAuthenticationError
from google.oauth2 import service_account

import converse_driver
from clouds import aws, entra as entras, google as googles

COGNITIVE = "https://cognitiveservices.azure.com"
SCOPE = f"{COGNITIVE}/.default"
pytestmark = pytest.mark.usefixtures("no_cloud_of_our_own")


@pytest.fixture
def pod(monkeypatch):
    """Makes the process look like a pod with these variables."""

    def be(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
            if name == "SSL_CERT_FILE":  # what Python's `requests` calls it
                monkeypatch.setenv("REQUESTS_CA_BUNDLE", value)

    return be


# Microsoft Entra


def by_secret(entra, secret=None, **more):
    return identity.ClientSecretCredential(
        entras.TENANT,
        entras.CLIENT,
        secret or entra.secret,
        authority=entra.url,
        disable_instance_discovery=True,
        connection_verify=str(entra.authority.ca_file),
        retry_total=0,
        **more,
    )


def by_assertion():
    return identity.WorkloadIdentityCredential(disable_instance_discovery=True, retry_total=0)


def test_entra_by_secret(entra):
    with by_secret(entra) as credential:
        token = credential.get_token(SCOPE)
        assert credential.get_token(SCOPE).token == token.token, "it is kept"
    assert entra.tokens.refusal(token.token, {COGNITIVE}) is None
    assert entra.tokens.refusal(token.token, {"https://ai.azure.com"}) == "scope"
    assert 3590 <= token.expires_on - time.time() <= 3600
    assert [request.path for request in entra.received()] == [
        f"/{entras.TENANT}/v2.0/.well-known/openid-configuration",
        f"/{entras.TENANT}/oauth2/v2.0/token",
    ]


def test_entra_by_the_token_of_a_pod(entra, pod, tmp_path):
    pod(entra.environment(tmp_path))
    with by_assertion() as credential:
        first = credential.get_token(SCOPE).token
    assert entra.last().form["client_assertion"] == entra.assertion
    entra.rotate(tmp_path / "azure-identity-token")
    with by_assertion() as credential:
        second = credential.get_token(SCOPE).token
    assert first != second and len(entra.tokens.issued()) == 2


def test_entra_takes_the_present_token_of_a_pod_only(entra, pod, tmp_path):
    pod(entra.environment(tmp_path))
    entra.rotate()
    with by_assertion() as credential, pytest.raises(ClientAuthenticationError, match="AADSTS700213"):
        credential.get_token(SCOPE)


def test_entra_names_its_tenant_when_an_instance_is_discovered(entra, authority, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
    application = msal.ConfidentialClientApplication(
        entras.CLIENT,
        entra.secret,
        authority=f"{entra.url}/{entras.TENANT}",
        instance_discovery=f"{entra.url}/common/discovery/instance",
    )
    assert application.acquire_token_for_client([SCOPE])["access_token"]


def test_entra_wrong_secret(entra):
    with by_secret(entra, "wrong") as credential, pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        credential.get_token(SCOPE)


def test_entra_expiry_and_revocation(entra):
    entra.tokens.lifetime = 1
    with by_secret(entra) as credential:
        token = credential.get_token(SCOPE)
        assert token.expires_on - time.time() <= 1
        entra.tokens.issued()[0].expires = time.time()
        assert entra.tokens.refusal(token.token, {COGNITIVE}) == "expired"
        entra.tokens.lifetime = 3600
        token = credential.get_token(SCOPE)  # asks again
        entra.tokens.revoke()
        assert entra.tokens.refusal(token.token, {COGNITIVE}) == "revoked"
    assert entra.tokens.refusal("something else", {COGNITIVE}) == "unknown"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("rejected", "AADSTS700016"),
        ("throttled", "AADSTS90055"),
        ("unavailable", "503|Service Unavailable|JSON"),
        ("bad_json", "."),
        ("refused", "refused"),
    ],
)
def test_entra_faults(entra, fault, words):
    with by_secret(entra) as credential:
        credential.get_token(SCOPE)
        entra.fail(fault)
        with pytest.raises(ClientAuthenticationError, match=words):
            credential.get_token("https://ai.azure.com/.default")
    entra.heal()
    with by_secret(entra) as credential:  # the one before remembers for a minute that it was refused
        assert credential.get_token("https://ai.azure.com/.default").token


def test_entra_asks_to_wait(entra):
    entra.fail("throttled", times=1)
    answer = httpx2.post(f"{entra.plain_url}/x")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_entra_hangs(entra):
    entra.fail("hang")
    with by_secret(entra, read_timeout=0.2) as credential, pytest.raises(Exception, match="(?i)timed out"):
        credential.get_token(SCOPE)


@pytest.mark.parametrize("client", [None, entras.CLIENT])
def test_managed_identity(entra, pod, client):
    pod(entra.metadata_environment())
    with identity.ManagedIdentityCredential(client_id=client) as credential:
        token = credential.get_token(SCOPE)
    assert entra.tokens.refusal(token.token, {COGNITIVE}) is None
    asked = entra.last()
    assert asked.query.get("client_id") == client and asked.query["resource"] == COGNITIVE
    assert asked.headers["metadata"] == "true"


def test_managed_identity_that_is_not_assigned(entra, pod):
    pod(entra.metadata_environment())
    entra.identities = set()
    with identity.ManagedIdentityCredential() as credential:
        with pytest.raises(identity.CredentialUnavailableError, match="Identity not found"):
            credential.get_token(SCOPE)


@pytest.mark.parametrize("left_out", ["header", "version", "resource"])
def test_metadata_of_azure_asks_for_all_of_its_marks(entra, left_out):
    query = {"api-version": entras.METADATA_VERSION, "resource": COGNITIVE}
    query.pop({"version": "api-version"}.get(left_out, left_out), None)
    headers = {} if left_out == "header" else {"Metadata": "true"}
    answer = httpx2.get(f"{entra.plain_url}/metadata/identity/oauth2/token", params=query, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


# Google


def refreshed(credentials):
    credentials.refresh(google.auth.transport.requests.Request())
    return credentials


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_google_by_key(google_identity, authority, monkeypatch, tls):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
    made = service_account.Credentials.from_service_account_info
    credentials = refreshed(made(google_identity.service_account(tls), scopes=[googles.CLOUD_PLATFORM]))
    assert google_identity.refusal(credentials.token) is None and credentials.valid
    assert google_identity.tokens.issued()[0].holder == googles.EMAIL


@pytest.mark.parametrize("wrong", ["client_email", "private_key_id", "private_key", "scope"])
def test_google_checks_what_a_key_signs(google_identity, wrong):
    account = google_identity.service_account()
    if wrong == "private_key":
        account["private_key"] = googles.pem(googles.new_key())
    elif wrong != "scope":
        account[wrong] = "wrong"
    scopes = ["https://www.googleapis.com/auth/userinfo.email" if wrong == "scope" else googles.CLOUD_PLATFORM]
    credentials = service_account.Credentials.from_service_account_info(account, scopes=scopes)
    if wrong == "scope":  # a token is had, but not one for the cloud
        assert google_identity.refusal(refreshed(credentials).token) == "scope"
        return
    with pytest.raises(google.auth.exceptions.RefreshError, match="invalid_grant"):
        refreshed(credentials)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"aud": "https://oauth2.example.com/token"}, "audience"),
        ({"exp": 3601}, "short-lived"),
        ({"iat": -4000, "exp": -1000}, "timeframe"),
        ({"scope": ""}, "scope"),
    ],
    ids=["audience", "too-long", "expired", "no-scope"],
)
def test_google_checks_the_claims(google_identity, wrong, words):
    account, now = google_identity.service_account(), int(time.time())
    claims = {"iss": googles.EMAIL, "aud": account["token_uri"], "iat": 0, "exp": 3600, "scope": "x", **wrong}
    claims.update(iat=now + claims["iat"], exp=now + claims["exp"])
    signer = google.auth.crypt.RSASigner.from_service_account_info(account)
    form = {"grant_type": googles.JWT_BEARER, "assertion": google.auth.jwt.encode(signer, claims).decode()}
    answer = httpx2.post(account["token_uri"], data=form)
    assert answer.status_code == 400 and words in answer.json()["error_description"]


def by_default(account, monkeypatch, google_identity, tmp_path):
    for name, value in google_identity.environment(tmp_path, account).items():
        monkeypatch.setenv(name, value)
    credentials, project = google.auth.default(scopes=[googles.CLOUD_PLATFORM])
    assert project == googles.PROJECT
    return credentials


@pytest.mark.parametrize("impersonate", [False, True], ids=["direct", "impersonated"])
def test_google_by_federation(google_identity, monkeypatch, tmp_path, impersonate):
    account = google_identity.external_account(tmp_path, impersonate)
    credentials = refreshed(by_default(account, monkeypatch, google_identity, tmp_path))
    assert google_identity.refusal(credentials.token) is None
    holders = [token.holder for token in google_identity.tokens.issued()]
    assert holders == ([googles.EMAIL] if impersonate else [])
    assert len(google_identity.federated.issued()) == 1


def test_google_refuses_to_impersonate(google_identity, monkeypatch, tmp_path):
    account = google_identity.external_account(tmp_path, impersonate=True)
    place = "service_account_impersonation_url"
    account[place] = account[place].replace("gateway", "other")
    credentials = by_default(account, monkeypatch, google_identity, tmp_path)
    with pytest.raises(google.auth.exceptions.RefreshError, match="NOT_FOUND"):
        refreshed(credentials)


def test_google_takes_the_present_token_of_a_pod_only(google_identity, monkeypatch, tmp_path):
    account = google_identity.external_account(tmp_path)
    google_identity.rotate()
    credentials = by_default(account, monkeypatch, google_identity, tmp_path)
    with pytest.raises(google.auth.exceptions.OAuthError, match="invalid_grant"):
        refreshed(credentials)
    google_identity.rotate(tmp_path / "google-subject-token")
    assert google_identity.refusal(refreshed(credentials).token) is None


def test_google_by_metadata(google_identity):
    """In a process of its own: the library reads these variables when it is imported."""
    program = """if True:
        import google.auth, google.auth.transport.requests, json
        credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        credentials.refresh(google.auth.transport.requests.Request())
        print(json.dumps([credentials.token, project, credentials.service_account_email]))
    """
    environment = {**os.environ, **google_identity.metadata_environment()}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30)
    assert said.returncode == 0, said.stderr
    token, project, email = json.loads(said.stdout)
    assert (google_identity.refusal(token), project, email) == (None, googles.PROJECT, googles.EMAIL)
    assert all(request.headers["metadata-flavor"] == "Google" for request in google_identity.received())


def test_metadata_of_google_asks_for_its_flavor(google_identity):
    url = f"{google_identity.plain_url}/computeMetadata/v1/instance/service-accounts/default/token"
    assert httpx2.get(url).status_code == 403
    answer = httpx2.get(url, headers={"Metadata-Flavor": "Google"})
    assert answer.headers["metadata-flavor"] == "Google" and answer.json()["expires_in"] == 3600


@pytest.mark.parametrize("fault", ["rejected", "bad_json", "refused"])
def test_google_faults(google_identity, fault):
    made = service_account.Credentials.from_service_account_info
    credentials = made(google_identity.service_account(), scopes=[googles.CLOUD_PLATFORM])
    google_identity.fail(fault)
    # What is no JSON is not foreseen by the library.
    with pytest.raises(TypeError if fault == "bad_json" else google.auth.exceptions.GoogleAuthError):
        refreshed(credentials)
    google_identity.heal()
    assert google_identity.refusal(refreshed(credentials).token) is None
    google_identity.revoke()
    assert google_identity.refusal(credentials.token) == "revoked"


@pytest.mark.parametrize("fault", ["throttled", "unavailable"])
def test_google_is_asked_again_after_a_fault_that_passes(google_identity, fault):
    made = service_account.Credentials.from_service_account_info
    credentials = made(google_identity.service_account(), scopes=[googles.CLOUD_PLATFORM])
    google_identity.fail(fault, times=1)
    assert google_identity.refusal(refreshed(credentials).token) is None
    assert len(google_identity.received()) == 2


# AWS


def chain():
    """The credentials that botocore finds by itself, asked for."""
    return converse_driver.session().get_credentials().get_frozen_credentials()


def test_web_identity(aws_identity, pod, tmp_path):
    pod(aws_identity.environment(tmp_path))
    found = chain()
    key = aws_identity.find(found.access_key)
    assert (key.secret, key.token, key.role) == (found.secret_key, found.token, aws.ROLE)
    asked = aws_identity.last()
    assert "authorization" not in asked.headers and asked.form["WebIdentityToken"] == aws_identity.web_identity


def test_sts_takes_the_present_token_of_a_pod_only(aws_identity, pod, tmp_path):
    pod({**aws_identity.environment(tmp_path), "AWS_MAX_ATTEMPTS": "1"})
    aws_identity.rotate()
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidIdentityToken"):
        chain()
    aws_identity.rotate(tmp_path / "aws-web-identity-token")
    assert aws_identity.find(chain().access_key)


def test_pod_identity(aws_identity, pod, tmp_path):
    pod(aws_identity.pod_environment(tmp_path))
    found = chain()
    key = aws_identity.find(found.access_key)
    assert (key.secret, key.token, key.role) == (found.secret_key, found.token, aws.ROLE)
    assert aws_identity.last().headers["authorization"] == aws_identity.pod_token


def test_pod_identity_takes_the_present_token_only(aws_identity, pod, tmp_path, monkeypatch):
    monkeypatch.setattr(botocore.utils.ContainerMetadataFetcher, "SLEEP_TIME", 0)
    pod(aws_identity.pod_environment(tmp_path))
    aws_identity.rotate()
    with pytest.raises(botocore.exceptions.CredentialRetrievalError, match="403"):
        chain()


@pytest.mark.parametrize(("fault", "words"), [("rejected", "403"), ("unavailable", "503"), ("bad_json", "JSON")])
def test_faults_of_pod_identity(aws_identity, pod, tmp_path, monkeypatch, fault, words):
    monkeypatch.setattr(botocore.utils.ContainerMetadataFetcher, "SLEEP_TIME", 0)
    pod(aws_identity.pod_environment(tmp_path))
    aws_identity.fail(fault)
    with pytest.raises(botocore.exceptions.CredentialRetrievalError, match=words):
        chain()
    aws_identity.fail(fault, times=1)  # it is asked again
    assert aws_identity.find(chain().access_key)


def sts(aws_identity, **more):
    key = aws_identity.static
    keys = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret}
    return converse_driver.client("sts", aws_identity.url, **{"region_name": aws.REGION, **keys, **more})


def test_assume_role_tells_who_spends(aws_identity):
    tags = [{"Key": "team", "Value": "Größe"}, {"Key": "token", "Value": "default/ci"}]
    told = sts(aws_identity).assume_role(RoleArn=aws.OTHER_ROLE, RoleSessionName="default-ci", Tags=tags)
    key = aws_identity.find(told["Credentials"]["AccessKeyId"])
    assert (key.role, key.session) == (aws.OTHER_ROLE, "default-ci")
    assert key.tags == {"team": "Größe", "token": "default/ci"}
    assert told["AssumedRoleUser"]["Arn"].endswith(":assumed-role/team/default-ci")
    assert 3590 < told["Credentials"]["Expiration"].timestamp() - time.time() <= 3600


def test_assume_role_with_a_role(aws_identity, pod, tmp_path):
    """A role's keys have a token, which is signed too."""
    pod(aws_identity.environment(tmp_path))
    first = chain()
    keys = {"aws_access_key_id": first.access_key, "aws_secret_access_key": first.secret_key}
    client = sts(aws_identity, **keys, aws_session_token=first.token)
    told = client.assume_role(RoleArn=aws.OTHER_ROLE, RoleSessionName="x1", DurationSeconds=900)
    assert 890 < aws_identity.find(told["Credentials"]["AccessKeyId"]).expires - time.time() <= 900


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"aws_access_key_id": "AKIAUNKNOWN"}, "InvalidClientTokenId"),
        ({"aws_session_token": "not its own"}, "InvalidClientTokenId"),
        ({"region_name": "eu-west-1"}, "SignatureDoesNotMatch"),
    ],
    ids=["secret", "id", "token", "region"],
)
def test_assume_role_verifies_the_signature(aws_identity, more, code):
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        sts(aws_identity, **more).assume_role(RoleArn=aws.OTHER_ROLE, RoleSessionName="x1")
    assert raised.value.response["Error"]["Code"] == code


def test_assume_role_that_is_not_allowed(aws_identity):
    with pytest.raises(botocore.exceptions.ClientError, match="not authorized to perform: sts:AssumeRole"):
        sts(aws_identity).assume_role(RoleArn="arn:aws:iam::123456789012:role/none", RoleSessionName="x1")


@pytest.mark.parametrize(
    ("fault", "words"),
    [("rejected", "AccessDenied"), ("throttled", "Throttling"), ("unavailable", "503|ServiceUnavailable")],
)
def test_sts_faults(aws_identity, fault, words):
    client = sts(aws_identity)
    aws_identity.fail(fault)
    with pytest.raises(botocore.exceptions.ClientError, match=words):
        client.assume_role(RoleArn=aws.OTHER_ROLE, RoleSessionName="x1")
    aws_identity.heal()
    assert client.assume_role(RoleArn=aws.OTHER_ROLE, RoleSessionName="x1")


def test_sts_that_is_not_there(aws_identity):
    client = sts(aws_identity)
    aws_identity.fail("refused")
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        client.assume_role(RoleArn=aws.OTHER_ROLE, RoleSessionName="x1")
    aws_identity.heal()
    assert client.assume_role(RoleArn=aws.OTHER_ROLE, RoleSessionName="x1")


def test_keys_expire_and_are_revoked(aws_identity, pod, tmp_path):
    pod(aws_identity.environment(tmp_path))
    found = chain()
    aws_identity.keys()[0].expires = time.time()
    with pytest.raises(Exception, match="ExpiredTokenException"):
        aws_identity.find(found.access_key)
    found = chain()
    aws_identity.revoke()
    with pytest.raises(Exception, match="UnrecognizedClientException"):
        aws_identity.find(found.access_key)
