"""Bedrock behind the gateway, for every SDK; and boto3 in front of it, for every kind of upstream."""

import concurrent.futures
import json
import socket
import threading
import time

import httpx2
import pytest

import converse_driver
import drivers
import gateway as gateways
import test_gateway_clouds as cloud
from clouds import aws as awses
from clouds.bedrock import Bedrock
from drivers import DRIVERS, PNG, TIME, WEATHER
from test_gateway_cloud_identities import ask, metric, until

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-pro-v1:0"
# What clients name, and the model that it leads to.
TARGETS = {"bedrock-claude": CLAUDE, "bedrock-nova": NOVA}
PAIRS = [(inbound, target) for inbound in DRIVERS for target in TARGETS]
BEARER = {"authorization": f"Bearer {gateways.TOKEN}"}
KEYS = {"secretRef": {"name": "aws"}}
ROLE = {"assumeRole": {"roleARN": awses.ROLE}}


def bedrock_spec(fake, credentials):
    return {"type": "Bedrock", "baseURL": fake.url, "bedrock": {"region": awses.REGION}, "credentials": credentials}


EMBEDDERS = {
    "amazon.titan-embed-text-v1": 3,
    "amazon.titan-embed-text-v2:0": 3,
    "cohere.embed-multilingual-v3": 1,
    "us.cohere.embed-v4:0": 1,
    "amazon.nova-2-multimodal-embeddings-v1:0": 3,
}


def manifests(bedrock, aws_identity, credentials):
    static = aws_identity.static
    values = {"accessKeyId": static.id, "secretAccessKey": static.secret, "apiKey": bedrock.key}
    text = gateways.COMMON + cloud.secret("aws", **values)
    text += cloud.provider("bedrock", bedrock_spec(bedrock, credentials))
    text += "".join(cloud.route(model, "bedrock", upstream) for model, upstream in TARGETS.items())
    return text + cloud.route("m", "bedrock", NOVA)


@pytest.fixture
def start(bedrock, aws_identity, tmp_path):
    running = []

    def begin(credentials, environment=None):
        text = manifests(bedrock, aws_identity, credentials)
        running.append(gateways.run(text, tmp_path, env=environment))
        return running[-1]

    yield begin
    for gateway in running:
        gateway.stop()


@pytest.fixture(params=PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
def pair(request):
    return request.param


@pytest.fixture(scope="module")
def shared(authority, upstream_process, tmp_path_factory):
    """A gateway for all tests in which nothing fails, with a Bedrock of its own."""
    with awses.Aws(authority) as identity, Bedrock(authority, upstream_process.url, identity) as bedrock:
        running = gateways.run(manifests(bedrock, identity, {"aws": KEYS}), tmp_path_factory.mktemp("bedrock"))
        yield running
        running.stop()


@pytest.fixture
def driver(pair, shared, upstream, connect):
    return connect(pair[0], shared.url, gateways.TOKEN, pair[1])


@pytest.fixture
def lone_driver(pair, start, connect):
    return connect(pair[0], start({"aws": KEYS}).url, gateways.TOKEN, pair[1])


def test_a_conversation(driver):
    for stream in (False, True):
        driver.history = []
        driver.user("Grüße, 世界 and all")
        answer = driver.send(stream=stream, system="Be brief.")
        assert answer.text == "You said: Grüße, 世界 and all"
        assert (answer.finish, answer.calls) == ("stop", [])
        assert answer.input_tokens > 0 and answer.output_tokens > 0
    for stream in (False, True):
        driver.history = []
        driver.user("What is the weather?")
        asked = driver.send(stream=stream, tools=[WEATHER, TIME])
        assert (asked.finish, asked.calls[0].name) == ("tools", "get_weather")
        driver.results(asked, ["sunny"] * len(asked.calls))
        answer = driver.send(stream=stream, tools=[WEATHER, TIME])
        assert answer.finish == "stop" and "sunny" in answer.text


def test_an_image(driver):
    driver.user("What is this?", images=[("image/png", PNG)])
    assert f"{len(PNG)} bytes" in driver.send(stream=True).text


@pytest.mark.parametrize(("fault", "status", "stream"), [("throttled", 429, False), ("unavailable", 503, True)])
def test_a_failure_of_bedrock(lone_driver, bedrock, fault, status, stream):
    bedrock.fail(fault)
    lone_driver.user("x")
    with pytest.raises(drivers.refusal(lone_driver, status)) as raised:
        lone_driver.send(stream=stream)
    got = drivers.status_of(raised.value)
    assert got == status or (status >= 500 and got >= 500)


@pytest.mark.parametrize("how", ["throttlingException", "error", "bad_prelude", "bad_crc", "huge", "end", "cut"])
@pytest.mark.parametrize("pair", [("openai-chat", "bedrock-nova"), ("anthropic", "bedrock-claude")], indirect=True)
def test_a_stream_that_breaks(lone_driver, bedrock, how):
    """After some events: an error to the SDK, never an answer that looks complete."""
    bedrock.break_stream(how, after=4)
    lone_driver.user("one two three four five six seven")
    with pytest.raises(Exception) as raised:
        lone_driver.send(stream=True)
    assert not isinstance(raised.value, (AssertionError, KeyError, AttributeError)), raised.value


@pytest.mark.parametrize("kind", ["api-key", "keys", "irsa", "pod-identity", "assumed"])
def test_identities(kind, start, bedrock, aws_identity, tmp_path):
    environment = {
        "pod-identity": aws_identity.pod_environment,
        "irsa": aws_identity.environment,
        "assumed": aws_identity.environment,
    }.get(kind, lambda _: {})(tmp_path)
    credentials = {
        "api-key": {"apiKey": {"secretRef": {"name": "aws"}}},
        "keys": {"aws": KEYS},
        "assumed": {"aws": {"workloadIdentity": ROLE}},
    }.get(kind, {"aws": {"workloadIdentity": {}}})
    gateway = start(credentials, environment)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(gateway), range(24)))
    assert {status for status, _ in answers} == {200}, answers
    assert len(aws_identity.keys()) == {"api-key": 0, "keys": 0, "assumed": 2}.get(kind, 1)


