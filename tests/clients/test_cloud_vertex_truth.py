"""What is Vertex AI's own in its fake; that it serves its SDKs is in test_cloud_truth.py."""

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.auth.transport.requests import Request
from google.genai import errors, types
from google.oauth2 import service_account

from clouds import google as googles

BELOW = f"/projects/{googles.PROJECT}/locations/global"
MESSAGES = [{"role": "user", "content": "a b c d"}]
CLAUDE = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": MESSAGES}


def credentials(google_identity):
    made = service_account.Credentials.from_service_account_info
    return made(google_identity.service_account(), scopes=[googles.CLOUD_PLATFORM])


@pytest.fixture
def token(google_identity):
    found = credentials(google_identity)
    found.refresh(Request())
    return found.token


@pytest.fixture
def gemini(vertex, google_identity):
    options = types.HttpOptions(base_url=vertex.url, retry_options=types.HttpRetryOptions(attempts=1))
    found = credentials(google_identity)
    made = genai.Client(
        vertexai=True, project=googles.PROJECT, location="global", credentials=found, http_options=options
    )
    yield made
    made.close()


@pytest.fixture
def claude(vertex, google_identity):
    options = {"region": "us-east5", "project_id": googles.PROJECT, "base_url": f"{vertex.url}/v1", "max_retries": 0}
    with anthropic.AnthropicVertex(**options, credentials=credentials(google_identity)) as client:
        yield client


def test_tokens_are_had_once_and_may_be_revoked(gemini, google_identity):
    for _ in range(2):
        gemini.models.generate_content(model="gemini", contents="x")
    assert len(google_identity.tokens.issued()) == 1
    google_identity.revoke()
    with pytest.raises(errors.ClientError) as raised:
        gemini.models.generate_content(model="gemini", contents="x")
    assert (raised.value.code, raised.value.status) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("location", ["global", "us", "europe-west1"])
def test_locations(vertex, google_identity, location):
    client = genai.Client(
        vertexai=True,
        project=googles.PROJECT,
        location=location,
        credentials=credentials(google_identity),
        http_options=types.HttpOptions(base_url=vertex.url),
    )
    assert client.models.generate_content(model="gemini", contents="x").text == "You said: x"
    assert f"/locations/{location}/publishers/google/models/gemini:generateContent" in vertex.last().path
    client.close()


def test_gemini_counts_and_embeds(gemini, vertex):
    assert gemini.models.count_tokens(model="gemini", contents="a b c d").total_tokens == 4
    made = gemini.models.embed_content(model="text-embedding-005", contents=["one text", "two"])
    assert vertex.last().path.endswith("/text-embedding-005:predict")
    assert [item.statistics.token_count for item in made.embeddings] == [2, 1] and len(made.embeddings[0].values) == 8
    short = types.EmbedContentConfig(output_dimensionality=3)
    made = gemini.models.embed_content(model="text-embedding-005", contents="x", config=short)
    assert len(made.embeddings[0].values) == 3
    made = gemini.models.embed_content(model="gemini-embedding-2", contents="one text")
    assert vertex.last().path.endswith("/gemini-embedding-2:embedContent") and len(made.embeddings[0].values) == 8


def test_claude_counts(claude, vertex):
    assert claude.messages.count_tokens(model="claude@1", messages=MESSAGES).input_tokens == 4
    assert vertex.last().path.endswith("/publishers/anthropic/models/count-tokens:rawPredict")
    assert vertex.last().json["model"] == "claude@1"


def test_a_model_that_is_not_there(gemini, claude):
    with pytest.raises(errors.ClientError) as raised:
        gemini.models.generate_content(model="missing", contents="x")
    assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND")
    with pytest.raises(anthropic.NotFoundError, match="Publisher Model"):
        claude.messages.create(model="missing", max_tokens=9, messages=MESSAGES)


