"""Tokens of identities: each way to get one, and what goes wrong with them. No request fails that a valid token could serve."""

import concurrent.futures
import json
import re
import time
import urllib.error
import urllib.request

import pytest

import gateway as gateways
import test_gateway_clouds as cloud

# By its name: what the AIProvider says. The rest is in the gateway's environment.
IDENTITIES = {
    "azure-workload": {"azure": {"workloadIdentity": {}}},
    "azure-managed": {"azure": {"managedIdentity": {}}},
    "azure-secret": None,
    "google-metadata": {"google": {"workloadIdentity": {}}},
    "google-key": {"google": {"serviceAccountKey": cloud.key_of("cloud", "google")}},
    "google-federated": {"google": {"workloadIdentity": {}}},
    "google-impersonated": {"google": {"workloadIdentity": {}}},
}
EVERY = pytest.mark.parametrize("identity", IDENTITIES, indirect=True)
# One that goes over TLS with a file, one that is local, one that is signed.
SOME = pytest.mark.parametrize("identity", ["azure-workload", "google-metadata", "google-key"], indirect=True)


class Identity:
    """What a gateway needs to have an identity, and who issues its tokens."""

    def __init__(self, name, azure, vertex, entra, google_identity, directory):
        self.name, self.directory = name, directory
        self.on_azure = name.startswith("azure")
        self.issuer = entra if self.on_azure else google_identity
        self.api = azure if self.on_azure else vertex
        self.environment = {"SSL_CERT_FILE": str(entra.authority.ca_file)}
        credentials = IDENTITIES[name] or {"azure": {"clientSecret": self._client()}}
        if self.on_azure:
            self.environment |= {**entra.environment(directory), **entra.metadata_environment()}
            spec = cloud.azure_spec(azure, credentials)
        else:
            spec = cloud.vertex_spec(vertex, credentials["google"])
            if name in ("google-federated", "google-impersonated"):
                account = google_identity.external_account(directory, name == "google-impersonated", tls=True)
                self.environment |= google_identity.environment(directory, account)
            else:
                self.environment |= google_identity.metadata_environment()
        model = "scripted-large" if self.on_azure else "gemini-2.5-pro"
        values = {"client": entra.secret, "google": json.dumps(google_identity.service_account())}
        self.text = gateways.COMMON + cloud.secret("cloud", **values)
        self.text += cloud.provider("cloud", spec) + cloud.route("m", "cloud", model)

    @staticmethod
    def _client():
        key = {"name": "cloud", "key": "client"}
        return {"tenantID": cloud.entras.TENANT, "clientID": cloud.entras.CLIENT, "secretRef": key}

    def start(self):
        return gateways.run(self.text, self.directory, env=self.environment)

    @property
    def exchanges(self):
        """Whether the pod's own token is exchanged for one of the pool's."""
        return self.name in ("google-federated", "google-impersonated")

    def tokens(self):
        return (self.issuer.federated if self.exchanges else self.issuer.tokens).issued()


@pytest.fixture
def identity(request, azure, vertex, entra, google_identity, tmp_path):
    return Identity(request.param, azure, vertex, entra, google_identity, tmp_path)


@pytest.fixture
def start(identity):
    running = []

    def begin():
        running.append(identity.start())
        return running[-1]

    yield begin
    for gateway in running:
        gateway.stop()


def ask(gateway, limit=20):
    """Status and body of one small request."""
    body = {"model": "m", "messages": [{"role": "user", "content": "a b"}]}
    headers = {"authorization": f"Bearer {gateways.TOKEN}", "content-type": "application/json"}
    url = gateway.url + "/v1/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=limit) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(condition, limit=20):
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def metric(gateway, name, **labels):
    """The sum of a series' samples that have these labels."""
    admin = gateway.wait_for(r"admin .*?(http://\S+)")
    with urllib.request.urlopen(admin.rstrip("/") + "/metrics", timeout=10) as answer:
        text = answer.read().decode()
    samples = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(float(value) for found, value in samples if all(one in found for one in wanted))


@EVERY
def test_requests_share_one_token(identity, start):
    gateway = start()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(gateway), range(24)))
    assert {status for status, _ in answers} == {200}, answers
    assert len(identity.tokens()) == 1
    used = {request.bearer for request in identity.api.received()}
    # An impersonated account has a token beside the one that asked for it.
    last = identity.issuer.tokens if identity.name == "google-impersonated" else None
    assert used == {one.value for one in (last.issued() if last else identity.tokens())}


