"""The answer to a request of Converse: text or tool calls, where it ends, what it costs; whole, and as events."""

import dataclasses
import json


@dataclasses.dataclass
class Answer:
    thoughts: list
    pieces: list
    calls: list
    stop: str
    usage: dict


def decide(number, ask, body, script, seen):
    """`seen` are the fingerprints of what was cached before."""
    fields = body.get("additionalModelRequestFields") or {}
    thinks = (fields.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    thoughts = _words(f"I think about: {ask.text or 'what the tools said'}") if thinks else []
    calls = _calls(number, ask, body, script)
    pieces, stop = ([], "tool_use") if calls else _text(ask, body, script)
    output = len(thoughts) + len(pieces) + sum(1 + len(_fragments(call)) for call in calls)
    return Answer(thoughts, pieces, calls, stop, _usage(ask, output, script, seen))


def _usage(ask, output, script, seen):
    read, written, details = script.get("cached_tokens", 0), 0, []
    before = 0
    for tokens, ttl, fingerprint in ask.points:
        if fingerprint in seen:
            read += tokens - before
        else:
            written += tokens - before
            details.append({"ttl": ttl, "inputTokens": tokens - before})
            seen.add(fingerprint)
        before = tokens
    usage = {"inputTokens": ask.tokens - read - written, "outputTokens": output, "totalTokens": ask.tokens + output}
    usage |= {"cacheReadInputTokens": read, "cacheWriteInputTokens": written}
    return {**usage, "cacheDetails": details} if details else usage


def _words(text):
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + words[-1:]


def _calls(number, ask, body, script):
    if script.get("no_tools") or ask.results or not ask.tools:
        return []
    choice = ((body.get("toolConfig") or {}).get("toolChoice") or {}).get("tool") or {}
    offered = [tool for tool in ask.tools if choice.get("name", tool["name"]) == tool["name"]]
    made = []
    for nth in range(2 if script.get("parallel_tools") else 1):
        tool = offered[nth] if nth < len(offered) else offered[0]
        made.append((f"tooluse_{number}_{nth}", tool["name"], _arguments(tool["schema"], nth)))
    return made


def _arguments(schema, salt):
    return {name: _argument(name, of, salt) for name, of in schema.get("properties", {}).items()}


def _argument(name, schema, salt):
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type"):
        case "integer" | "number":
            return salt
        case "boolean":
            return False
        case "array":
            return [_argument(name, schema.get("items", {}), salt)]
        case "object":
            return _arguments(schema, salt)
    return f"{name} №{salt}"


def _fragments(call):
    text = json.dumps(call[2], ensure_ascii=False, separators=(",", ":"))
    return [text[at : at + 9] for at in range(0, len(text), 9)]


def _text(ask, body, script):
    settings = body.get("inferenceConfig") or {}
    said = f"The tool said: {' | '.join(ask.results)}" if ask.results else f"{''.join(ask.images)}You said: {ask.text}"
    text, reason = script.get("text", said), "end_turn"
    found = [at for at in (text.find(stop) for stop in settings.get("stopSequences") or ()) if at >= 0]
    if found:
        text, reason = text[: min(found)], "stop_sequence"
    pieces = list(script["pieces"]) if "pieces" in script else [piece for piece in _words(text) if piece]
    limit = settings.get("maxTokens")
    if limit is not None and limit < len(pieces):
        pieces, reason = pieces[:limit], "max_tokens"
    return pieces, reason


def whole(answer, sign):
    content = []
    if answer.thoughts:
        text = "".join(answer.thoughts)
        content.append({"reasoningContent": {"reasoningText": {"text": text, "signature": sign(text)}}})
    if answer.pieces:
        content.append({"text": "".join(answer.pieces)})
    for call_id, name, arguments in answer.calls:
        content.append({"toolUse": {"toolUseId": call_id, "name": name, "input": arguments}})
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": answer.stop,
        "usage": answer.usage,
        "metrics": {"latencyMs": 7},
    }


def events(answer, sign):
    """Names and payloads. A block of text has no beginning of its own; a signature comes alone."""
    yield "messageStart", {"role": "assistant"}
    index = 0
    delta = lambda value: ("contentBlockDelta", {"contentBlockIndex": index, "delta": value})
    if answer.thoughts:
        for thought in answer.thoughts:
            yield delta({"reasoningContent": {"text": thought}})
        yield delta({"reasoningContent": {"signature": sign("".join(answer.thoughts))}})
        yield "contentBlockStop", {"contentBlockIndex": index}
        index += 1
    if answer.pieces:
        for piece in answer.pieces:
            yield delta({"text": piece})
        yield "contentBlockStop", {"contentBlockIndex": index}
        index += 1
    for call in answer.calls:
        start = {"toolUse": {"toolUseId": call[0], "name": call[1]}}
        yield "contentBlockStart", {"contentBlockIndex": index, "start": start}
        for fragment in _fragments(call):
            yield delta({"toolUse": {"input": fragment}})
        yield "contentBlockStop", {"contentBlockIndex": index}
        index += 1
    yield "messageStop", {"stopReason": answer.stop}
    yield "metadata", {"usage": answer.usage, "metrics": {"latencyMs": 7}}
