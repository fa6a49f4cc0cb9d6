"""SDKs of Node in front of the gateway, every type of upstream behind it.

Each SDK uses what it has of its own: its accumulator for streams, its loop for tools, its schemas for structured output, its
classes for errors. The scripted upstream judges what it is sent and knows the true usage.
"""

import base64
import json
import time

import pytest

import gateway as gateways
from drivers import PNG, TIME, WEATHER
from node_process import Node

# What a case can ask, and what an SDK has none of, with the reason.
ACTS = ["text", "image", "tools", "turns", "structured", "abort", "embed", "models", "count"]
NO_TURNS = "its caller keeps the history; its tool loop sends one back"
NO_COUNT = "its API has no way to count tokens"
NO_MODELS = "`ai` has no model lists"
NO_AI_COUNT = "`ai` has no way to count tokens"
LACKS = {
    "openai-chat": {"turns": NO_TURNS, "count": NO_COUNT},
    "openai-responses": {
        "turns": NO_TURNS,
        "embed": "the same client and request as openai-chat",
        "models": "the same client and request as openai-chat",
    },
    "anthropic": {"turns": NO_TURNS, "embed": "Anthropic has no embeddings"},
    "gemini": {"turns": NO_TURNS},
    "ai-chat": {"models": NO_MODELS, "count": NO_AI_COUNT},
    "ai-responses": {"models": NO_MODELS, "count": NO_AI_COUNT},
    "ai-compatible": {"models": NO_MODELS, "count": NO_AI_COUNT},
    "ai-anthropic": {"embed": "Anthropic has no embeddings", "models": NO_MODELS, "count": NO_AI_COUNT},
    "ai-google": {"models": NO_MODELS, "count": NO_AI_COUNT},
}
BEHIND = ["chat", "responses", "anthropic", "gemini"]
# The types of upstream that have embeddings.
EMBEDDING = ["chat", "gemini"]
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def pairs(act, behind=BEHIND):
    chosen = [(sdk, upstream) for sdk, lacks in LACKS.items() if act not in lacks for upstream in behind]
    return pytest.mark.parametrize("sdk, behind", chosen, ids=["-to-".join(pair) for pair in chosen])


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    started = Node(tmp_path_factory.mktemp("node"))
    yield started
    started.stop()


@pytest.fixture
def ask(node, upstream, gateway):
    """Asks a model that is served by an upstream of this type."""

    def ask(sdk, behind, act, **given):
        model = gateways.MODELS.get(behind, behind)
        return node.ask(sdk=sdk, act=act, root=gateway.url, model=model, **{"key": gateways.TOKEN, **given})

    return ask


def usage_is_true(upstream, answer):
    truth = upstream.truth()
    assert (answer["input"], answer["output"]) == (truth["input_tokens"], truth["output_tokens"])
    assert truth["outcome"] == "completed"


@pytest.mark.parametrize("sdk", LACKS)
def test_nothing_is_left_out_without_a_reason(ask, sdk):
    has = ask(sdk, "any", "acts")
    assert sorted([*has, *LACKS[sdk]]) == sorted(ACTS)


# How each API says that an answer ended by itself.
FINISH = {"openai-responses": "completed", "anthropic": "end_turn", "gemini": "STOP"}


@pairs("text")
@WAYS
def test_text(ask, upstream, sdk, behind, stream):
    upstream.script(cached_tokens=2)
    answer = ask(sdk, behind, "text", prompt="Grüße, 世界 and all", system="Be brief.", stream=stream)
    assert answer.get("text") == "You said: Grüße, 世界 and all", answer
    assert answer["finish"] == FINISH.get(sdk, "stop")
    usage_is_true(upstream, answer)
    sent = upstream.last()
    assert f"upstream-{behind}" in (sent["path"] if behind == "gemini" else sent["json"]["model"])
    assert "Be brief." in sent["body"]
    assert gateways.TOKEN not in json.dumps(sent["headers"]) + sent["path"] + sent["body"]
    if stream:
        assert upstream.truth()["streamed"] and answer["pieces"] >= 5, "the stream arrived in one lump"


@pairs("image")
@WAYS
def test_image(ask, sdk, behind, stream):
    data = base64.b64encode(PNG).decode()
    answer = ask(sdk, behind, "image", prompt="What is this?", mime="image/png", data=data, stream=stream)
    assert answer.get("text") == f"I see image/png of {len(PNG)} bytes. You said: What is this?", answer


# What Anthropic says where it cannot hold the conversation. The gateway says it for upstreams of other types.
NO_THREAD = {
    "type": "invalid_request_error",
    "message": "thread is not supported with this request",
    "details": {"error_code": "thread_unsupported_request", "unsupported": ["thread"]},
}


