"""Clients that were set up for another service: only address and key change."""

import openai
import pytest

import gateway as gateways

CHAT = {"model": gateways.MODELS["openai"], "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize("suffix", ["", "/v1", "/"])
def test_azures_sdk(upstream, gateway, suffix):
    with openai.AzureOpenAI(
        azure_endpoint=gateway.url + suffix, api_key=gateways.TOKEN, api_version="2024-10-21", max_retries=0
    ) as client:
        answer = client.chat.completions.create(**CHAT)
        assert answer.choices[0].message.content == "You said: hello"
        assert upstream.last()["json"]["model"] == "upstream-openai"
        pieces = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(stream=True, **CHAT)]
        assert "".join(pieces) == "You said: hello"
        vectors = client.embeddings.create(model=CHAT["model"], input=["a", "b"])
        assert len(vectors.data) == 2
        assert CHAT["model"] in [model.id for model in client.models.list()]
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(**{**CHAT, "model": "nobody-has-this"})


def test_azures_deployment_in_the_client(upstream, gateway):
    with openai.AzureOpenAI(
        azure_endpoint=gateway.url,
        azure_deployment=gateways.MODELS["anthropic"],
        api_key=gateways.TOKEN,
        api_version="2024-10-21",
        max_retries=0,
    ) as client:
        answer = client.chat.completions.create(**{**CHAT, "model": "ignored"})
    assert answer.choices[0].message.content == "You said: hello"
    assert upstream.last()["json"]["model"] == "upstream-anthropic"


@pytest.mark.parametrize("base", ["", "/v1", "/openai/v1", "/api/v1", "/v1beta/openai"])
def test_openais_sdk_under_other_base_urls(upstream, gateway, base):
    with openai.OpenAI(base_url=gateway.url + base, api_key=gateways.TOKEN, max_retries=0) as client:
        assert client.chat.completions.create(**CHAT).choices[0].message.content == "You said: hello"
        assert CHAT["model"] in [model.id for model in client.models.list()]
