"""What is Bedrock's own in its fake; that it serves its SDKs is in test_cloud_truth.py."""

import base64
import datetime
import json
import re

import anthropic
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.eventstream
import botocore.exceptions
import httpx2
import openai
import pytest
import urllib3

import converse_driver
from clouds import aws

MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"
USER = {"role": "user", "content": [{"text": "a b c d"}]}
CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "a b"}]}
TOOL = {"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}
pytestmark = pytest.mark.usefixtures("no_cloud_of_our_own")
FIELDS = "additionalModelRequestFields"
POINT = {"cachePoint": {"type": "default"}}
USE = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "t", "input": {}}}]}


def result(*content):
    return {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": list(content)}}]}


def image(data):
    return {"image": {"format": "png", "source": {"bytes": data}}}


def static(aws_identity):
    return {"aws_access_key_id": aws_identity.static.id, "aws_secret_access_key": aws_identity.static.secret}


@pytest.fixture
def runtime(bedrock, aws_identity):
    made = converse_driver.client("bedrock-runtime", bedrock.url, region_name=aws.REGION, **static(aws_identity))
    yield made
    made.close()


def code(raised):
    return raised.value.response["Error"]["Code"]


def post(bedrock, operation, body, model=MODEL):
    """With the API key: past what boto3 checks by itself."""
    url = f"{bedrock.url}/model/{model}/{operation}"
    return httpx2.post(url, json=body, headers={"authorization": f"Bearer {bedrock.key}"})


def test_an_api_key(bedrock, monkeypatch):
    """boto3 sends it to `https` only."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", bedrock.key)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bedrock.authority.ca_file))
    client = converse_driver.client("bedrock-runtime", bedrock.tls_url, region_name=aws.REGION)
    assert client.converse(modelId=MODEL, messages=[USER])["stopReason"] == "end_turn"
    assert bedrock.last().headers["authorization"] == f"Bearer {bedrock.key}"
    bedrock.key = "another"
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        client.converse(modelId=MODEL, messages=[USER])
    assert code(raised) == "AccessDeniedException"


def test_the_keys_of_a_role(bedrock, aws_identity, monkeypatch, tmp_path):
    """From the pod's projected token to an answer, with nothing but the environment."""
    for name, value in aws_identity.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    client = converse_driver.client("bedrock-runtime", bedrock.url)
    assert client.converse(modelId=MODEL, messages=[USER])["stopReason"] == "end_turn"
    [key] = aws_identity.keys()
    assert bedrock.last().headers["x-amz-security-token"] == key.token
    key.expires = 0
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        client.converse(modelId=MODEL, messages=[USER])
    assert code(raised) == "ExpiredTokenException"


@pytest.mark.parametrize("ahead", [-6, -4, 4, 6])
def test_the_skew_of_clocks(bedrock, runtime, ahead):
    bedrock.clock = datetime.timedelta(minutes=ahead)
    if abs(ahead) < 5:
        assert runtime.converse(modelId=MODEL, messages=[USER])
        return
    with pytest.raises(botocore.exceptions.ClientError, match="Signature expired|not yet current") as raised:
        runtime.converse(modelId=MODEL, messages=[USER])
    assert code(raised) == "InvalidSignatureException"


def test_the_path_is_signed_encoded_twice(bedrock, runtime):
    runtime.converse(modelId=MODEL, messages=[USER])
    assert bedrock.last().target == "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse"
    profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    runtime.converse(modelId=profile, messages=[USER])
    assert bedrock.last().target.endswith("%3Aapplication-inference-profile%2Fabc/converse")


def signed(bedrock, aws_identity, **change):
    key = aws_identity.static
    body = json.dumps({"messages": [USER]})
    request = botocore.awsrequest.AWSRequest("POST", f"{bedrock.url}/model/x.y/converse", data=body)
    credentials = botocore.credentials.Credentials(key.id, change.get("secret", key.secret))
    signer = botocore.auth.SigV4Auth(credentials, change.get("service", "bedrock"), change.get("region", aws.REGION))
    signer.add_auth(request)
    prepared = request.prepare()
    headers = {**prepared.headers, **change.get("headers", {})}
    return httpx2.post(prepared.url, content=change.get("body", prepared.body), headers=headers)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, None),
        ({"secret": "wrong"}, "InvalidSignature"),
        ({"service": "bedrock-runtime"}, "InvalidSignature"),
        ({"region": "eu-west-1"}, "InvalidSignature"),
        ({"body": json.dumps({"messages": [USER]}).replace("a b", "a c").encode()}, "InvalidSignature"),
        ({"headers": {"x-amz-target": "not signed"}}, "InvalidSignature"),
        ({"headers": {"x-amz-security-token": "not its own"}}, "UnrecognizedClient"),
        ({"headers": {"authorization": "AWS4-HMAC-SHA256 Credential=x"}}, "IncompleteSignature"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_signatures(bedrock, aws_identity, change, name):
    answer = signed(bedrock, aws_identity, **change)
    assert answer.status_code == (403 if name else 200)
    assert not name or answer.headers["x-amzn-errortype"].startswith(f"{name}Exception:")


def test_a_signature_covers_nothing_that_proxies_change(bedrock, aws_identity):
    right = signed(bedrock, aws_identity).request.headers
    wrong = right["authorization"].replace("SignedHeaders=", "SignedHeaders=connection;")
    answer = signed(bedrock, aws_identity, headers={"Authorization": wrong, "connection": "keep-alive"})
    assert answer.status_code == 403 and "cannot be verified: connection;host" in answer.json()["message"]


def test_no_signature(bedrock):
    answer = httpx2.post(f"{bedrock.url}/model/x.y/converse", json={"messages": [USER]})
    assert answer.headers["x-amzn-errortype"].startswith("MissingAuthenticationTokenException")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_reasoning_comes_signed_and_goes_back(runtime, stream):
    more = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    asked = {"modelId": MODEL, "inferenceConfig": {"maxTokens": 2000}, "additionalModelRequestFields": more}
    if stream:
        whole, _ = converse_driver.accumulate(runtime.converse_stream(**asked, messages=[USER])["stream"])
    else:
        whole = runtime.converse(**asked, messages=[USER])
    message = whole["output"]["message"]
    thought = message["content"][0]["reasoningContent"]["reasoningText"]
    assert thought["text"] == "I think about: a b c d" and thought["signature"]
    again = runtime.converse(**asked, messages=[USER, message, USER])
    assert again["usage"]["inputTokens"] == 4 + 6 + 4
    thought["signature"] = "another"
    with pytest.raises(botocore.exceptions.ClientError, match="Invalid `signature`"):
        runtime.converse(**asked, messages=[USER, message, USER])


def test_cache_points_are_counted_apart(runtime):
    asked = {
        "modelId": MODEL,
        "system": [{"text": "one two three"}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        "messages": [{"role": "user", "content": [{"text": "a b"}, POINT, {"text": "c"}]}],
    }
    first, second = runtime.converse(**asked)["usage"], runtime.converse(**asked)["usage"]
    assert (first["inputTokens"], first["cacheWriteInputTokens"], first["cacheReadInputTokens"]) == (1, 5, 0)
    assert first["cacheDetails"] == [{"ttl": "1h", "inputTokens": 3}, {"ttl": "5m", "inputTokens": 2}]
    assert (second["inputTokens"], second["cacheWriteInputTokens"], second["cacheReadInputTokens"]) == (1, 0, 5)


def test_stop_sequences(bedrock, runtime):
    bedrock.script(text="one two END three")
    told = runtime.converse(modelId=MODEL, messages=[USER], inferenceConfig={"stopSequences": ["END"]})
    assert (told["output"]["message"]["content"], told["stopReason"]) == ([{"text": "one two "}], "stop_sequence")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": MODEL, "messages": [USER]}, "extraneous key \\[model\\]"),
        ({"stream": True, "messages": [USER]}, "extraneous key \\[stream\\]"),
        ({"messages": [{"role": "user", "content": [{"text": "x", **POINT}]}]}, "following keys"),
        ({"messages": [USER, USER]}, "alternate"),
        ({"messages": [USE, result({"text": "x"})], "toolConfig": {"tools": [TOOL]}}, "start with a user"),
        ({"messages": [USER], "toolConfig": {"tools": []}}, "length"),
        ({"messages": [USER], "toolConfig": {"tools": [TOOL], "toolChoice": {"none": {}}}}, "key \\[none\\]"),
        ({"messages": [USER, USE, result({"text": "x"})]}, "toolConfig field must be defined"),
        ({"messages": [USER, USE, USER], "toolConfig": {"tools": [TOOL]}}, "Expected toolResult"),
        ({"messages": [USER, USE, result(POINT)], "toolConfig": {"tools": [TOOL]}}, "extraneous key \\[cachePoint\\]"),
        ({"messages": [USER, USE, result({"json": [1]})], "toolConfig": {"tools": [TOOL]}}, "json is invalid"),
        ({"messages": [{"role": "user", "content": [{"text": " "}]}]}, "blank"),
        ({"messages": [{"role": "user", "content": []}]}, "is empty"),
        ({"messages": [{"role": "user", "content": None}]}, "must not be null"),
        ({"messages": []}, "at least one"),
        ({"messages": [USER], FIELDS: {"anthropic_beta": ["files-api-2025-04-14"]}}, "beta flag"),
        ({"messages": [USER], FIELDS: {"topK": 4}}, "Extra inputs"),
        ({"messages": [USER], "inferenceConfig": {"temperature": 1.5}}, "constraint"),
        ({"messages": [USER], "serviceTier": {"type": "standard"}}, "enum value set"),
        ({"messages": [USER], "requestMetadata": {"team": "a€b"}}, "pattern"),
        ({"messages": [{"role": "user", "content": [image("%")]}]}, "base64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_illegal_bodies(bedrock, body, words):
    for operation in ("converse", "converse-stream"):
        answer = post(bedrock, operation, body)
        assert answer.status_code == 400, answer.text
        assert answer.headers["x-amzn-errortype"].startswith("ValidationException:")
        assert re.search(words, answer.json()["message"]), answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (CLAUDE, 200),
        ({**CLAUDE, "anthropic_beta": ["context-1m-2025-08-07"]}, 200),
        ({**CLAUDE, "anthropic_beta": ["prompt-caching-2024-07-31"]}, 400),
        ({**CLAUDE, "model": MODEL}, 400),
        ({**CLAUDE, "stream": True}, 400),
        ({**CLAUDE, "anthropic_version": "vertex-2023-10-16"}, 400),
        ({"max_tokens": 9, "messages": CLAUDE["messages"]}, 400),
    ],
)
def test_rules_of_claude(bedrock, body, status):
    assert post(bedrock, "invoke", body).status_code == status


def test_invoke(runtime):
    told = runtime.invoke_model(modelId=MODEL, body=json.dumps(CLAUDE))
    assert json.loads(told["body"].read())["content"][0]["text"] == "You said: a b"
    assert told["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"] == "2"
    stream = runtime.invoke_model_with_response_stream(modelId=MODEL, body=json.dumps(CLAUDE))["body"]
    events = [json.loads(event["chunk"]["bytes"]) for event in stream]
    assert events[0]["type"] == "message_start" and events[-1]["type"] == "message_stop"
    counts = events[-1]["amazon-bedrock-invocationMetrics"]
    assert (counts["inputTokenCount"], counts["outputTokenCount"]) == (2, 4)


NOVA_TEXT = {"embeddingPurpose": "GENERIC_INDEX", "text": {"truncationMode": "NONE", "value": "a b"}}
NOVA_ASK = {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": NOVA_TEXT}
TEXTS = {"texts": ["a b", "c"], "input_type": "search_document"}


def test_embeddings(runtime):
    def embed(model, asked):
        answer = runtime.invoke_model(modelId=model, body=json.dumps(asked))
        assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"] in ("2", "3")
        return json.loads(answer["body"].read())

    titan = embed("amazon.titan-embed-text-v2:0", {"inputText": "a b"})
    assert len(titan["embedding"]) == 8 and titan["inputTextTokenCount"] == 2
    assert len(embed("cohere.embed-multilingual-v3", TEXTS)["embeddings"]) == 2
    floats = embed("us.cohere.embed-v4:0", {**TEXTS, "embedding_types": ["float"], "output_dimension": 256})
    assert [len(vector) for vector in floats["embeddings"]["float"]] == [256, 256]
    [nova] = embed("amazon.nova-2-multimodal-embeddings-v1:0", NOVA_ASK)["embeddings"]
    assert nova["embeddingType"] == "TEXT" and len(nova["embedding"]) == 8


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("amazon.titan-embed-text-v1", {"inputText": "a", "dimensions": 256}),
        ("amazon.titan-embed-text-v2:0", {"inputText": "a", "dimensions": 8}),
        ("amazon.titan-embed-text-v2:0", {"inputText": ["a"]}),
        ("cohere.embed-english-v3", {"texts": ["a"]}),
        ("cohere.embed-english-v3", {**TEXTS, "output_dimension": 256}),
        ("cohere.embed-v4:0", {**TEXTS, "texts": ["a"] * 97}),
        ("amazon.nova-2-multimodal-embeddings-v1:0", {"inputText": "a"}),
        ("amazon.nova-pro-v1:0", {"inputText": "a"}),
    ],
)
def test_rules_of_embedding_models(bedrock, model, body):
    assert post(bedrock, "invoke", body, model).status_code == 400


