"""Three SDKs in front of the gateway, four dialects behind it: every pair gives what the SDK would have got directly.

The SDK judges what comes out; the scripted upstream judges what goes in (it refuses what is not legal in its dialect) and
knows the true usage.
"""

import http.client
import json
import urllib.parse

import httpx2
import pytest

import drivers
import gateway as gateways
from drivers import DRIVERS, PNG, TIME, WEATHER

INBOUND = ["openai-chat", "anthropic", "gemini"]
UPSTREAMS = ["chat", "responses", "anthropic", "gemini"]
PAIRS = [(inbound, behind) for inbound in INBOUND for behind in UPSTREAMS]
# Responses has no stop sequences.
STOPPING = [pair for pair in PAIRS if pair[1] != "responses"]
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def pairs(chosen=PAIRS):
    return pytest.mark.parametrize("pair", chosen, ids=["-to-".join(pair) for pair in chosen], indirect=True)


@pytest.fixture(params=PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
def pair(request):
    return request.param


@pytest.fixture
def behind(pair):
    return pair[1]


@pytest.fixture
def driver(pair, upstream, gateway, connect):
    return connect(pair[0], gateway.url, gateways.TOKEN, gateways.MODELS[pair[1]])


@pytest.fixture
def lone_driver(pair, upstream, own_gateway, connect):
    return connect(pair[0], own_gateway.url, gateways.TOKEN, gateways.MODELS[pair[1]])


def usage_is_true(upstream, answer):
    truth = upstream.truth()
    assert (answer.input_tokens, answer.output_tokens) == (truth["input_tokens"], truth["output_tokens"])
    assert truth["outcome"] == "completed"


def setting(body, behind, chat, anthropic, gemini, responses=None):
    """A member of the upstream's request, by its name in each dialect."""
    names = {"chat": chat, "responses": responses or chat, "anthropic": anthropic, "gemini": gemini}
    if behind == "gemini":
        body = body.get("generationConfig", {})
    found = [body[name] for name in names[behind].split("|") if name in body]
    assert len(found) == 1, f"{names[behind]} in {body}"
    return found[0]


@WAYS
def test_text(driver, upstream, behind, stream):
    upstream.script(cached_tokens=2)
    driver.user("Grüße, 世界 and all")
    answer = driver.send(stream=stream)
    assert answer.text == "You said: Grüße, 世界 and all"
    assert (answer.finish, answer.calls) == ("stop", [])
    usage_is_true(upstream, answer)
    sent = upstream.last()
    assert f"upstream-{behind}" in (sent["path"] if behind == "gemini" else sent["json"]["model"])
    if stream:
        assert upstream.truth()["streamed"] and answer.pieces >= 5, "the stream arrived in one lump"


@WAYS
@pytest.mark.parametrize("parallel", [False, True], ids=["one", "parallel"])
def test_tool_round_trip(driver, upstream, behind, stream, parallel):
    upstream.script(parallel_tools=parallel)
    driver.user("What is the weather?")
    asked = driver.send(stream=stream, tools=[WEATHER, TIME])
    assert asked.finish == "tools"
    usage_is_true(upstream, asked)
    names = ["get_weather", "get_time"] if parallel else ["get_weather"]
    assert [call.name for call in asked.calls] == names
    assert asked.calls[0].arguments == {"city": "city №0", "days": 0, "metric": False}
    if driver.dialect != "gemini":
        assert len({call.id for call in asked.calls}) == len(names), "ids must differ"
    driver.results(asked, ["sunny", "noon"][: len(names)])
    answer = driver.send(stream=stream, tools=[WEATHER, TIME])
    assert answer.text == "The tool said: " + " | ".join(["sunny", "noon"][: len(names)])
    assert answer.finish == "stop"
    usage_is_true(upstream, answer)
    # The arguments go back with their 0 and false; in Chat they are JSON inside a string.
    body = upstream.last()["body"].replace('\\"', '"').replace(" ", "")
    assert '"days":0' in body and '"metric":false' in body, body


def test_tool_schema_keeps_false_and_zero(driver, upstream):
    driver.user("x")
    driver.send(tools=[WEATHER])
    body = upstream.last()["body"].replace(" ", "")
    assert '"default":false' in body and '"minimum":0' in body, body


@pairs([("openai-chat", "gemini"), ("gemini", "chat")])
def test_embeddings(driver, upstream, behind):
    vectors, tokens = driver.embed(["first text", "second"])
    assert len(vectors) == 2 and vectors[0] != vectors[1]
    # Python's OpenAI SDK asks for base64 and decodes it to 32-bit floats.
    [again], _ = driver.embed(["first text"])
    assert again == pytest.approx(vectors[0])
    if tokens is not None:
        assert tokens > 0
    sent = upstream.last()
    assert f"upstream-{behind}" in (sent["path"] if behind == "gemini" else sent["json"]["model"])


@WAYS
def test_image(driver, upstream, stream):
    driver.user("What is this?", images=[("image/png", PNG)])
    answer = driver.send(stream=stream)
    assert answer.text == f"I see image/png of {len(PNG)} bytes. You said: What is this?"


def test_system_prompt(driver, upstream, behind):
    driver.user("x")
    driver.send(system="Be brief.")
    body = upstream.last()["json"]
    if behind == "chat":
        assert body["messages"][0]["role"] in ("system", "developer")
        assert "Be brief." in json.dumps(body["messages"][0]["content"])
    elif behind == "responses":
        assert body["instructions"] == "Be brief."
    elif behind == "anthropic":
        assert "Be brief." in json.dumps(body["system"])
    else:
        assert "Be brief." in json.dumps(body["systemInstruction"])


@pytest.mark.parametrize("value", [0, 0.0, 0.7])
def test_temperature(driver, upstream, behind, value):
    driver.user("x")
    driver.send(temperature=value)
    assert setting(upstream.last()["json"], behind, "temperature", "temperature", "temperature") == value


@pairs([(a, b) for a in ("openai-chat", "anthropic") for b in ("chat", "responses", "anthropic")])
def test_one_tool_at_a_time(driver, upstream, behind):
    upstream.script(parallel_tools=True)
    driver.user("x")
    answer = driver.send(tools=[WEATHER, TIME], parallel=False)
    assert len(answer.calls) == 1
    body = upstream.last()["json"]
    if behind in ("chat", "responses"):
        assert body["parallel_tool_calls"] is False
    else:
        assert body["tool_choice"]["disable_parallel_tool_use"] is True


@pairs(STOPPING)
@WAYS
def test_stop_sequence(driver, upstream, behind, stream):
    upstream.script(text="one two END three")
    driver.user("go")
    answer = driver.send(stop=["END", "NEVER"], stream=stream)
    assert (answer.text, answer.finish) == ("one two ", "stop")
    sent = setting(upstream.last()["json"], behind, "stop", "stop_sequences", "stopSequences")
    assert sent == ["END", "NEVER"]


@WAYS
def test_output_limit(driver, upstream, behind, stream):
    # Responses takes no fewer than 16.
    asked = 16 if behind == "responses" else 3
    words = "a b c d e f g h i j k l m n o p q r s t"
    driver.user(words)
    answer = driver.send(max_tokens=asked, stream=stream)
    assert (answer.text.split(), answer.finish) == (["You", "said:", *words.split()][:asked], "length")
    limit = setting(
        upstream.last()["json"],
        behind,
        "max_tokens|max_completion_tokens",
        "max_tokens",
        "maxOutputTokens",
        "max_output_tokens",
    )
    assert limit == asked


@WAYS
@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 529])
def test_upstream_error(lone_driver, upstream, status, stream):
    upstream.fail(status, headers={"retry-after": "1"})
    lone_driver.user("x")
    with pytest.raises(drivers.refusal(lone_driver, status)) as raised:
        lone_driver.send(stream=stream)
    got = drivers.status_of(raised.value)
    assert got == status or (status >= 500 and got >= 500)