@pairs("tools")
@WAYS
def test_tool_loop(ask, upstream, sdk, behind, stream):
    # Its loop makes two turns of two calls in a stream, which Google refuses (googleapis/go-genai#692) and so does the
    # scripted upstream. The gateway hands on what Google's own clients send to Google.
    alone = sdk == behind == "gemini" and stream
    upstream.script(parallel_tools=not alone)
    if sdk == behind == "anthropic":
        refused = {"status": 400, "body": json.dumps({"type": "error", "error": NO_THREAD})}
        upstream.queue({"tolerate_unknown": True, "status": refused})
    tools = [{**WEATHER, "output": "sunny"}, {**TIME, "output": "noon"}]
    answer = ask(sdk, behind, "tools", prompt="What is the weather?", tools=tools, stream=stream)
    weather = {"name": "get_weather", "arguments": {"city": "city №0", "days": 0, "metric": False}}
    called = [weather, {"name": "get_time", "arguments": {"zone": "UTC"}}][: 1 if alone else 2]
    assert answer.get("ran") == called, answer
    outputs = answer["text"].removeprefix("The tool said: ").split(" | ")
    if sdk == "ai-google":  # it puts an object around the tool's words
        outputs = [json.loads(output)["content"] for output in outputs]
    assert outputs == ["sunny", "noon"][: len(called)]
    # The arguments go back with their 0 and false; in Chat and Responses they are JSON inside a string.
    body = upstream.last()["body"].replace('\\"', '"').replace(" ", "")
    assert '"days":0' in body and '"metric":false' in body, body


@pairs("turns")
def test_second_turn(ask, upstream, sdk, behind):
    answer = ask(sdk, behind, "turns", prompts=["one", "two"])
    assert answer.get("text") == "You said: two", answer
    assert "You said: one" in upstream.last()["body"]


@pytest.mark.parametrize("behind", ["chat", "anthropic", "gemini"])
def test_a_turn_that_refers_to_what_nobody_keeps(ask, upstream, behind):
    """`ai` takes it that every Responses server stores its answers, unless it is told otherwise (docs/clients.md)."""
    error = ask("ai-responses", behind, "turns", prompts=["one", "two"], stored=True)["error"]
    assert (error["own"], error["status"]) == (True, 400)
    assert "send the whole conversation" in error["message"] and len(upstream.received()) == 1


@pairs("structured")
@WAYS
def test_structured_output(ask, upstream, sdk, behind, stream):
    place = {"name": "Galdhøpiggen", "height": 2469}
    # For models of Anthropic that it does not know, `ai` asks by a tool that must be called.
    upstream.script(text=json.dumps(place), tool_call={"name": "json", "arguments": place})
    answer = ask(sdk, behind, "structured", prompt="Which is the highest?", stream=stream)
    assert answer.get("value") == place, answer
    assert '"height"' in upstream.last()["body"], "the schema went along"


@pairs("abort")
def test_abort_in_mid_stream(ask, upstream, sdk, behind):
    """The upstream would wait for ever after its first words: only the client's leaving ends it."""
    upstream.script(stall_after=8)
    ended = ask(sdk, behind, "abort", prompt="one two three four five six seven eight nine ten")
    names = {"gemini": "AbortError"}
    assert ended.get("pieces"), ended
    assert ended["ended"] == names.get(sdk, "abort" if sdk.startswith("ai-") else "APIUserAbortError")
    deadline = time.monotonic() + 5
    while upstream.truth()["outcome"] != "client_closed":
        assert time.monotonic() < deadline, upstream.truth()


@pairs("embed", EMBEDDING)
def test_embeddings(ask, upstream, sdk, behind):
    answer = ask(sdk, behind, "embed", texts=["first text", "second"])
    assert "vectors" in answer, answer
    first, second = answer["vectors"]
    assert len(first) == len(second) == 8 and first != second
    assert ask(sdk, behind, "embed", texts=["first text"])["vectors"] == [first]
    if answer.get("tokens") is not None:
        assert answer["tokens"] == 3
    if (sdk, behind) == ("openai-chat", "chat"):
        assert upstream.last()["json"]["encoding_format"] == "base64", "what the SDK asks for when its caller says nothing"
    sent = upstream.last()
    assert f"upstream-{behind}" in (sent["path"] if behind == "gemini" else sent["json"]["model"])


@pytest.mark.parametrize("sdk", [sdk for sdk, lacks in LACKS.items() if "models" not in lacks])
def test_models(ask, sdk):
    answer = ask(sdk, "chat", "models")
    assert sorted(answer.get("ids", [])) == sorted(gateways.MODELS.values()), answer
    assert answer["one"] == gateways.MODELS["chat"]


