"""Every SDK through the gateway to each cloud: with a key, and with each identity that a pod can have.

The SDK judges what comes out; the fakes, which vendors' own SDKs have judged (test_cloud_truth.py), judge what goes in.
"""

import json

import pytest

import drivers
import gateway as gateways
from clouds import entra as entras, google as googles
from clouds.azure_openai import AzureOpenAI
from clouds.vertex import Vertex
from drivers import DRIVERS, PNG, TIME, WEATHER

WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

# What clients name, and where it leads: the AIProvider and the model there.
TARGETS = {
    "azure": ("azure-key", "scripted-large"),
    "azure-dated": ("azure-dated", "scripted-large"),
    "azure-claude": ("azure-workload", "claude"),
    "vertex-gemini": ("vertex-metadata", "gemini-2.5-pro"),
    "vertex-claude": ("vertex-key", "claude-sonnet-4-5@20250929"),
    "vertex-mistral": ("vertex-key", "mistral-large-2411"),
    "vertex-open": ("vertex-metadata", "meta/llama-4"),
}
PAIRS = [(inbound, target) for inbound in DRIVERS for target in TARGETS]


def secret(name, **values):
    data = "".join(f"\n  {key}: {json.dumps(value)}" for key, value in values.items())
    return f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: default}}\nstringData:{data}\n"


def provider(name, spec):
    return (
        "---\napiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\n"
        f"metadata: {{name: {name}, namespace: default}}\nspec: {json.dumps(spec)}\n"
    )


def route(model, provider, upstream):
    spec = {
        "model": model,
        "upstreams": [{"name": "only", "providerRef": {"name": provider}, "model": upstream}],
        "fallback": {"maxAttempts": 1},
    }
    return (
        "---\napiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\n"
        f"metadata: {{name: {model}, namespace: default}}\nspec: {json.dumps(spec)}\n"
    )


def azure_spec(fake, credentials, **more):
    return {"type": "AzureOpenAI", "baseURL": fake.url, "credentials": credentials, **more}


def vertex_spec(fake, google, location="global"):
    place = {"project": googles.PROJECT, "location": location}
    return {"type": "VertexAI", "baseURL": fake.url, "vertexAI": place, "credentials": {"google": google}}


def key_of(name, key="key"):
    return {"secretRef": {"name": name, "key": key}}


def manifests(azure, vertex, google_identity, entra):
    client = {"tenantID": entras.TENANT, "clientID": entras.CLIENT, "secretRef": {"name": "cloud", "key": "client"}}
    providers = {
        "azure-key": azure_spec(azure, {"apiKey": key_of("cloud", "azure")}),
        "azure-dated": azure_spec(
            azure, {"azure": {"clientSecret": client}}, azureOpenAI={"apiVersion": "2025-04-01-preview"}
        ),
        "azure-workload": azure_spec(azure, {"azure": {"workloadIdentity": {}}}),
        "azure-managed": azure_spec(azure, {"azure": {"managedIdentity": {}}}),
        "vertex-metadata": vertex_spec(vertex, {"workloadIdentity": {}}),
        "vertex-key": vertex_spec(vertex, {"serviceAccountKey": key_of("cloud", "google")}, "us-east5"),
    }
    keys = {
        "azure": azure.key,
        "client": entra.secret,
        "google": json.dumps(google_identity.service_account()),
    }
    text = gateways.COMMON + secret("cloud", **keys)
    text += "".join(provider(name, spec) for name, spec in providers.items())
    return text + "".join(route(model, *leads) for model, leads in TARGETS.items())


def start(azure, vertex, google_identity, entra, directory):
    """A gateway that has the identity of a pod in each cloud."""
    environment = {
        **entra.environment(directory),
        **entra.metadata_environment(),
        **google_identity.metadata_environment(),
    }
    return gateways.run(manifests(azure, vertex, google_identity, entra), directory, env=environment)


@pytest.fixture
def clouds(azure, vertex, google_identity, entra, tmp_path):
    """One for a test that makes clouds fail, which the next is not to feel."""
    running = start(azure, vertex, google_identity, entra, tmp_path)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def shared(authority, upstream_process, tmp_path_factory):
    """One for all tests in which nothing fails, with clouds of its own."""
    url = upstream_process.url
    with entras.Entra(authority) as entra, googles.Google(authority) as google_identity:
        with AzureOpenAI(authority, url, entra) as azure, Vertex(authority, url, google_identity) as vertex:
            running = start(azure, vertex, google_identity, entra, tmp_path_factory.mktemp("clouds"))
            yield running
            running.stop()