def test_html_from_a_load_balancer(lone_driver, upstream):
    upstream.script(status={"status": 502, "body": "<html>bad gateway</html>", "content_type": "text/html"})
    lone_driver.user("x")
    with pytest.raises(drivers.refusal(lone_driver, 502)):
        lone_driver.send()


@pairs([(inbound, "chat") for inbound in INBOUND])
@WAYS
def test_a_body_that_is_too_large(lone_driver, upstream, stream):
    """The answer is there before the body has gone out, and is read all the same: not a broken connection."""
    lone_driver.user("x" * (33 << 20))
    kind = drivers.errors.ClientError if lone_driver.dialect == "gemini" else lone_driver.errors.APIStatusError
    with pytest.raises(kind) as raised:
        lone_driver.send(stream=stream)
    assert drivers.status_of(raised.value) == 413
    assert "larger than 33554432 bytes" in str(raised.value)
    assert not upstream.received()


def test_error_in_mid_stream(lone_driver, upstream):
    upstream.script(error_after=3)
    lone_driver.user("one two three four five")
    expected = {
        "openai-chat": drivers.openai.APIError,
        "anthropic": drivers.anthropic.APIStatusError,
        "gemini": drivers.errors.APIError,
    }
    with pytest.raises(expected[lone_driver.name]):
        lone_driver.send(stream=True)


