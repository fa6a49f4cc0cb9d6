"""What is Azure's own in the fake of Azure OpenAI; that it serves its SDKs is in test_cloud_truth.py."""

import anthropic
import httpx2
import openai
import pytest
from azure import identity

from clouds import azure_openai, entra as entras

ASKED = {"model": "scripted-large", "messages": [{"role": "user", "content": "a b c d"}]}
OLD = "2024-02-01"
pytestmark = pytest.mark.usefixtures("no_cloud_of_our_own")


@pytest.fixture
def v1(azure):
    with openai.OpenAI(base_url=f"{azure.url}/openai/v1", api_key=azure.key, max_retries=0) as client:
        yield client


@pytest.fixture
def dated(azure):
    options = {"azure_endpoint": azure.url, "api_key": azure.key, "api_version": OLD, "max_retries": 0}
    with openai.AzureOpenAI(**options) as client:
        yield client


def provider(entra, scope):
    credential = identity.ClientSecretCredential(
        entras.TENANT,
        entras.CLIENT,
        entra.secret,
        authority=entra.url,
        disable_instance_discovery=True,
        connection_verify=str(entra.authority.ca_file),
    )
    return identity.get_bearer_token_provider(credential, f"{scope}/.default")


@pytest.mark.parametrize("scope", [azure_openai.COGNITIVE, azure_openai.FOUNDRY])
def test_tokens_of_entra(azure, entra, scope):
    token = provider(entra, scope)
    with openai.OpenAI(base_url=f"{azure.url}/openai/v1", api_key=token, max_retries=0) as client:
        assert client.chat.completions.create(**ASKED).choices[0].message.content == "You said: a b c d"
    with anthropic.AnthropicFoundry(base_url=f"{azure.url}/anthropic", azure_ad_token_provider=token) as client:
        answer = client.messages.create(model="claude", max_tokens=9, messages=ASKED["messages"])
        assert answer.content[0].text == "You said: a b c d"
    options = {"azure_endpoint": azure.url, "api_version": OLD, "max_retries": 0, "azure_ad_token_provider": token}
    with openai.AzureOpenAI(**options) as client:
        if scope == azure_openai.COGNITIVE:
            assert client.chat.completions.create(**ASKED).choices[0].finish_reason == "stop"
        else:  # a token for something else
            with pytest.raises(openai.AuthenticationError, match="audience is incorrect"):
                client.chat.completions.create(**ASKED)
    assert len(entra.tokens.issued()) == 1, "it is kept"


def test_a_revoked_token_is_refused(azure, entra):
    token = provider(entra, azure_openai.COGNITIVE)
    with openai.OpenAI(base_url=f"{azure.url}/openai/v1", api_key=token, max_retries=0) as client:
        client.chat.completions.create(**ASKED)
        entra.tokens.revoke()
        with pytest.raises(openai.AuthenticationError, match="have expired"):
            client.chat.completions.create(**ASKED)


def test_a_wrong_key_is_refused(azure, v1, dated):
    azure.key = "another"
    for client in (v1, dated):
        with pytest.raises(openai.AuthenticationError, match="invalid subscription key|Access token is missing"):
            client.chat.completions.create(**ASKED)


def test_the_deployment_is_in_the_path(azure, upstream):
    options = {"azure_endpoint": azure.url, "api_key": azure.key, "api_version": OLD, "max_retries": 0}
    with openai.AzureOpenAI(**options, azure_deployment="scripted-small") as client:
        assert client.chat.completions.create(**{**ASKED, "model": "whatever"}).model == "scripted-small"
    assert azure.last().target == f"/openai/deployments/scripted-small/chat/completions?api-version={OLD}"


