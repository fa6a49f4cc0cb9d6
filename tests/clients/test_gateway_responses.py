"""OpenAI's SDK with its Responses API in front of upstreams that have none: what it makes of the gateway's answers.

The SDK judges the events (it stops at the first that is missing or out of order); the scripted upstream judges the request.
"""

import json

import pydantic
import pytest

import drivers
import gateway as gateways
from drivers import PNG, TIME, WEATHER

BEHIND = ["chat", "anthropic", "gemini"]
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def start(upstream_process, directory):
    return gateways.run(gateways.manifests(upstream_process.url), directory)


@pytest.fixture(scope="module")
def gateway(upstream_process, tmp_path_factory):
    running = start(upstream_process, tmp_path_factory.mktemp("responses"))
    yield running
    running.stop()


@pytest.fixture(params=BEHIND)
def behind(request):
    return request.param


@pytest.fixture
def driver(behind, upstream, gateway, connect):
    return connect("openai-responses", gateway.url, gateways.TOKEN, f"via-{behind}")


@pytest.fixture
def lone_driver(behind, upstream, upstream_process, tmp_path, connect):
    """With a gateway of its own: what fails in it is not felt by the next test."""
    running = start(upstream_process, tmp_path)
    yield connect("openai-responses", running.url, gateways.TOKEN, f"via-{behind}")
    running.stop()


def usage_is_true(upstream, answer):
    truth = upstream.truth()
    assert (answer.input_tokens, answer.output_tokens) == (truth["input_tokens"], truth["output_tokens"])
    assert truth["outcome"] == "completed"


@WAYS
def test_text(driver, upstream, stream):
    upstream.script(cached_tokens=2)
    driver.user("Grüße, 世界 and all")
    answer = driver.send(stream=stream, system="Be brief.")
    assert (answer.text, answer.finish, answer.calls) == ("You said: Grüße, 世界 and all", "stop", [])
    usage_is_true(upstream, answer)
    native = answer.native
    assert native.usage.total_tokens == answer.input_tokens + answer.output_tokens
    assert native.usage.input_tokens_details.cached_tokens == 2
    assert (native.instructions, native.model, native.store) == ("Be brief.", driver.model, False)
    if stream:
        assert upstream.truth()["streamed"] and answer.pieces >= 5, "the stream arrived in one lump"


@WAYS
@pytest.mark.parametrize("parallel", [False, True], ids=["one", "parallel"])
def test_tool_round_trip(driver, upstream, stream, parallel):
    upstream.script(parallel_tools=parallel)
    driver.user("What is the weather?")
    asked = driver.send(stream=stream, tools=[WEATHER, TIME])
    names = ["get_weather", "get_time"] if parallel else ["get_weather"]
    assert (asked.finish, [call.name for call in asked.calls]) == ("tools", names)
    assert asked.calls[0].arguments == {"city": "city №0", "days": 0, "metric": False}
    assert len({call.id for call in asked.calls}) == len(names), "ids must differ"
    driver.results(asked, ["sunny", "noon"][: len(names)])
    answer = driver.send(stream=stream, tools=[WEATHER, TIME])
    assert answer.text == "The tool said: " + " | ".join(["sunny", "noon"][: len(names)])
    usage_is_true(upstream, answer)


@WAYS
def test_image(driver, stream):
    driver.user("What is this?", images=[("image/png", PNG)])
    answer = driver.send(stream=stream)
    assert answer.text == f"I see image/png of {len(PNG)} bytes. You said: What is this?"


@WAYS
def test_output_limit(driver, stream):
    driver.user("a b c d e f")
    answer = driver.send(max_tokens=3, stream=stream)
    assert (answer.text.split(), answer.finish) == (["You", "said:", "a"], "length")
    assert answer.native.incomplete_details.reason == "max_output_tokens"
    assert answer.native.output[-1].status == "incomplete"


class Place(pydantic.BaseModel):
    name: str
    height: int


def test_parse(driver, upstream):
    upstream.script(text=json.dumps({"name": "Zugspitze", "height": 2962}))
    answer = driver.client.responses.parse(model=driver.model, input="a place", text_format=Place)
    assert answer.output_parsed == Place(name="Zugspitze", height=2962)
    assert answer.text.format.name == "Place", "the request is repeated"
    assert '"height"' in upstream.last()["body"], "the schema went along"


def test_free_form_tools(driver, upstream):
    tool = {"type": "custom", "name": "apply_patch", "description": "Edits files"}
    asked = driver.client.responses.create(model=driver.model, input="patch it", tools=[tool])
    [call] = [item for item in asked.output if item.type == "custom_tool_call"]
    assert call.name == "apply_patch" and call.input
    history = [
        {"role": "user", "content": "patch it"},
        call.model_dump(exclude_none=True),
        {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "patched"},
    ]
    answer = driver.client.responses.create(model=driver.model, input=history, tools=[tool])
    assert answer.output_text == "The tool said: patched"


def test_raw_events_are_numbered(driver):
    events = list(driver.client.responses.create(model=driver.model, input="one two three", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert len({event.response.id for event in events if hasattr(event, "response")}) == 1


@WAYS
@pytest.mark.parametrize("status", [400, 429, 500])
def test_upstream_error(lone_driver, upstream, status, stream):
    upstream.fail(status, headers={"retry-after": "1"})
    lone_driver.user("x")
    with pytest.raises(drivers.openai.APIStatusError) as raised:
        lone_driver.send(stream=stream)
    assert raised.value.status_code == status or (status >= 500 and raised.value.status_code >= 500)


def test_state_that_nobody_keeps(driver, upstream):
    with pytest.raises(drivers.openai.BadRequestError) as raised:
        driver.client.responses.create(model=driver.model, input="x", previous_response_id="resp_1")
    assert raised.value.param == "previous_response_id"
    assert upstream.received() == []


@pytest.mark.parametrize("how", ["close", "end"])
def test_cut_in_mid_stream(lone_driver, upstream, how):
    """A stream that breaks off is no answer that looks complete: the SDK finds no `response.completed`."""
    upstream.script(cut={"at": {"events": 5}, "how": how})
    lone_driver.user("one two three four five six seven")
    with pytest.raises(RuntimeError, match="response.completed"):
        lone_driver.send(stream=True)