@pytest.fixture(params=PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
def pair(request):
    return request.param


@pytest.fixture
def driver(pair, shared, upstream, connect):
    return connect(pair[0], shared.url, gateways.TOKEN, pair[1])


@pytest.fixture
def lone_driver(pair, clouds, connect):
    return connect(pair[0], clouds.url, gateways.TOKEN, pair[1])


def usage_is_true(upstream, answer):
    truth = upstream.truth()
    assert (answer.input_tokens, answer.output_tokens) == (truth["input_tokens"], truth["output_tokens"])
    assert truth["outcome"] == "completed"


def test_a_conversation(driver, upstream, pair):
    """All in one gateway's life: text, an image, and tools there and back, whole and streamed."""
    upstream.script(cached_tokens=2)
    for stream in (False, True):
        driver.history = []
        driver.user("Grüße, 世界 and all")
        answer = driver.send(stream=stream, system="Be brief.")
        assert answer.text == "You said: Grüße, 世界 and all"
        assert (answer.finish, answer.calls) == ("stop", [])
        usage_is_true(upstream, answer)
        assert (answer.pieces >= 5) is stream
    upstream.script(parallel_tools=True)
    for stream in (False, True):
        driver.history = []
        driver.user("What is the weather?")
        asked = driver.send(stream=stream, tools=[WEATHER, TIME])
        assert (asked.finish, [call.name for call in asked.calls]) == ("tools", ["get_weather", "get_time"])
        driver.results(asked, ["sunny", "noon"])
        answer = driver.send(stream=stream, tools=[WEATHER, TIME])
        assert (answer.text, answer.finish) == ("The tool said: sunny | noon", "stop")
        usage_is_true(upstream, answer)


def test_an_image(driver):
    driver.user("What is this?", images=[("image/png", PNG)])
    assert driver.send(stream=True).text == f"I see image/png of {len(PNG)} bytes. You said: What is this?"


@pytest.mark.parametrize(("fault", "status", "stream"), [("throttled", 429, False), ("unavailable", 503, True)])
def test_a_failure_of_the_cloud(lone_driver, azure, vertex, fault, status, stream):
    azure.fail(fault)
    vertex.fail(fault)
    lone_driver.user("x")
    with pytest.raises(drivers.refusal(lone_driver, status)) as raised:
        lone_driver.send(stream=stream)
    got = drivers.status_of(raised.value)
    assert got == status or (status >= 500 and got >= 500)


def test_a_stream_that_breaks_off(lone_driver, upstream):
    upstream.script(cut={"at": {"events": 5}, "how": "close"})
    lone_driver.user("one two three four five six seven")
    with pytest.raises(Exception) as raised:
        lone_driver.send(stream=True)
    assert not isinstance(raised.value, AssertionError)


@pytest.mark.parametrize("inbound", DRIVERS)
def test_azures_filters_say_nothing_in_an_answer(inbound, azure, clouds, connect):
    """The prompt's chunk before the text, and the asynchronous filter's behind it (hard cases 234, 235)."""
    azure.filters_later = True
    driver = connect(inbound, clouds.url, gateways.TOKEN, "azure")
    driver.user("a b c")
    answer = driver.send(stream=True)
    assert (answer.text, answer.finish) == ("You said: a b c", "stop")


@pytest.mark.parametrize("inbound", DRIVERS)
@WAYS
def test_azures_blocked_prompt(inbound, azure, clouds, connect, stream):
    azure.fail("blocked")
    driver = connect(inbound, clouds.url, gateways.TOKEN, "azure")
    driver.user("x")
    with pytest.raises(drivers.refusal(driver, 400)) as raised:
        driver.send(stream=stream)
    assert "content" in str(raised.value)


def test_an_old_version_of_azures_is_not_asked_for_usage(azure, entra, google_identity, vertex, tmp_path, connect):
    azure.refuses_stream_options = True
    spec = azure_spec(azure, {"apiKey": key_of("cloud", "azure")}, azureOpenAI={"apiVersion": "2024-06-01"})
    text = gateways.COMMON + secret("cloud", azure=azure.key) + provider("old", spec)
    running = gateways.run(text + route("m", "old", "scripted-large"), tmp_path)
    try:
        driver = connect("openai-chat", running.url, gateways.TOKEN, "m")
        driver.user("a b c")
        assert driver.send(stream=True).text == "You said: a b c"
        assert len(azure.received()) == 1, "it is known beforehand"
    finally:
        running.stop()


@pytest.mark.parametrize("target", ["azure-claude", "vertex-gemini", "vertex-claude"])
@pytest.mark.parametrize("inbound", ["anthropic", "gemini"])
def test_tokens_are_counted(inbound, target, clouds, connect):
    driver = connect(inbound, clouds.url, gateways.TOKEN, target)
    assert driver.count("one two three") > 0


@pytest.mark.parametrize("model", ["text-embedding-005", "gemini-embedding-001", "gemini-embedding-2"])
@pytest.mark.parametrize("inbound", ["openai-chat", "gemini"])
def test_embeddings_of_vertex(inbound, model, vertex, google_identity, tmp_path, connect):
    text = gateways.COMMON + provider("vertex", vertex_spec(vertex, {"workloadIdentity": {}}))
    running = gateways.run(text + route("m", "vertex", model), tmp_path, env=google_identity.metadata_environment())
    try:
        driver = connect(inbound, running.url, gateways.TOKEN, "m")
        vectors, _ = driver.embed(["first text", "second"])
        assert len(vectors) == 2 and vectors[0] != vectors[1]
        verb = "embedContent" if model == "gemini-embedding-2" else "predict"
        calls = [request.path for request in vertex.received()]
        assert len(calls) == (1 if model == "text-embedding-005" else 2)
        assert all(call.endswith(f"/publishers/google/models/{model}:{verb}") for call in calls)
    finally:
        running.stop()
