"""The caller's own credential (`credentials.fromClient`): official SDKs and coding agents send it where they always do, and the
gateway's key in a header of its own, as docs/providers.md and docs/clients.md say."""

import json
import os

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

import gateway as gateways
from test_gateway_agents import Claude, Codex, Place, WORD, ask, write

OWN = "sk-own-credential-of-the-caller"
APART = {"x-routeapi-key": gateways.TOKEN}
PROVIDER = """\
---
apiVersion: routeapi.dev/v1alpha1
kind: AIProvider
metadata: {{name: {name}, namespace: default}}
spec: {{type: {type}, baseURL: "{url}", credentials: {{fromClient: {{}}}}{more}}}
---
apiVersion: routeapi.dev/v1alpha1
kind: AIRoute
metadata: {{name: {name}, namespace: default}}
spec: {{model: {name}, upstreams: [{{name: only, providerRef: {{name: {name}}}}}], fallback: {{maxAttempts: 1}}}}
"""


@pytest.fixture(scope="module")
def seats(upstream_process, tmp_path_factory):
    """A gateway whose providers take the caller's own credential."""
    url = upstream_process.url
    both = ", endpoints: [ChatCompletions, Responses]"
    text = gateways.COMMON + "".join(
        PROVIDER.format(name=name, type=kind, url=url + suffix, more=more)
        for name, kind, suffix, more in [
            ("openai", "OpenAI", "/v1", both),
            ("anthropic", "Anthropic", "", ""),
            ("gemini", "Gemini", "", ""),
        ]
    )
    running = gateways.run(text, tmp_path_factory.mktemp("seats"))
    yield running
    running.stop()


def seen(upstream):
    """The headers of the last request, of which none holds the gateway's key."""
    request = upstream.last()
    assert gateways.TOKEN not in json.dumps(request)
    return request["headers"]


def test_openais_sdk(upstream, seats):
    with openai.OpenAI(
        base_url=seats.url + "/v1", api_key=OWN, organization="org-1", default_headers=APART, max_retries=0
    ) as client:
        answer = client.chat.completions.create(model="openai", messages=[{"role": "user", "content": "hello"}])
        assert answer.choices[0].message.content == "You said: hello"
        assert seen(upstream)["authorization"] == f"Bearer {OWN}"
        assert seen(upstream)["openai-organization"] == "org-1"
        assert client.responses.create(model="openai", input="hello").output_text == "You said: hello"
        assert seen(upstream)["authorization"] == f"Bearer {OWN}"


@pytest.mark.parametrize("credential", ["api_key", "auth_token"])
def test_anthropics_sdk(upstream, seats, credential, monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    said = {"model": "anthropic", "max_tokens": 99, "messages": [{"role": "user", "content": "hello"}]}
    with anthropic.Anthropic(base_url=seats.url, default_headers=APART, max_retries=0, **{credential: OWN}) as client:
        assert client.messages.create(**said).content[0].text == "You said: hello"
        assert seen(upstream)["authorization"] == f"Bearer {OWN}"
        with client.messages.stream(**said) as stream:
            assert stream.get_final_text() == "You said: hello"
        assert seen(upstream)["authorization"] == f"Bearer {OWN}"


def test_googles_sdk(upstream, seats):
    options = types.HttpOptions(base_url=seats.url, headers=APART)
    client = genai.Client(api_key=OWN, http_options=options)
    assert client.models.generate_content(model="gemini", contents="hello").text == "You said: hello"
    assert seen(upstream)["x-goog-api-key"] == OWN


def test_a_rejected_credential_is_the_callers_error(upstream, seats):
    upstream.fail(401)
    with anthropic.Anthropic(base_url=seats.url, api_key=OWN, default_headers=APART, max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError):
            client.messages.create(model="anthropic", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    assert seen(upstream)["authorization"] == f"Bearer {OWN}"


def test_a_missing_credential_is_explained(upstream, seats):
    with openai.OpenAI(base_url=seats.url + "/v1", api_key=gateways.TOKEN, max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError, match="your own credential; send it in authorization"):
            client.chat.completions.create(model="openai", messages=[{"role": "user", "content": "x"}])
    assert upstream.received() == []


def claude(place):
    agent = Claude(place)
    agent.environment["ANTHROPIC_AUTH_TOKEN"] = OWN
    agent.environment["ANTHROPIC_CUSTOM_HEADERS"] = f"x-routeapi-key: {gateways.TOKEN}"
    return agent


def codex(place):
    agent = Codex(place)
    config = place.home / ".codex/config.toml"
    write(config, config.read_text() + 'env_http_headers = { "x-routeapi-key" = "ROUTEAPI_KEY" }\n')
    write(config, config.read_text().replace('env_key = "ROUTEAPI_KEY"', 'env_key = "OWN_KEY"'))
    agent.environment["OWN_KEY"] = OWN
    return agent


@pytest.mark.skipif("AGENTS_BIN" not in os.environ, reason="needs the agents' programs")
@pytest.mark.parametrize("agent, model", [(claude, "anthropic"), (codex, "openai")], ids=["claude", "codex"])
def test_an_agent_sends_both(upstream, seats, tmp_path, agent, model):
    place = Place(seats.url, model, tmp_path / "home", tmp_path / "work")
    place.home.mkdir()
    write(place.file, f"The word is {WORD}.\n")
    started = agent(place)
    upstream.script(tool_call=started.tool, tolerate_unknown=True)
    assert WORD in ask(started, place, "Which word is in notes.txt?")
    asked = upstream.received()
    assert [request["headers"]["authorization"] for request in asked] == [f"Bearer {OWN}"] * 2
    assert gateways.TOKEN not in json.dumps(asked)