@pytest.mark.parametrize(
    ("verb", "change", "words"),
    [
        ("rawPredict", {}, None),
        ("streamRawPredict", {"stream": True}, None),
        ("rawPredict", {"stream": True}, "stream must be false"),
        ("streamRawPredict", {}, "stream must be true"),
        ("rawPredict", {"model": "claude@1"}, "model: Extra inputs"),
        ("rawPredict", {"anthropic_version": None}, "anthropic_version"),
        ("rawPredict", {"anthropic_version": "bedrock-2023-05-31"}, "anthropic_version"),
        ("rawPredict", {"temperature": 0.5}, None),
        ("rawPredict", {"anthropic_version": "2026-10-21", "temperature": 0.5}, "temperature"),
    ],
)
def test_rules_of_claude(vertex, token, verb, change, words):
    url = f"{vertex.url}/v1{BELOW}/publishers/anthropic/models/claude@1:{verb}"
    answer = httpx2.post(url, json={**CLAUDE, **change}, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == (400 if words else 200) and (words or "You") in answer.text


@pytest.mark.parametrize(
    ("betas", "status"), [("context-1m-2025-08-07", 200), ("context-1m-2025-08-07,prompt-caching-2024-07-31", 400)]
)
def test_flags_of_claude(vertex, token, betas, status):
    url = f"{vertex.url}/v1{BELOW}/publishers/anthropic/models/claude@1:rawPredict"
    headers = {"authorization": f"Bearer {token}", "anthropic-beta": betas}
    assert httpx2.post(url, json=CLAUDE, headers=headers).status_code == status


def test_claude_takes_no_urls(claude):
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}}
    with pytest.raises(anthropic.BadRequestError, match="URL sources are not supported"):
        claude.messages.create(model="claude", max_tokens=9, messages=[{"role": "user", "content": [image]}])


def test_other_publishers(vertex, token):
    url = f"{vertex.url}/v1{BELOW}/publishers/mistralai/models/mistral-large:rawPredict"
    answer = httpx2.post(url, json={"messages": MESSAGES}, headers={"authorization": f"Bearer {token}"})
    assert answer.json()["choices"][0]["message"]["content"] == "You said: a b c d"


def test_errors_of_the_openai_endpoint_are_lists(vertex, token):
    base = f"{vertex.url}/v1{BELOW}/endpoints/openapi"
    with openai.OpenAI(base_url=base, api_key=token, max_retries=0) as client:
        for change in ({"model": "google/missing"}, {"model": "no publisher"}, {"messages": []}):
            with pytest.raises(openai.APIStatusError) as raised:
                client.chat.completions.create(**{"model": "google/gemini", "messages": MESSAGES, **change})
            [body] = raised.value.response.json()
            assert body["error"]["code"] == raised.value.status_code in (400, 404)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{BELOW}/publishers/google/models/../models/gemini:generateContent", 404),
        (f"{BELOW}/publishers/google/models/a%2Fb:generateContent", 404),
        (f"{BELOW}/publishers/google/models/%2E%2E:generateContent", 404),
        (f"{BELOW}/publishers/google/models/a/b:generateContent", 404),
        (f"{BELOW}/publishers/nobody/models/gemini:generateContent", 404),
        ("/projects/another/locations/global/publishers/google/models/gemini:generateContent", 403),
        (f"/projects/{googles.PROJECT}/locations/nowhere/publishers/google/models/gemini:generateContent", 404),
        (f"{BELOW}/publishers/google/models/gemini:generateContent", 200),
    ],
)
def test_names(vertex, token, path, status):
    import http.client  # sends a path as it is

    connection = http.client.HTTPConnection(vertex.url.removeprefix("http://"), timeout=10)
    body = '{"contents": [{"role": "user", "parts": [{"text": "x"}]}]}'
    connection.request("POST", f"/v1{path}", body, {"authorization": f"Bearer {token}"})
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize(("fault", "status"), [("throttled", 429), ("unavailable", 503), ("forbidden", 403)])
def test_faults(vertex, gemini, fault, status):
    vertex.fail(fault, times=1)
    with pytest.raises(errors.APIError) as raised:
        gemini.models.generate_content(model="gemini", contents="x")
    assert raised.value.code == status
    gemini.models.generate_content(model="gemini", contents="x")
