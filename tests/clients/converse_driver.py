"""boto3's Converse behind the surface of `drivers.Driver`."""

import json

import boto3
import botocore.config
import botocore.loaders
import botocore.session

from drivers import Answer, Call, Driver

# Keeps the descriptions of services, which are long.
LOADER = botocore.loaders.create_loader()
ONCE = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20)


def session():
    """A session of botocore that has read the descriptions before."""
    made = botocore.session.Session()
    made.register_component("data_loader", LOADER)
    return made


def client(service, url, **options):
    """A client of boto3 that asks once."""
    return boto3.Session(botocore_session=session()).client(service, endpoint_url=url, config=ONCE, **options)


class Converse(Driver):
    """`key` is what `boto3.client` takes, beside the region; the credentials of the environment if it is empty."""

    name, dialect = "bedrock-converse", "converse"

    def __init__(self, root, key, model):
        super().__init__(root, key, model)
        self.client = client("bedrock-runtime", root, **{"region_name": "us-east-1", **(key or {})})

    def close(self):
        self.client.close()

    def user(self, text, images=()):
        parts = [{"image": {"format": mime.partition("/")[2], "source": {"bytes": data}}} for mime, data in images]
        self.history.append({"role": "user", "content": [*parts, {"text": text}]})

    def results(self, answer, outputs):
        self.history.append(answer.native["output"]["message"])
        blocks = [
            {"toolResult": {"toolUseId": call.id, "content": [{"text": output}]}}
            for call, output in zip(answer.calls, outputs, strict=True)
        ]
        self.history.append({"role": "user", "content": blocks})

    def send(self, stream=False, system=None, tools=(), temperature=None, stop=None, max_tokens=200, parallel=None):
        assert parallel is None, "Converse has no such switch"
        settings = {"maxTokens": max_tokens}
        if temperature is not None:
            settings["temperature"] = temperature
        if stop:
            settings["stopSequences"] = stop
        options = {"modelId": self.model, "messages": self.history, "inferenceConfig": settings}
        if system:
            options["system"] = [{"text": system}]
        if tools:
            about = lambda t: {"name": t["name"], "description": t["description"]}
            specs = [{**about(t), "inputSchema": {"json": t["schema"]}} for t in tools]
            options["toolConfig"] = {"tools": [{"toolSpec": spec} for spec in specs]}
        if not stream:
            return answer(self.client.converse(**options), 0)
        return answer(*accumulate(self.client.converse_stream(**options)["stream"]))

    def count(self, text):
        asked = {"converse": {"messages": [{"role": "user", "content": [{"text": text}]}]}}
        return self.client.count_tokens(modelId=self.model, input=asked)["inputTokens"]


def accumulate(events):
    """The whole answer that a stream makes, and how many pieces of text it came in; its order is checked."""
    blocks, whole, pieces = {}, {}, 0
    for event in events:
        [(kind, value)] = event.items()
        if kind == "messageStart":
            assert not whole, "it starts once"
            whole = {"output": {"message": {"role": value["role"], "content": []}}}
        elif kind == "contentBlockStart":
            assert value["contentBlockIndex"] not in blocks
            blocks[value["contentBlockIndex"]] = dict(value["start"])
        elif kind == "contentBlockDelta":
            pieces += _add(blocks.setdefault(value["contentBlockIndex"], {}), value["delta"])
        elif kind == "contentBlockStop":
            block = blocks[value["contentBlockIndex"]]
            if "toolUse" in block:
                block["toolUse"] = {**block["toolUse"], "input": json.loads(block["toolUse"]["input"] or "{}")}
            whole["output"]["message"]["content"].append(block)
        elif kind == "messageStop":
            whole["stopReason"] = value["stopReason"]
        else:
            assert kind == "metadata" and "stopReason" in whole, event
            whole.update(value)
    assert "stopReason" in whole, "the stream ended before its message"
    assert len(whole["output"]["message"]["content"]) == len(blocks), "a block was not ended"
    return whole, pieces


def _add(block, delta):
    [(kind, value)] = delta.items()
    if kind == "text":
        block["text"] = block.get("text", "") + value
        return 1
    if kind == "toolUse":
        block["toolUse"] = {**block["toolUse"], "input": block["toolUse"].get("input", "") + value["input"]}
    else:
        assert kind == "reasoningContent", delta
        [(part, value)] = value.items()
        text = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {"text": ""})
        text[part] = text.get(part, "") + value
    return 0


def answer(native, pieces):
    content = native["output"]["message"]["content"]
    text = "".join(block.get("text", "") for block in content)
    used = [block["toolUse"] for block in content if "toolUse" in block]
    calls = [Call(use["toolUseId"], use["name"], use["input"]) for use in used]
    reasons = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tools"}
    usage = native["usage"]
    cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    assert usage["totalTokens"] == usage["inputTokens"] + cached + usage["outputTokens"], usage
    counts = usage["inputTokens"] + cached, usage["outputTokens"]
    return Answer(text, calls, reasons[native["stopReason"]], *counts, pieces, native)
