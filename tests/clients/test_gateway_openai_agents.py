"""OpenAI's Agents SDK through the gateway, with both of its models: Responses, which it takes unless told otherwise, and Chat."""

import asyncio
import base64
import json
import time

import agents
import openai
import pydantic
import pytest

import gateway as gateways
from drivers import PNG

# It would send what its agents do to OpenAI.
agents.set_tracing_disabled(True)

MODELS = {"responses": agents.OpenAIResponsesModel, "chat": agents.OpenAIChatCompletionsModel}
# Of servers with another address than OpenAI's its Chat model asks for no usage in streams, unless told to.
SETTINGS = agents.ModelSettings(include_usage=True)
PAIRS = [(model, behind) for model in MODELS for behind in gateways.MODELS]
PAIRED = pytest.mark.parametrize("model, behind", PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class Place(pydantic.BaseModel):
    """A place on a map."""

    name: str
    height: int


@agents.function_tool
def get_weather(city: str, days: int, metric: bool) -> str:
    """The weather at a place."""
    return f"rain in {city} for {days} days, metric: {metric}"


@agents.function_tool
def get_time(zone: str) -> str:
    """The time at a place."""
    return f"noon in {zone}"


def agent(root, model, behind, **more):
    client = openai.AsyncOpenAI(base_url=f"{root}/v1", api_key=gateways.TOKEN, max_retries=0)
    made = MODELS[model](gateways.MODELS[behind], client)
    return agents.Agent(name="Assistant", instructions="Be brief.", model=made, model_settings=SETTINGS, **more)


def run(agent, asked, stream=False):
    """The run's result, and how many increments of text came."""

    async def running():
        if not stream:
            return await agents.Runner.run(agent, asked), 0
        result, pieces = agents.Runner.run_streamed(agent, asked), 0
        async for event in result.stream_events():
            pieces += event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        return result, pieces

    return asyncio.run(running())


@PAIRED
@WAYS
def test_text(gateway, upstream, model, behind, stream):
    result, pieces = run(agent(gateway.url, model, behind), "one two three", stream)
    assert result.final_output == "You said: one two three"
    truth, usage = upstream.truth(), result.context_wrapper.usage
    assert (usage.input_tokens, usage.output_tokens) == (truth["input_tokens"], truth["output_tokens"])
    assert "Be brief." in upstream.last()["body"]
    assert pieces >= 5 or not stream, "the stream arrived in one lump"


@PAIRED
@WAYS
def test_tool_loop(gateway, upstream, model, behind, stream):
    upstream.script(parallel_tools=True)
    result, _ = run(agent(gateway.url, model, behind, tools=[get_weather, get_time]), "What is the weather?", stream)
    said = "rain in city №0 for 0 days, metric: False | noon in zone №1"
    assert result.final_output == f"The tool said: {said}"
    assert result.context_wrapper.usage.requests == 2 == len(upstream.received())


@PAIRED
def test_handoff(gateway, upstream, model, behind):
    """The first agent hands over to the second, which answers."""
    second = agent(gateway.url, model, behind).clone(name="Expert")
    first = agent(gateway.url, model, behind, handoffs=[second])
    result, _ = run(first, "What is the weather?")
    assert result.last_agent.name == "Expert"
    assert json.loads(result.final_output.removeprefix("The tool said: ")) == {"assistant": "Expert"}


@PAIRED
@WAYS
def test_structured_output(gateway, upstream, model, behind, stream):
    upstream.script(text='{"name": "Galdhøpiggen", "height": 2469}')
    result, _ = run(agent(gateway.url, model, behind, output_type=Place), "Which is the highest?", stream)
    assert result.final_output == Place(name="Galdhøpiggen", height=2469)
    assert '"height"' in upstream.last()["body"], "the schema went along"


@PAIRED
def test_image(gateway, upstream, model, behind):
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    content = [
        {"type": "input_image", "image_url": url, "detail": "auto"},
        {"type": "input_text", "text": "What is this?"},
    ]
    result, _ = run(agent(gateway.url, model, behind), [{"role": "user", "content": content}])
    assert result.final_output == f"I see image/png of {len(PNG)} bytes. You said: What is this?"


@PAIRED
def test_cancel_in_mid_stream(gateway, upstream, model, behind):
    """The upstream would wait for ever after its first words: only the client's leaving ends it."""
    upstream.script(stall_after=8)

    async def running():
        result = agents.Runner.run_streamed(agent(gateway.url, model, behind), "one two three four five six seven eight")
        async for event in result.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                result.cancel()

    asyncio.run(running())
    deadline = time.monotonic() + 5
    while upstream.truth()["outcome"] != "client_closed":
        assert time.monotonic() < deadline, upstream.truth()


@pytest.mark.parametrize("model", MODELS)
@WAYS
@pytest.mark.parametrize("status", [429, 500])
def test_upstream_error(own_gateway, upstream, model, stream, status):
    upstream.fail(status, headers={"retry-after": "1"})
    expected = {429: openai.RateLimitError, 500: openai.InternalServerError}
    with pytest.raises(expected[status]):
        run(agent(own_gateway.url, model, "anthropic"), "x", stream)


@pytest.mark.parametrize("model", MODELS)
def test_unknown_model(gateway, upstream, model):
    asked = agent(gateway.url, model, "openai")
    asked.model.model = "nobody-serves-this"
    with pytest.raises(openai.NotFoundError, match="nobody-serves-this"):
        run(asked, "x")
    assert upstream.received() == []
