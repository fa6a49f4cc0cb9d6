"""Official SDKs that wait: they hear heartbeats of their dialect while a slow first upstream is given up for a good second,
and their own accumulators put the answer together. What their retries do when the gateway has tried everything."""

import http.client
import json
import time
import urllib.parse

import httpx2
import pytest

import drivers
import gateway as gateways

# A second of silence is six heartbeats or so; in production they come every 15 s.
INTERVAL = 0.15
SLOW = 1.0
# Each way to ask for a stream, and the types of upstream that it reaches.
REACHED = {
    "openai-chat": ["openai", "anthropic", "gemini"],
    "openai-responses": ["openai", "anthropic", "gemini"],
    "anthropic": ["openai", "anthropic", "gemini"],
    "gemini": ["openai", "anthropic", "gemini"],
}
PAIRS = [(name, behind) for name, reached in REACHED.items() for behind in reached]
PAIRED = pytest.mark.parametrize("name, behind", PAIRS, ids=["-to-".join(pair) for pair in PAIRS])

ROUTES = """\
---
apiVersion: routeapi.dev/v1alpha1
kind: AIProvider
metadata: {{name: {dialect}, namespace: default}}
spec:
  type: {type}
  baseURL: {url}
  {endpoints}
  credentials: {{apiKey: {{secretRef: {{name: upstream-key, key: apiKey}}}}}}
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {{name: {model}, namespace: default}}
spec:
  model: {model}
  timeouts: {{firstContent: 1s}}
  upstreams:
    - {{name: slow, providerRef: {{name: {dialect}}}, model: slow}}
    - {{name: good, providerRef: {{name: {dialect}}}, model: good, priority: 1}}
"""


@pytest.fixture
def waiting(upstream_process, upstream, tmp_path, connect):
    """Makes a driver whose model is served by `slow` and then by `good`; the upstream's scripts tell what each does."""
    text = gateways.COMMON
    for dialect, model in gateways.MODELS.items():
        kind, endpoints = gateways.TYPES.get(dialect, "OpenAI"), gateways.ENDPOINTS.get(dialect, "")
        url = upstream_process.url + ("/v1" if kind == "OpenAI" else "")
        text += ROUTES.format(dialect=dialect, type=kind, url=url, model=model, endpoints=endpoints)
    running = gateways.run(text, tmp_path, "--heartbeat", f"{int(INTERVAL * 1000)}ms")
    yield lambda name, behind: connect(name, running.url, gateways.TOKEN, gateways.MODELS[behind])
    running.stop()


@PAIRED
def test_a_slow_first_upstream_is_waited_for(waiting, upstream, name, behind):
    upstream.models(slow={"stall_headers": True})
    driver = waiting(name, behind)
    driver.user("one two three four")
    began = time.monotonic()
    answer = driver.send(stream=True)
    assert time.monotonic() - began >= SLOW, "the first was waited for"
    assert (answer.text, answer.finish) == ("You said: one two three four", "stop")
    truth = upstream.truth()
    assert (answer.input_tokens, answer.output_tokens) == (truth["input_tokens"], truth["output_tokens"])
    assert len(upstream.received()) == 2


@PAIRED
def test_tool_calls_survive_heartbeats(waiting, upstream, name, behind):
    upstream.models(slow={"stall_headers": True})
    driver = waiting(name, behind)
    driver.user("What is the weather?")
    answer = driver.send(stream=True, tools=[drivers.WEATHER])
    assert [call.name for call in answer.calls] == ["get_weather"]
    assert answer.calls[0].arguments == {"city": "city №0", "days": 0, "metric": False}


@PAIRED
def test_nobody_answers(waiting, upstream, name, behind):
    """The status is 200 by then: the SDK raises the error that stands in the stream."""
    upstream.models(slow={"stall_headers": True}, good={"status": {"status": 500}})
    driver = waiting(name, behind)
    driver.user("x")
    expected = {
        "openai-chat": drivers.openai.APIError,
        # Its stream ends with response.failed: this SDK hands that on, and raises when asked for the final response.
        "openai-responses": RuntimeError,
        "anthropic": drivers.anthropic.APIError,
        "gemini": drivers.errors.APIError,
    }
    with pytest.raises(expected[name]):
        driver.send(stream=True)


PATHS = {
    "chat": ("/v1/chat/completions", {"stream": True, "messages": [{"role": "user", "content": "x"}]}),
    "responses": ("/v1/responses", {"stream": True, "input": "x"}),
    "messages": ("/v1/messages", {"stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}),
    "gemini-sse": ("/v1beta/models/{model}:streamGenerateContent?alt=sse", {}),
    "gemini-array": ("/v1beta/models/{model}:streamGenerateContent", {}),
}


@pytest.mark.parametrize("dialect", PATHS)
def test_the_first_byte_comes_within_the_interval(waiting, upstream, dialect, capsys):
    upstream.models(slow={"stall_headers": True})
    driver = waiting("openai-chat", "openai")
    path, body = PATHS[dialect]
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]} if not body else {"model": driver.model, **body}
    address = urllib.parse.urlsplit(driver.root)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    began = time.monotonic()
    headers = {"authorization": f"Bearer {driver.key}", "content-type": "application/json"}
    connection.request("POST", path.format(model=driver.model), json.dumps(body), headers)
    answer = connection.getresponse()
    first = answer.read(1)
    took = time.monotonic() - began
    asked = len(upstream.received())
    rest = answer.read()
    connection.close()
    with capsys.disabled():
        print(f"\n{dialect}: first byte after {took * 1000:.0f} ms, interval {INTERVAL * 1000:.0f} ms", end=" ")
    assert (answer.status, asked) == (200, 1), "it came before the second upstream was asked"
    assert first and b"You " in rest


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses", "anthropic"])
def test_one_call_is_not_six(waiting, upstream, name):
    """These SDKs repeat a failed call twice; told that it is of no use, they raise at once."""
    upstream.fail(500)
    driver = waiting(name, "openai")
    driver.client = driver.client.with_options(max_retries=2)
    driver.user("x")
    with pytest.raises(drivers.refusal(driver, 500)):
        driver.send()
    assert len(upstream.received()) == 2, "one for each upstream"


def test_a_wait_that_is_asked_for_is_kept(waiting, upstream):
    """With `retry-after` the SDK waits and asks again."""
    upstream.queue(*[{"status": {"status": 429}, "headers": {"retry-after": "3"}}] * 2)
    driver = waiting("openai-chat", "openai")
    driver.client = driver.client.with_options(max_retries=2)
    driver.user("x y")
    assert driver.send().text == "You said: x y"
    assert len(upstream.received()) == 3


def test_the_sdks_patience_is_not_longer_than_the_gateways():
    """`timeouts.firstContent` and `streamIdle` are 600 s where a route does not say: what the SDKs wait for a byte."""
    for sdk in (drivers.openai, drivers.anthropic):
        timeout = sdk.DEFAULT_TIMEOUT
        assert isinstance(timeout, httpx2.Timeout)
        assert timeout.read <= 600 and timeout.connect <= 5, f"{sdk.__name__}: {timeout}"