def test_tokens_are_counted(runtime):
    assert runtime.count_tokens(modelId=MODEL, input={"converse": {"messages": [USER]}})["inputTokens"] == 4
    body = json.dumps(CLAUDE).encode()
    assert runtime.count_tokens(modelId=MODEL, input={"invokeModel": {"body": body}})["inputTokens"] == 2


@pytest.mark.parametrize("after", [0, 3], ids=["at-once", "in-mid-stream"])
@pytest.mark.parametrize(
    "name",
    [
        "throttlingException",
        "validationException",
        "serviceUnavailableException",
        "internalServerException",
        "modelStreamErrorException",
        "error",
    ],
)
def test_exceptions_in_streams(bedrock, runtime, name, after):
    bedrock.break_stream(name, after)
    seen = []
    with pytest.raises(botocore.exceptions.EventStreamError) as raised:
        for event in runtime.converse_stream(modelId=MODEL, messages=[USER])["stream"]:
            seen.append(event)
    assert len(seen) == after and code(raised) == ("InternalFailure" if name == "error" else name)


@pytest.mark.parametrize(
    ("how", "raised"),
    [
        ("bad_prelude", botocore.eventstream.ChecksumMismatch),
        ("bad_crc", botocore.eventstream.ChecksumMismatch),
        ("huge", botocore.eventstream.InvalidPayloadLength),
        ("cut", urllib3.exceptions.ProtocolError),
        ("end", AssertionError),  # nobody but the caller finds out
    ],
)
def test_broken_streams(bedrock, runtime, how, raised):
    bedrock.break_stream(how, after=3)
    with pytest.raises(raised):
        converse_driver.accumulate(runtime.converse_stream(modelId=MODEL, messages=[USER])["stream"])