def test_a_clock_that_is_wrong_is_the_gateways_fault(start, bedrock):
    gateway = start({"aws": KEYS})
    bedrock.clock = type(bedrock.clock)(minutes=20)
    status, said = ask(gateway)
    assert status == 502 and "signature" not in said.lower(), said


def test_a_role_that_is_refused(start, aws_identity, tmp_path):
    aws_identity.fail("rejected")
    gateway = start({"aws": {"workloadIdentity": {}}}, aws_identity.environment(tmp_path))
    assert ask(gateway)[0] == 502
    assert "AWS STS" in gateway.wait_for(r"(.*identity of this AIProvider is refused.*)")
    assert metric(gateway, "routeapi_provider_credentials_rejected") == 1
    aws_identity.heal()
    until(lambda: ask(gateway)[0] == 200)


def calls(fake):
    return [request.path.rsplit("/", 1)[1] for request in fake.received()]


def test_another_surface_serves_and_is_remembered(start, bedrock, connect):
    bedrock.not_on_route = {("invoke", CLAUDE), ("converse", NOVA)}
    gateway = start({"aws": KEYS})

    def ask_on(inbound, target, stream):
        driver = connect(inbound, gateway.url, gateways.TOKEN, target)
        bedrock.forget()
        driver.user("a b c")
        answer = driver.send(stream=stream)
        assert answer.text == "You said: a b c" and answer.input_tokens > 0
        return calls(bedrock)

    assert ask_on("anthropic", "bedrock-claude", False) == ["invoke", "converse"]
    assert ask_on("anthropic", "bedrock-claude", True) == ["converse-stream"], "the lesson holds"
    assert ask_on("openai-chat", "bedrock-nova", True) == ["converse-stream", "completions"]
    assert ask_on("openai-chat", "bedrock-nova", False) == ["completions"]
    # What was closed is open again, and the other is not.
    bedrock.not_on_route = {("converse", CLAUDE)}
    assert ask_on("anthropic", "bedrock-claude", False) == ["converse", "invoke"]
    assert ask_on("anthropic", "bedrock-claude", False) == ["invoke"]
    assert metric(gateway, "routeapi_upstream_ready") == len(TARGETS) + 1, "no failure is counted"


def test_a_model_that_nothing_serves_is_told_in_bedrocks_words(start, bedrock):
    bedrock.not_on_route = {("converse", NOVA), ("openai", NOVA)}
    status, said = ask(start({"aws": KEYS}))
    assert status == 404 and "isn't supported on this route" in said, said
    assert len(bedrock.received()) <= 4


# The endpoint of vendors' own APIs.

MANTLE = {
    "mantle-claude": "anthropic.claude-opus-4-7",
    "mantle-oss": "openai.gpt-oss-120b",
    "mantle-gpt": "openai.gpt-5.6-luna",
    "mantle-gemma": "google.gemma-4-31b",
    # No table knows it.
    "mantle-unknown": "example.model-1",
}


