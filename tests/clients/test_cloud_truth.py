"""The fakes of the clouds' models are what they claim to be: the vendors' own SDKs, straight against them, say so.

Each way into a cloud is a driver with a cloud's client in it. The answers follow the rules of test_upstream_truth.py.
"""

import anthropic
import botocore.exceptions
import openai
import pytest
from google import genai
from google.genai import types
from google.oauth2 import service_account

import drivers
from clouds import google as googles
from converse_driver import Converse
from drivers import PNG, TIME, WEATHER

CLAUDE_ON_BEDROCK = "anthropic.claude-3-5-sonnet-20240620-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
ONCE = {"max_retries": 0}
pytestmark = pytest.mark.usefixtures("no_cloud_of_our_own")


def azure_v1(fixture):
    azure = fixture("azure")
    return openai.OpenAI(base_url=f"{azure.url}/openai/v1", api_key=azure.key, **ONCE)


def azure_dated(fixture):
    azure = fixture("azure")
    return openai.AzureOpenAI(azure_endpoint=azure.url, api_key=azure.key, api_version="2025-04-01-preview", **ONCE)


def azure_claude(fixture):
    azure = fixture("azure")
    return anthropic.AnthropicFoundry(base_url=f"{azure.url}/anthropic", api_key=azure.key, **ONCE)


def credentials(fixture):
    made = service_account.Credentials.from_service_account_info
    return made(fixture("google_identity").service_account(), scopes=[googles.CLOUD_PLATFORM])


def vertex_gemini(fixture):
    options = types.HttpOptions(base_url=fixture("vertex").url, retry_options=types.HttpRetryOptions(attempts=1))
    place = {"project": googles.PROJECT, "location": "global"}
    return genai.Client(vertexai=True, **place, credentials=credentials(fixture), http_options=options)


def vertex_claude(fixture):
    place = {"project_id": googles.PROJECT, "region": "global", "base_url": f"{fixture('vertex').url}/v1"}
    return anthropic.AnthropicVertex(**place, credentials=credentials(fixture), **ONCE)


def vertex_openai(fixture):
    token = fixture("google_identity").tokens.issue({googles.CLOUD_PLATFORM}, "test").value
    below = f"/v1/projects/{googles.PROJECT}/locations/global/endpoints/openapi"
    return openai.OpenAI(base_url=fixture("vertex").url + below, api_key=token, **ONCE)


def bedrock_claude(fixture):
    key = fixture("aws_identity").static
    keys = {"aws_access_key": key.id, "aws_secret_key": key.secret, "aws_region": "us-east-1"}
    return anthropic.AnthropicBedrock(base_url=fixture("bedrock").url, **keys, **ONCE)


def mantle_claude(fixture):
    key = fixture("aws_identity").static
    keys = {"aws_access_key": key.id, "aws_secret_key": key.secret, "aws_region": "us-east-1"}
    return anthropic.AnthropicBedrockMantle(base_url=f"{fixture('mantle').url}/anthropic", **keys, **ONCE)


def mantle_openai(fixture):
    mantle = fixture("mantle")
    return openai.OpenAI(base_url=f"{mantle.url}/v1", api_key=mantle.key, **ONCE)


def bedrock_openai(fixture):
    bedrock = fixture("bedrock")
    return openai.OpenAI(base_url=f"{bedrock.url}/openai/v1", api_key=bedrock.key, **ONCE)


WAYS = {
    "azure-v1-chat": (drivers.Chat, azure_v1, "scripted-large"),
    "azure-v1-responses": (drivers.Responses, azure_v1, "scripted-large"),
    "azure-dated-chat": (drivers.Chat, azure_dated, "scripted-large"),
    "azure-dated-responses": (drivers.Responses, azure_dated, "scripted-large"),
    "azure-claude": (drivers.Claude, azure_claude, "claude"),
    "vertex-gemini": (drivers.Gemini, vertex_gemini, "gemini-pro"),
    "vertex-claude": (drivers.Claude, vertex_claude, "claude-sonnet@20250929"),
    "vertex-openai": (drivers.Chat, vertex_openai, "google/gemini-pro"),
    "bedrock-claude": (drivers.Claude, bedrock_claude, CLAUDE_ON_BEDROCK),
    "bedrock-openai-chat": (drivers.Chat, bedrock_openai, "openai.gpt-oss-120b"),
    "bedrock-openai-responses": (drivers.Responses, bedrock_openai, "openai.gpt-oss-120b"),
    "mantle-claude": (drivers.Claude, mantle_claude, "anthropic.claude-sonnet-4-5"),
    "mantle-chat": (drivers.Chat, mantle_openai, "openai.gpt-oss-120b"),
    "mantle-responses": (drivers.Responses, mantle_openai, "openai.gpt-oss-120b"),
    "bedrock-converse": (Converse, None, CLAUDE_ON_BEDROCK),
    "bedrock-converse-profile": (Converse, None, PROFILE),
}
OWN = ("bedrock-converse", "bedrock-converse-profile")  # not by the scripted upstream


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def driver(way, request):
    kind, client, model = WAYS[way]
    if client:
        made = kind("http://127.0.0.1:9", "unused", model)
        made.close()
        made.client = client(request.getfixturevalue)
    else:
        key = request.getfixturevalue("aws_identity").static
        keys = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret}
        made = kind(request.getfixturevalue("bedrock").url, keys, model)
    yield made
    made.close()