def test_an_exception_in_the_stream_of_claude(bedrock, aws_identity):
    bedrock.break_stream("throttlingException", after=3)
    key = aws_identity.static
    keys = {"aws_access_key": key.id, "aws_secret_key": key.secret, "aws_region": aws.REGION}
    with anthropic.AnthropicBedrock(base_url=bedrock.url, **keys, max_retries=0) as client:
        with pytest.raises(anthropic.APIError, match="throttlingException"):
            with client.messages.stream(model=MODEL, max_tokens=9, messages=CLAUDE["messages"]) as stream:
                stream.get_final_message()


@pytest.mark.parametrize(
    ("fault", "name", "status"),
    [
        ("throttled", "ThrottlingException", 429),
        ("unavailable", "ServiceUnavailableException", 503),
        ("broken", "InternalServerException", 500),
        ("denied", "AccessDeniedException", 403),
        ("not_ready", "ModelNotReadyException", 429),
        ("model_error", "ModelErrorException", 424),
        ("slow", "ModelTimeoutException", 408),
    ],
)
def test_faults(bedrock, runtime, fault, name, status):
    bedrock.fail(fault, times=2)
    for call in (runtime.converse, runtime.converse_stream):
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            call(modelId=MODEL, messages=[USER])
        assert code(raised) == name
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert runtime.converse(modelId=MODEL, messages=[USER])


