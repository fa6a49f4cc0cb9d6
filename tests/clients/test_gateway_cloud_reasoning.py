"""Reasoning of the clouds' models, and clients that leave: each SDK reads the one, and the cloud feels the other."""

import json
import time

import pytest

import gateway as gateways
from drivers import DRIVERS
from test_gateway_clouds import WAYS, shared  # noqa: F401 (a fixture)

THOUGHT = "The moon pulls."
SAID = "Twice a day."


def events(*documents, named=False):
    """Server-sent events, which Anthropic names by their type."""
    head = lambda document: f"event: {document['type']}\n" if named else ""
    return "".join(f"{head(document)}data: {json.dumps(document)}\n\n" for document in documents)


CLAUDE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [
        {"type": "thinking", "thinking": THOUGHT, "signature": "EqQBCkYIBxgC"},
        {"type": "text", "text": SAID},
    ],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 9},
}
CLAUDE_STREAM = events(
    {"type": "message_start", "message": {**CLAUDE, "content": [], "stop_reason": None}},
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "thinking", "thinking": "", "signature": ""},
    },
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": THOUGHT}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQBCkYIBxgC"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": SAID}},
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
    named=True,
)


def gemini(*parts, **more):
    counts = {"promptTokenCount": 5, "candidatesTokenCount": 4, "thoughtsTokenCount": 5, "totalTokenCount": 14}
    return {
        "candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}],
        "usageMetadata": counts,
        "modelVersion": "gemini",
        "responseId": "r1",
    }


THOUGHT_PART = {"text": THOUGHT, "thought": True}
SAID_PART = {"text": SAID, "thoughtSignature": "U2lnbmVk"}
GEMINI = gemini(THOUGHT_PART, SAID_PART, finishReason="STOP")
GEMINI_STREAM = events(gemini(THOUGHT_PART), gemini(SAID_PART, finishReason="STOP"))

# What the model behind each target says, whole and streamed.
ANSWERS = {
    "azure-claude": (CLAUDE, CLAUDE_STREAM),
    "vertex-claude": (CLAUDE, CLAUDE_STREAM),
    "vertex-gemini": (GEMINI, GEMINI_STREAM),
}


def thought(name, native):
    """The reasoning in an SDK's answer."""
    if name == "openai-chat":
        return native.choices[0].message.reasoning_content
    if name == "openai-responses":
        return "".join(part.text for item in native.output if item.type == "reasoning" for part in item.summary)
    if name == "anthropic":
        return "".join(block.thinking for block in native.content if block.type == "thinking")
    return "".join(part.text for part in native.candidates[0].content.parts if part.thought)


@WAYS
@pytest.mark.parametrize("target", ANSWERS)
@pytest.mark.parametrize("inbound", DRIVERS)
def test_reasoning_reaches_every_client(inbound, target, stream, shared, upstream, connect):  # noqa: F811
    whole, streamed = ANSWERS[target]
    body = (streamed, "text/event-stream") if stream else (json.dumps(whole), "application/json")
    upstream.script(status={"status": 200, "body": body[0], "content_type": body[1]})
    driver = connect(inbound, shared.url, gateways.TOKEN, target)
    driver.user("Why are there tides?")
    answer = driver.send(stream=stream)
    assert thought(inbound, answer.native) == THOUGHT
    assert answer.text.removeprefix(THOUGHT) == SAID
    assert (answer.input_tokens, answer.output_tokens) == (5, 9)


def leave(name, driver):
    """Reads the beginning of a stream by the SDK, and leaves."""
    if name == "openai-chat":
        stream = driver.client.chat.completions.create(model=driver.model, messages=driver.history, stream=True)
    elif name == "openai-responses":
        stream = driver.client.responses.create(model=driver.model, input=driver.history, stream=True, store=False)
    elif name == "anthropic":
        stream = driver.client.messages.create(
            model=driver.model, messages=driver.history, max_tokens=99, stream=True
        )
    else:
        stream = driver.client.models.generate_content_stream(model=driver.model, contents=driver.history)
    next(iter(stream))
    stream.close()
    driver.close()


@pytest.mark.parametrize("target", ["azure", "azure-claude", "vertex-gemini", "vertex-claude"])
@pytest.mark.parametrize("inbound", DRIVERS)
def test_a_client_that_leaves_is_felt_by_the_cloud(inbound, target, shared, upstream, connect):  # noqa: F811
    upstream.script(delay_chunk_ms=20, text=" ".join(["word"] * 2_000))
    driver = connect(inbound, shared.url, gateways.TOKEN, target)
    driver.user("x")
    leave(inbound, driver)
    deadline = time.monotonic() + 10
    while upstream.truth()["outcome"] != "client_closed":
        assert time.monotonic() < deadline, upstream.truth()