@pairs("count")
def test_count(ask, upstream, sdk, behind):
    answer = ask(sdk, behind, "count", text="four words are here")
    if behind == "chat":  # it has no counter: the gateway estimates
        assert 4 <= answer["tokens"] <= 12 and upstream.ledger() == [], answer
    else:
        assert answer["tokens"] == 4 == upstream.truth()["input_tokens"], answer


SPARES = 5 * len(LACKS)
# A route whose calls are of no use when they fail: the gateway has tried the second upstream by then.
TWICE = """\
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {name: twice, namespace: default}
spec:
  model: twice
  upstreams:
    - {name: first, providerRef: {name: first}}
    - {name: second, providerRef: {name: second}, priority: 1}
"""


@pytest.fixture(scope="module")
def spares(upstream_process, tmp_path_factory):
    """A gateway with many upstreams of each type, each used once: what fails in a test is not felt by the next."""

    def route(name, behind):
        kind, endpoints = gateways.TYPES.get(behind, "OpenAI"), gateways.ENDPOINTS.get(behind, "")
        url = upstream_process.url + ("/v1" if kind == "OpenAI" else "")
        return gateways.ROUTE.format(dialect=name, type=kind, url=url, model=name, endpoints=endpoints)

    unused = {behind: [f"{behind}-{n}" for n in range(SPARES)] for behind in BEHIND}
    routes = [route(name, behind) for behind, names in unused.items() for name in names]
    text = "".join([gateways.COMMON, *routes, route("first", "chat"), route("second", "chat"), TWICE])
    running = gateways.run(text, tmp_path_factory.mktemp("spares"))
    unused["twice"] = ["twice"] * SPARES
    yield lambda behind: (running.url, unused[behind].pop())
    running.stop()


@pytest.fixture
def ask_spare(node, upstream, spares):
    def ask(sdk, behind, act, **given):
        root, model = spares(behind)
        return node.ask(sdk=sdk, act=act, root=root, model=model, key=gateways.TOKEN, **given)

    return ask


def own_error(sdk, status):
    """The class that the SDK has for an HTTP status."""
    if sdk == "gemini":
        return "ApiError"
    if sdk.startswith("ai-"):
        return "APICallError"
    return {401: "AuthenticationError", 404: "NotFoundError", 429: "RateLimitError"}.get(status, "InternalServerError")


@pairs("text")
@WAYS
@pytest.mark.parametrize("status", [429, 500])
def test_upstream_error(ask_spare, upstream, sdk, behind, stream, status):
    upstream.fail(status, headers={"retry-after": "1"})
    error = ask_spare(sdk, behind, "text", prompt="x", stream=stream).get("error")
    assert error and error["own"] and error["name"] == own_error(sdk, status), error
    assert error["status"] == status or (status >= 500 and error["status"] >= 500)


@pytest.mark.parametrize("sdk, calls", [("openai-chat", 1), ("openai-responses", 1), ("anthropic", 1), ("ai-chat", 2)])
def test_who_repeats_a_call_that_is_of_no_use(ask_spare, upstream, sdk, calls):
    """The gateway says `x-should-retry: false`, which `ai` does not read (docs/clients.md)."""
    upstream.fail(500)
    error = ask_spare(sdk, "twice", "text", prompt="x", maxRetries=1)["error"]
    assert error["name"] == ("RetryError" if sdk.startswith("ai-") else own_error(sdk, 500))
    assert len(upstream.received()) == calls * 2, "one for each upstream"


@pairs("text")
def test_error_in_mid_stream(ask_spare, upstream, sdk, behind):
    upstream.script(error_after=3)
    answer = ask_spare(sdk, behind, "text", prompt="one two three four five", stream=True)
    if sdk == "openai-responses":  # it raises nothing: the response that it hands over says that it failed
        assert (answer.get("finish"), answer["failure"]["message"]) == ("failed", "Overloaded"), answer
        return
    error = answer["error"]
    names = {"openai-chat": "APIError", "anthropic": "APIError", "gemini": "ApiError"}
    assert (error["own"], error["name"]) == (True, names.get(sdk, "StreamProviderError"))
    assert "Overloaded" in error["message"]


@pytest.mark.parametrize("sdk", LACKS)
def test_wrong_key(ask, upstream, sdk):
    error = ask(sdk, "chat", "text", prompt="x", key="sk-nobody")["error"]
    assert (error["own"], error["name"], error["status"]) == (True, own_error(sdk, 401), 401)
    assert upstream.received() == []


@pytest.mark.parametrize("sdk", LACKS)
def test_unknown_model(ask, upstream, sdk):
    error = ask(sdk, "nobody-serves-this", "text", prompt="x")["error"]
    assert (error["own"], error["name"], error["status"]) == (True, own_error(sdk, 404), 404)
    assert "nobody-serves-this" in error["message"]
    assert upstream.received() == []