def test_models_that_are_not_served(bedrock, runtime):
    bedrock.not_on_route = {("converse", "amazon.other-v1:0"), ("openai", MODEL)}
    models = {"anthropic.missing-v1:0": "identifier is invalid", "anthropic.denied-v1:0": "have access"}
    for model, words in {**models, "amazon.other-v1:0": "doesn't support the model"}.items():
        with pytest.raises(botocore.exceptions.ClientError, match=words):
            runtime.converse(modelId=model, messages=[USER])
    with openai.OpenAI(base_url=f"{bedrock.url}/openai/v1", api_key=bedrock.key, max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="isn't supported on this route"):
            client.chat.completions.create(model=MODEL, messages=CLAUDE["messages"])


def test_mantle_takes_a_key(mantle):
    with anthropic.AnthropicBedrockMantle(base_url=f"{mantle.url}/anthropic", api_key=mantle.key) as client:
        told = client.messages.create(model="anthropic.claude", max_tokens=9, messages=CLAUDE["messages"])
        assert told.content[0].text == "You said: a b"
        with pytest.raises(anthropic.NotFoundError, match="isn't supported on this route"):
            client.messages.create(model="anthropic.missing", max_tokens=9, messages=CLAUDE["messages"])


@pytest.mark.parametrize(
    ("prefix", "call", "model", "refused"),
    [
        ("/v1", "chat", "openai.gpt-oss-120b", None),
        ("/openai/v1", "chat", "openai.gpt-oss-120b", "isn't supported on this route"),
        ("/openai/v1", "responses", "openai.gpt-5.6-luna", None),
        ("/v1", "responses", "openai.gpt-5.6-luna", "isn't supported on this route"),
        ("/openai/v1", "chat", "openai.gpt-5.6-luna", "does not support the '/v1/chat/completions' API"),
        ("/openai/v1", "chat", "google.gemma-4-31b", None),
        ("/v1", "chat", "anthropic.claude-opus-4-7", "does not support the '/v1/chat/completions' API"),
    ],
)
def test_routes_of_mantle(mantle, prefix, call, model, refused):
    with openai.OpenAI(base_url=f"{mantle.url}{prefix}", api_key=mantle.key, max_retries=0) as client:
        chat = lambda: client.chat.completions.create(model=model, messages=CLAUDE["messages"])
        ask = chat if call == "chat" else lambda: client.responses.create(model=model, input="a b")
        if refused is None:
            assert ask().id
            return
        with pytest.raises(openai.BadRequestError, match=refused):
            ask()