@SOME
def test_short_lives_fail_no_request(identity, start):
    identity.issuer.tokens.lifetime = 2
    gateway = start()
    until(lambda: ask(gateway)[0] == 200)
    ends, statuses = time.monotonic() + 6, []
    while time.monotonic() < ends:
        statuses.append(ask(gateway)[0])
    assert set(statuses) == {200}, statuses
    assert len(identity.tokens()) >= 4, "each was replaced before its end"


@pytest.mark.parametrize(
    ("identity", "fault"),
    [
        ("azure-workload", "rejected"),
        ("azure-workload", "throttled"),
        ("google-metadata", "rejected"),
        ("google-metadata", "refused"),
        ("google-key", "unavailable"),
        ("google-key", "bad_json"),
    ],
    indirect=["identity"],
)
def test_a_token_serves_on_while_no_other_comes(identity, start, fault):
    identity.issuer.tokens.lifetime = 4
    gateway = start()
    assert ask(gateway)[0] == 200
    identity.issuer.fail(fault)
    until(lambda: metric(gateway, "routeapi_provider_token_requests_total", outcome="success") == 1)
    outcome = "refused" if fault == "rejected" else "failed"
    until(lambda: metric(gateway, "routeapi_provider_token_requests_total", outcome=outcome) >= 1)
    assert ask(gateway)[0] == 200, "the one before has not ended"
    rejected = metric(gateway, "routeapi_provider_credentials_rejected")
    assert rejected == (1 if fault == "rejected" else 0)
    until(lambda: ask(gateway)[0] == 502)
    identity.issuer.heal()
    until(lambda: ask(gateway)[0] == 200, 30)
    until(lambda: metric(gateway, "routeapi_provider_credentials_rejected") == 0)


@SOME
def test_an_identity_that_is_refused_says_so_in_the_log_and_not_to_clients(identity, start):
    identity.issuer.fail("rejected")
    gateway = start()
    status, said = ask(gateway)
    assert status == 502 and "credentials" in said, said
    line = gateway.wait_for(r"(.*identity of this AIProvider is refused.*)")
    words = "AADSTS700016" if identity.on_azure else "status 4"
    assert words in line and words not in said
    identity.issuer.heal()
    until(lambda: ask(gateway)[0] == 200)


@pytest.mark.parametrize("identity", ["azure-workload", "google-metadata"], indirect=True)
def test_a_token_endpoint_that_hangs_holds_no_request_for_long(identity, start):
    identity.issuer.fail("hang")
    gateway = start()
    begun = time.monotonic()
    assert ask(gateway)[0] == 502
    assert 5 < time.monotonic() - begun < 15, "the first attempt's own limit"
    begun = time.monotonic()
    assert ask(gateway)[0] == 502
    assert time.monotonic() - begun < 5
    identity.issuer.heal()
    until(lambda: ask(gateway)[0] == 200, 60)


@pytest.mark.parametrize("identity", ["azure-workload", "google-federated"], indirect=True)
def test_the_pods_own_token_is_read_anew(identity, start):
    identity.issuer.tokens.lifetime = 3
    gateway = start()
    assert ask(gateway)[0] == 200
    name = "azure-identity-token" if identity.on_azure else "google-subject-token"
    identity.issuer.rotate(identity.directory / name)
    before = len(identity.tokens())
    until(lambda: len(identity.tokens()) > before)
    assert ask(gateway)[0] == 200


@pytest.mark.parametrize("identity", ["azure-workload"], indirect=True)
def test_what_is_missing_in_a_pod_is_named(identity, start):
    del identity.environment["AZURE_FEDERATED_TOKEN_FILE"]
    gateway = start()
    assert ask(gateway)[0] == 502
    assert "azure.workload.identity/use" in gateway.wait_for(r"(.*AZURE_FEDERATED_TOKEN_FILE is not set.*)")


@SOME
def test_a_token_that_is_revoked_before_its_end_is_replaced(identity, start):
    gateway = start()
    assert ask(gateway)[0] == 200
    age = time.monotonic()
    until(lambda: time.monotonic() - age > 10.5)  # younger ones are not replaced
    tokens = identity.tokens()
    identity.issuer.tokens.revoke()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(gateway), range(16)))
    assert {status for status, _ in answers} == {200}, answers
    assert len(identity.tokens()) == len(tokens) + 1, "one for all of them"


@pytest.mark.parametrize("identity", ["azure-workload"], indirect=True)
def test_rejections_do_not_make_the_gateway_fetch_tokens(identity, start):
    gateway = start()
    assert ask(gateway)[0] == 200
    identity.api.entra.tokens.revoke()
    assert {ask(gateway)[0] for _ in range(10)} == {502}, "the token is younger than ten seconds"
    assert len(identity.tokens()) == 1