def mantle_manifests(mantle, aws_identity, credentials):
    static = aws_identity.static
    values = {"accessKeyId": static.id, "secretAccessKey": static.secret, "apiKey": mantle.key}
    spec = bedrock_spec(mantle, credentials)
    spec["bedrock"] |= {"endpoint": "Mantle"}
    text = gateways.COMMON + cloud.secret("aws", **values) + cloud.provider("mantle", spec)
    return text + "".join(cloud.route(model, "mantle", upstream) for model, upstream in MANTLE.items())


@pytest.fixture(params=["key", "signed"])
def mantle_gateway(request, mantle, aws_identity, tmp_path):
    credentials = {"apiKey": {"secretRef": {"name": "aws"}}} if request.param == "key" else {"aws": KEYS}
    running = gateways.run(mantle_manifests(mantle, aws_identity, credentials), tmp_path)
    yield running
    running.stop()


@pytest.mark.parametrize("target", MANTLE)
@pytest.mark.parametrize("inbound", DRIVERS)
def test_the_vendors_own_apis(inbound, target, mantle_gateway, mantle, connect):
    """With each SDK to each model, whole and streamed, by a key and by a signature."""
    driver = connect(inbound, mantle_gateway.url, gateways.TOKEN, target)
    for stream in (False, True):
        driver.history = []
        driver.user("Grüße, 世界 and all")
        answer = driver.send(stream=stream, system="Be brief.")
        assert (answer.text, answer.finish) == ("You said: Grüße, 世界 and all", "stop")
        assert answer.input_tokens > 0 and answer.output_tokens > 0
    prefix = {"mantle-claude": "/anthropic/v1/", "mantle-oss": "/v1/"}.get(target, "/openai/v1/")
    assert mantle.last().path.startswith(prefix)
    mantle.forget()
    driver.history = []
    driver.user("x")
    driver.send()
    assert len(mantle.received()) == 1, "what is refused is remembered"


def test_mantle_counts_tokens_for_claude(mantle_gateway, connect):
    driver = connect("anthropic", mantle_gateway.url, gateways.TOKEN, "mantle-claude")
    assert driver.count("one two three") > 0


def test_failures_of_mantle(mantle, aws_identity, tmp_path):
    running = gateways.run(mantle_manifests(mantle, aws_identity, {"aws": KEYS}), tmp_path)
    try:
        mantle.fail("throttled")
        asked = {"model": "mantle-oss", "messages": [{"role": "user", "content": "x"}]}
        answer = httpx2.post(f"{running.url}/v1/chat/completions", json=asked, headers=BEARER)
        assert answer.status_code == 429 and "Too many requests" in answer.json()["error"]["message"]
    finally:
        running.stop()


# A session for each token.

SECOND = """\
---
apiVersion: v1
kind: Secret
metadata: {name: second, namespace: default, labels: {routeapi.dev/import: "true"}}
stringData: {token: sk-second-of-the-test}
---
apiVersion: routeapi.dev/v1alpha1
kind: ApiToken
metadata: {name: second, namespace: default}
spec: {models: ["*"], secretName: second}
"""


def test_each_token_has_a_session(bedrock, aws_identity, tmp_path):
    role = {"assumeRole": {"roleARN": awses.OTHER_ROLE, "sessionPerToken": True}}
    text = manifests(bedrock, aws_identity, {"aws": {"workloadIdentity": role}}) + SECOND
    running = gateways.run(text, tmp_path, env=aws_identity.environment(tmp_path))

    def ask_as(token):
        asked = {"model": "m", "messages": [{"role": "user", "content": "a b"}]}
        bearer = {"authorization": f"Bearer {token}"}
        answer = httpx2.post(f"{running.url}/v1/chat/completions", json=asked, headers=bearer, timeout=20)
        assert answer.status_code == 200, answer.text
        shown = bedrock.last().headers["x-amz-security-token"]
        [key] = [key for key in aws_identity.keys() if key.token == shown]
        return key

    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            statuses = {status for status, _ in pool.map(lambda _: ask(running), range(16))}
        assert statuses == {200}
        sessions = lambda: [key.session for key in aws_identity.keys() if key.role == awses.OTHER_ROLE]
        assert sorted(sessions()) == ["default.clients", "routeapi"], "one for the token, one for the gateway itself"
        first, second = ask_as(gateways.TOKEN), ask_as("sk-second-of-the-test")
        assert (first.session, second.session) == ("default.clients", "default.second")
        assert second.tags == {"routeapi-namespace": "default", "routeapi-token": "second"}
        assert ask_as(gateways.TOKEN) is first and ask_as("sk-second-of-the-test") is second
        # A session that is taken away is replaced, and only that one; younger ones are not replaced.
        age = time.monotonic()
        until(lambda: time.monotonic() - age > 10.5)
        first.revoked = True
        assert ask_as(gateways.TOKEN).session == "default.clients"
        assert ask_as("sk-second-of-the-test") is second
    finally:
        running.stop()


