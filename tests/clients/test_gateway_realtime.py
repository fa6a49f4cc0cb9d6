"""OpenAI's Realtime API with OpenAI's own SDK: straight at the scripted upstream, and through the gateway."""

import asyncio

import openai
import pytest
import websockets

import gateway as gateways

MODEL = "via-realtime"
MANIFESTS = """\
---
apiVersion: routeapi.dev/v1alpha1
kind: AIProvider
metadata: {{name: realtime, namespace: default}}
spec:
  type: OpenAI
  baseURL: {url}/v1
  endpoints: [ChatCompletions, Realtime]
  credentials: {{apiKey: {{secretRef: {{name: upstream-key, key: apiKey}}}}}}
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {{name: {model}, namespace: default}}
spec:
  model: {model}
  upstreams: [{{name: only, providerRef: {{name: realtime}}, model: scripted-large}}]
---
apiVersion: routeapi.dev/v1alpha1
kind: AIProvider
metadata: {{name: echo, namespace: default}}
spec: {{type: Echo}}
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {{name: echo, namespace: default}}
spec:
  model: echo
  upstreams: [{{name: only, providerRef: {{name: echo}}}}]
"""


@pytest.fixture(scope="module")
def running(upstream_process, tmp_path_factory):
    text = gateways.COMMON + MANIFESTS.format(url=upstream_process.url, model=MODEL)
    running = gateways.run(text, tmp_path_factory.mktemp("realtime"))
    yield running
    running.stop()


async def talk(client, model, text):
    """Everything that a session says until its first answer is done."""
    events = []
    async with client.realtime.connect(model=model) as session:
        events.append(await session.recv())
        await session.session.update(session={"type": "realtime", "model": model, "output_modalities": ["text"]})
        events.append(await session.recv())
        content = [{"type": "input_text", "text": text}]
        await session.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        await session.response.create()
        async for event in session:
            events.append(event)
            if event.type == "response.done":
                return events


@pytest.mark.parametrize("way", ["straight", "gateway", "azure", "echo"])
def test_a_session(way, upstream, running):
    if way == "straight":
        client, model = openai.AsyncOpenAI(base_url=upstream.url + "/v1", api_key="any"), MODEL
    elif way == "azure":
        base = running.url.replace("http", "ws") + "/openai"
        client = openai.AsyncAzureOpenAI(
            azure_endpoint=running.url, websocket_base_url=base, api_version="2025-04-01-preview", api_key=gateways.TOKEN
        )
        model = MODEL
    else:
        client = openai.AsyncOpenAI(base_url=running.url + "/v1", api_key=gateways.TOKEN)
        model = "echo" if way == "echo" else MODEL
    events = asyncio.run(talk(client, model, "say it again"))
    assert [event.type for event in events[:2]] == ["session.created", "session.updated"]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == ("Echo: say it again" if way == "echo" else "two words")
    usage = events[-1].response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0
    if way in ("gateway", "azure"):
        assert events[1].session.model == "scripted-large"


def test_a_wrong_key_is_an_ordinary_error(running):
    client = openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="sk-wrong")
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        asyncio.run(talk(client, MODEL, "hello"))
    assert refused.value.response.status_code == 401
    assert b"invalid_api_key" in refused.value.response.body