@pytest.mark.parametrize("how", ["close", "reset", "end"])
def test_cut_in_mid_stream(lone_driver, upstream, how):
    """A stream that breaks off is an error to the SDK, never an answer that looks complete."""
    upstream.script(cut={"at": {"events": 5}, "how": how})
    lone_driver.user("one two three four five six seven")
    expected = {
        "openai-chat": drivers.openai.APIError,
        "anthropic": drivers.anthropic.APIError,
        "gemini": drivers.errors.APIError,
    }
    with pytest.raises((expected[lone_driver.name], httpx2.HTTPError)):
        lone_driver.send(stream=True)


@pytest.mark.parametrize("name", INBOUND)
def test_wrong_token(name, upstream, gateway, connect):
    driver = connect(name, gateway.url, "sk-nobody", "via-openai")
    driver.user("x")
    with pytest.raises(drivers.refusal(driver, 401)) as raised:
        driver.send()
    assert drivers.status_of(raised.value) == 401
    assert upstream.received() == []


@pytest.mark.parametrize("name", INBOUND)
def test_unknown_model(name, upstream, gateway, connect):
    driver = connect(name, gateway.url, gateways.TOKEN, "nobody-serves-this")
    driver.user("x")
    with pytest.raises(drivers.refusal(driver, 404)) as raised:
        driver.send()
    assert drivers.status_of(raised.value) == 404
    assert "nobody-serves-this" in str(raised.value)


@pytest.mark.parametrize("name", INBOUND)
def test_models(name, gateway, connect):
    driver = connect(name, gateway.url, gateways.TOKEN, "any")
    assert sorted(driver.models()) == sorted(gateways.MODELS.values())


def test_keys_stay_on_their_side(driver, upstream, behind):
    driver.user("x")
    driver.send()
    headers = upstream.last()["headers"]
    assert gateways.TOKEN not in json.dumps(headers) + upstream.last()["path"] + upstream.last()["body"]
    assert gateways.UPSTREAM_KEY in json.dumps(headers)


# A body as no serialiser writes it: odd spaces, escapes, number spellings, members that nobody knows.
RAW = {
    "chat": (
        "/v1/chat/completions",
        '{ "x_new":{"b":1.0,"a":[1e3, 12345678901234567890]},"messages":[ {"content":"h\\u0069","role":"user"}],'
        '\n  "model" : "MODEL", "temperature":0,"store":false, "seed":null }',
    ),
    "anthropic": (
        "/v1/messages",
        '{ "x_new":{"b":1.0,"a":[1e3, 12345678901234567890]},"messages":[ {"content":"h\\u0069","role":"user"}],'
        '\n  "max_tokens":16, "model" : "MODEL", "temperature":0, "metadata":null }',
    ),
    "gemini": (
        "/v1beta/models/MODEL:generateContent",
        '{ "x_new":{"b":1.0,"a":[1e3, 12345678901234567890]},"contents":[ {"parts":[{"text":"h\\u0069"}]}],'
        '\n  "generation_config":{"temperature":0, "topK":null} }',
    ),
}


@pytest.mark.parametrize("dialect", RAW)
def test_unknown_members_pass_byte_for_byte(dialect, upstream, gateway):
    upstream.script(tolerate_unknown=True)
    path, body = RAW[dialect]
    client, served = gateways.MODELS[dialect], f"upstream-{dialect}"
    address = urllib.parse.urlsplit(gateway.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    headers = {
        "authorization": f"Bearer {gateways.TOKEN}",
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    }
    connection.request("POST", path.replace("MODEL", client), body.replace("MODEL", client), headers)
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    assert answer.status == 200, said
    assert answer.headers["x-routeapi-request-id"]
    assert upstream.last()["body"] == body.replace("MODEL", served)


def test_every_driver_is_in_the_matrix_or_known_to_come_later():
    assert set(DRIVERS) - set(INBOUND) == {"openai-responses"}