@pytest.fixture
def embedder(bedrock, aws_identity, tmp_path):
    """A gateway in which each embedding model has its own name."""
    text = manifests(bedrock, aws_identity, {"aws": KEYS})
    text += "".join(cloud.route(f"embed-{number}", "bedrock", model) for number, model in enumerate(EMBEDDERS))
    running = gateways.run(text, tmp_path)
    yield running
    running.stop()


@pytest.mark.parametrize("inbound", ["openai-chat", "gemini"])
def test_embeddings(inbound, embedder, bedrock, connect):
    """As many vectors as texts, each that of its text, in as many calls as the model needs."""
    texts = ["first text", "second", "and a third one"]
    for number, (model, calls) in enumerate(EMBEDDERS.items()):
        driver = connect(inbound, embedder.url, gateways.TOKEN, f"embed-{number}")
        bedrock.forget()
        vectors, tokens = driver.embed(texts)
        assert len(bedrock.received()) == calls, model
        assert tokens in (7, None)
        assert len(vectors) == 3 and [driver.embed([text])[0][0] for text in texts] == vectors


def test_dimensions_and_errors_of_embeddings(embedder, bedrock):
    def embed(number, **more):
        asked = {"model": f"embed-{number}", "input": "a b", **more}
        answer = httpx2.post(f"{embedder.url}/v1/embeddings", json=asked, headers=BEARER)
        return answer.status_code, answer.json()

    for number, status in [(0, 400), (1, 200), (2, 400), (3, 200), (4, 200)]:
        got, body = embed(number, dimensions=256)
        assert got == status, body
        said = body["error"]["message"] if status == 400 else len(body["data"][0]["embedding"])
        assert said == 256 or "dimensions" in said
    got, body = embed(1, dimensions=8)
    assert got == 400 and "not one of" in body["error"]["message"]
    bedrock.fail("throttled")
    assert embed(4)[0] == 429


# boto3 in front of the gateway.


class Tls:
    """What ends TLS in front of a gateway: boto3 sends no token without it."""

    def __init__(self, authority, url):
        self.target = url.removeprefix("http://").split(":")
        self.context = authority.context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        client = self.context.wrap_socket(plain, server_side=True)
        gateway = socket.create_connection((self.target[0], int(self.target[1])))
        back = threading.Thread(target=self._copy, args=(gateway, client), daemon=True)
        back.start()
        self._copy(client, gateway)

    @staticmethod
    def _copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


@pytest.fixture
def boto(gateway, authority, monkeypatch):
    """boto3 as an app uses it: another endpoint, and our token in the place of a key."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", gateways.TOKEN)
    front = Tls(authority, gateway.url)
    made = []

    def make(model):
        made.append(converse_driver.Converse(front.url, {"verify": str(authority.ca_file)}, model))
        return made[-1]

    yield make
    for driver in made:
        driver.close()
    front.close()


@pytest.mark.parametrize("behind", ["chat", "responses", "anthropic", "gemini"])
def test_boto3_reaches_every_kind_of_upstream(boto, upstream, behind):
    driver = boto(gateways.MODELS[behind])
    for stream in (False, True):
        driver.history = []
        driver.user("Grüße, 世界 and all")
        answer = driver.send(stream=stream, system="Be brief.", temperature=0)
        assert (answer.text, answer.finish) == ("You said: Grüße, 世界 and all", "stop")
        truth = upstream.truth()
        assert (answer.input_tokens, answer.output_tokens) == (truth["input_tokens"], truth["output_tokens"])
        driver.history = []
        driver.user("What is the weather?")
        asked = driver.send(stream=stream, tools=[WEATHER, TIME])
        assert (asked.finish, asked.calls[0].name) == ("tools", "get_weather")
        driver.results(asked, ["sunny"])
        assert driver.send(stream=stream, tools=[WEATHER, TIME]).text == "The tool said: sunny"
    driver.history = []
    driver.user("What is this?", images=[("image/png", PNG)])
    assert f"{len(PNG)} bytes" in driver.send(stream=True).text


def test_boto3_is_told_of_errors(boto, upstream):
    driver = boto("nobody-serves-this")
    driver.user("x")
    with pytest.raises(driver.client.exceptions.ResourceNotFoundException, match="nobody-serves-this"):
        driver.send()
    driver = boto(gateways.MODELS["chat"])
    driver.user("one two three four five")
    upstream.script(error_after=3)
    with pytest.raises(converse_driver.botocore.exceptions.EventStreamError):
        driver.send(stream=True)
