"""LangChain's own packages through the gateway: text, streams, tools and structured output, to every type of upstream."""

import pydantic
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

import gateway as gateways


@tool
def get_weather(city: str, days: int = 1) -> str:
    """The weather at a place."""
    return f"rain in {city} for {days} days"


class Place(pydantic.BaseModel):
    """A place on a map."""

    name: str
    height: int


def chat(root, model):
    # Of servers with another address than OpenAI's it asks for no usage in streams, unless told to.
    return ChatOpenAI(model=model, base_url=f"{root}/v1", api_key=gateways.TOKEN, stream_usage=True)


def responses(root, model):
    return ChatOpenAI(model=model, base_url=f"{root}/v1", api_key=gateways.TOKEN, use_responses_api=True)


def messages(root, model):
    return ChatAnthropic(model=model, base_url=root, api_key=gateways.TOKEN, max_tokens=200)


def gemini(root, model):
    return ChatGoogleGenerativeAI(model=model, base_url=root, api_key=gateways.TOKEN, vertexai=False)


EVERY = list(gateways.MODELS)
REACHED = {chat: EVERY, responses: EVERY, messages: EVERY, gemini: EVERY}
PAIRS = [(model, behind) for model, reached in REACHED.items() for behind in reached]
PAIRED = pytest.mark.parametrize("make, behind", PAIRS, ids=[f"{make.__name__}-to-{behind}" for make, behind in PAIRS])


@pytest.fixture
def model(gateway, upstream):
    return lambda make, behind: make(gateway.url, gateways.MODELS[behind])


@PAIRED
def test_whole_and_streamed_text(model, upstream, make, behind):
    langchain = model(make, behind)
    whole = langchain.invoke("one two three")
    streamed = None
    for chunk in langchain.stream("one two three"):
        streamed = chunk if streamed is None else streamed + chunk
    truth = upstream.truth()
    for answer in (whole, streamed):
        assert answer.text == "You said: one two three"
        assert answer.usage_metadata["output_tokens"] == truth["output_tokens"]
        # It reads a stream's usage from the last event alone, and there this upstream does not repeat the input.
        if answer is whole or (make, behind) != (messages, "anthropic"):
            assert answer.usage_metadata["input_tokens"] == truth["input_tokens"]


@PAIRED
def test_a_tool_is_called_and_answered(model, upstream, make, behind):
    upstream.script(tool_call={"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}})
    langchain = model(make, behind).bind_tools([get_weather])
    history = [HumanMessage("What is the weather?")]
    history.append(langchain.invoke(history))
    (call,) = history[-1].tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo", "days": 2})
    history.append(get_weather.invoke(call))
    assert isinstance(history[-1], ToolMessage)
    assert langchain.invoke(history).text == "The tool said: rain in Oslo for 2 days"


@PAIRED
def test_structured_output(model, upstream, make, behind):
    """LangChain asks in the way that each package thinks best: by a schema, or by a tool that must be called."""
    upstream.script(
        text='{"name": "Galdhøpiggen", "height": 2469}',
        tool_call={"name": "Place", "arguments": {"name": "Galdhøpiggen", "height": 2469}},
    )
    found = model(make, behind).with_structured_output(Place).invoke("Which is the highest?")
    assert found == Place(name="Galdhøpiggen", height=2469)


def test_embeddings(gateway, upstream):
    embeddings = OpenAIEmbeddings(
        model=gateways.MODELS["openai"],
        base_url=f"{gateway.url}/v1",
        api_key=gateways.TOKEN,
        # It would load a vocabulary from the internet to count tokens for a model that it does not know.
        check_embedding_ctx_length=False,
    )
    assert len(embeddings.embed_documents(["one", "two"])) == 2