def test_an_unknown_deployment(v1, dated):
    for client in (v1, dated):
        with pytest.raises(openai.NotFoundError) as raised:
            client.chat.completions.create(**{**ASKED, "model": "nothing"})
        assert raised.value.code == "DeploymentNotFound"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/openai/deployments/scripted-large/chat/completions", 404),
        ("/openai/deployments/scripted-large/chat/completions?api-version=preview", 404),
        (f"/openai/deployments/scripted-large/responses?api-version={OLD}", 404),
        (f"/openai/responses?api-version={OLD}", 400),
        ("/openai/responses", 404),
        (f"/openai/v1/chat/completions?api-version={OLD}", 400),
        ("/openai/v1/chat/completions?api-version=preview", 200),
        ("/api/projects/gateway/openai/v1/chat/completions", 200),
        ("/v1/chat/completions", 404),
        (f"/openai/deployments/../chat/completions?api-version={OLD}", 404),
    ],
)
def test_paths_and_versions(azure, path, status):
    answer = httpx2.post(azure.url + path, json=ASKED, headers={"api-key": azure.key})
    assert answer.status_code == status and answer.headers["apim-request-id"]
    assert status != 404 or answer.json()["error"]["code"] in ("404", "DeploymentNotFound")


def test_findings_of_the_filter(v1):
    whole = v1.chat.completions.create(**ASKED).model_dump()
    found = whole["prompt_filter_results"][0]["content_filter_results"]
    assert found["hate"] == {"filtered": False, "severity": "safe"}
    assert whole["choices"][0]["content_filter_results"]["violence"]["severity"] == "safe"
    first, *others = v1.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
    assert (first.choices, first.id, first.model, first.object) == ([], "", "", "")
    assert first.model_dump()["prompt_filter_results"]
    assert others[-1].usage.completion_tokens == 6
    assert "".join(c.choices[0].delta.content or "" for c in others if c.choices) == "You said: a b c d"


def test_findings_that_come_later(azure, v1):
    azure.filters_later = True
    chunks = list(v1.chat.completions.create(**ASKED, stream=True))
    late = [c for c in chunks if c.choices and c.choices[0].delta is None]
    assert late and all("content_filter_offsets" in chunk.choices[0].model_dump() for chunk in late)
    finish = [bool(chunk.choices and chunk.choices[0].finish_reason) for chunk in chunks].index(True)
    assert chunks.index(late[0]) > finish


def test_a_prompt_that_is_blocked(azure, v1):
    azure.fail("blocked")
    with pytest.raises(openai.BadRequestError) as raised:
        v1.chat.completions.create(**ASKED)
    assert raised.value.code == "content_filter"
    assert raised.value.body["innererror"]["code"] == "ResponsibleAIPolicyViolation"


def test_an_answer_that_is_blocked(azure, v1):
    azure.blocks_completions = True
    assert v1.chat.completions.create(**ASKED).choices[0].finish_reason == "content_filter"
    *_, last = v1.chat.completions.create(**ASKED, stream=True)
    assert last.choices[0].finish_reason == "content_filter"


def test_old_versions_refuse_stream_options(azure, dated):
    azure.refuses_stream_options = True
    with pytest.raises(openai.BadRequestError, match="Unrecognized request argument supplied: stream_options"):
        dated.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
    assert list(dated.chat.completions.create(**ASKED, stream=True))


def test_embeddings(v1, dated):
    for client in (v1, dated):
        made = client.embeddings.create(model="embedder", input=["one text", "two"])
        assert len(made.data) == 2 and made.usage.prompt_tokens == 3


def test_claude_counts(azure):
    with anthropic.AnthropicFoundry(base_url=f"{azure.url}/anthropic", api_key=azure.key) as client:
        assert client.messages.count_tokens(model="claude", messages=ASKED["messages"]).input_tokens == 4
    assert azure.last().path == "/anthropic/v1/messages/count_tokens"


@pytest.mark.parametrize(("fault", "raised"), [("throttled", "RateLimitError"), ("unavailable", "InternalServerError")])
def test_faults(azure, v1, fault, raised):
    azure.fail(fault, times=1)
    with pytest.raises(getattr(openai, raised)) as caught:
        v1.chat.completions.create(**ASKED)
    assert fault != "throttled" or caught.value.response.headers["retry-after-ms"] == "1000"
    v1.chat.completions.create(**ASKED)