def test_signatures_of_the_apis_of_openai(bedrock, aws_identity):
    body = json.dumps({"model": "openai.gpt-oss-120b", "messages": CLAUDE["messages"]})
    url, key = f"{bedrock.url}/openai/v1/chat/completions", aws_identity.static
    headers = {"content-type": "application/json"}
    request = botocore.awsrequest.AWSRequest("POST", url, data=body, headers=headers)
    credentials = botocore.credentials.Credentials(key.id, key.secret)
    botocore.auth.SigV4Auth(credentials, "bedrock", aws.REGION).add_auth(request)
    prepared = request.prepare()
    answer = httpx2.post(url, content=prepared.body, headers=prepared.headers)
    assert answer.json()["choices"][0]["message"]["content"] == "You said: a b"


def test_a_signature_for_the_runtime_is_none_for_mantle(mantle, aws_identity):
    key = aws_identity.static
    request = botocore.awsrequest.AWSRequest("POST", f"{mantle.url}/v1/chat/completions", data="{}")
    credentials = botocore.credentials.Credentials(key.id, key.secret)
    botocore.auth.SigV4Auth(credentials, "bedrock", aws.REGION).add_auth(request)
    answer = httpx2.post(request.url, content=b"{}", headers=request.prepare().headers)
    assert answer.status_code == 401 and "bedrock-mantle" in answer.json()["error"]["message"]


def test_an_image_in_a_tool_result(runtime):
    png = base64.b64decode("iVBORw0KGgo=")
    messages = [USER, USE, result(image(png), {"text": "x"})]
    told = runtime.converse(modelId=MODEL, messages=messages, toolConfig={"tools": [TOOL]})
    assert told["output"]["message"]["content"] == [{"text": "The tool said: x"}]