def truth(way, request):
    if way not in OWN:
        found = request.getfixturevalue("upstream").truth()
        return found["input_tokens"], found["output_tokens"]
    usage = request.getfixturevalue("bedrock").truth
    return usage["inputTokens"], usage["outputTokens"]


def script(way, request, **script):
    request.getfixturevalue("bedrock" if way in OWN else "upstream").script(**script)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_text(way, driver, request, stream):
    driver.user("Grüße, 世界 and all")
    answer = driver.send(stream=stream, system="Be brief.")
    assert answer.text == "You said: Grüße, 世界 and all"
    assert (answer.finish, answer.calls) == ("stop", [])
    assert answer.pieces >= 5 if stream else answer.pieces == 0
    assert (answer.input_tokens, answer.output_tokens) == truth(way, request)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tool_round_trip(way, driver, request, stream):
    script(way, request, parallel_tools=True)
    driver.user("What is the weather?")
    asked = driver.send(stream=stream, tools=[WEATHER, TIME])
    assert asked.finish == "tools" and [call.name for call in asked.calls] == ["get_weather", "get_time"]
    assert asked.calls[0].arguments == {"city": "city №0", "days": 0, "metric": False}
    assert (asked.input_tokens, asked.output_tokens) == truth(way, request)
    driver.results(asked, ["sunny", "noon"])
    answer = driver.send(stream=stream, tools=[WEATHER, TIME])
    assert (answer.text, answer.finish) == ("The tool said: sunny | noon", "stop")


def test_image_and_limit(driver):
    driver.user("What is this?", images=[("image/png", PNG)])
    assert driver.send().text == f"I see image/png of {len(PNG)} bytes. You said: What is this?"
    answer = driver.send(max_tokens=3, stream=True)
    assert (answer.text.split(), answer.finish) == (["I", "see", "image/png"], "length")


@pytest.mark.parametrize("way", [way for way in WAYS if way not in OWN], indirect=True)
def test_error_status(driver, upstream):
    driver.user("x")
    for status in (400, 403, 429, 500, 503):
        upstream.fail(status, headers={"retry-after": "1"})
        for stream in (False, True):
            with pytest.raises(drivers.refusal(driver, status)) as raised:
                driver.send(stream=stream)
            assert drivers.status_of(raised.value) == status


@pytest.mark.parametrize("way", [way for way in WAYS if way not in OWN], indirect=True)
def test_error_in_mid_stream(driver, upstream):
    upstream.script(error_after=2)
    driver.user("one two three")
    expected = {
        "openai-chat": openai.APIError,
        "openai-responses": RuntimeError,
        "anthropic": anthropic.APIStatusError,
        "gemini": drivers.errors.APIError,
    }
    with pytest.raises(expected[driver.name]):
        driver.send(stream=True)


def test_a_credential_that_is_not_taken(way, driver, request):
    driver.user("x")
    driver.send()
    cloud = request.getfixturevalue(way.partition("-")[0])
    if way.startswith("vertex"):
        cloud.identity.revoke()
    else:
        cloud.key = "another"
    if way.startswith(("bedrock", "mantle")):
        cloud.identity.static.revoked = True
    with pytest.raises(Exception) as raised:
        driver.send()
    if isinstance(raised.value, botocore.exceptions.ClientError):
        status = raised.value.response["ResponseMetadata"]["HTTPStatusCode"]
    else:
        status = drivers.status_of(raised.value)
    assert status == (403 if way.startswith("bedrock") else 401)
