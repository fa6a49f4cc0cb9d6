"""Converse: which requests are legal beyond the service's description, and the answer, whole and as events.

The answer follows the scripted upstream's rules: a word is a token; it quotes the last user text, names images, quotes
tool results, and calls the first tool when some are offered. With thinking asked for, it thinks first, and signs that.
"""

import base64
import dataclasses
import hashlib
import json

from .described import Illegal, check

# Flags of Claude's API that work here, as docs/protocols has them; any other fails the request.
BETAS = {
    "computer-use-2024-10-22",
    "computer-use-2025-01-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dev-full-thinking-2025-05-14",
    "fine-grained-tool-streaming-2025-05-14",
    "interleaved-thinking-2025-05-14",
    "mcp-client-2025-04-04",
    "mcp-client-2025-11-20",
    "model-context-window-exceeded-2025-08-26",
    "output-128k-2025-02-19",
    "pdfs-2024-09-25",
    "search-results-2025-06-09",
    "token-counting-2024-11-01",
    "token-efficient-tools-2025-02-19",
    "tool-search-tool-2025-10-19",
    "web-search-2025-03-05",
}
FIELDS = {"thinking", "top_k", "anthropic_beta", "tool_choice", "output_config", "context_management"}
# Which blocks a role may have.
ONLY_USER = {"image", "document", "video", "audio", "toolResult", "guardContent", "searchResult"}
ONLY_ASSISTANT = {"toolUse", "reasoningContent", "citationsContent"}
MOST_POINTS = 4


@dataclasses.dataclass
class Ask:
    """What a legal request asks for."""

    text: str = ""
    images: list = dataclasses.field(default_factory=list)
    results: list = dataclasses.field(default_factory=list)
    tools: list = dataclasses.field(default_factory=list)
    points: list = dataclasses.field(default_factory=list)  # of caching: tokens before it, lifetime, fingerprint
    tokens: int = 0
    seen: object = dataclasses.field(default_factory=hashlib.sha256)

    def count(self, value):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        self.tokens += len(text.split())
        self.seen.update(text.encode())

    def point(self, block):
        self.points.append((self.tokens, block.get("ttl", "5m"), self.seen.hexdigest()))
        if len(self.points) > MOST_POINTS:
            raise Illegal(f"A maximum of {MOST_POINTS} blocks with cache_control may be provided.")
        if [ttl for _, ttl, _ in self.points] != sorted(ttl for _, ttl, _ in self.points):
            raise Illegal("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")


def flags(betas):
    if not isinstance(betas, list) or (unknown := sorted(set(betas) - BETAS)):
        raise Illegal(f"invalid beta flag: {', '.join(unknown) if isinstance(betas, list) else betas}")


def ask(body, shape, model):
    """`shape` is the description's name of the request."""
    check(body, shape)
    made = Ask()
    config = body.get("toolConfig") or {}
    for tool in config.get("tools", ()):
        _tool(tool, made)
    choice = (config.get("toolChoice") or {}).get("tool")
    if choice and choice["name"] not in [tool["name"] for tool in made.tools]:
        raise Illegal(f"The tool '{choice['name']}' of toolChoice is not in toolConfig.tools.")
    for block in body.get("system") or ():
        made.point(block["cachePoint"]) if "cachePoint" in block else made.count(block.get("text", ""))
    _fields(body, model)
    _messages(body.get("messages") or [], made, bool(config))
    return made


def _tool(tool, made):
    if "cachePoint" in tool:
        return made.point(tool["cachePoint"])
    if "toolSpec" not in tool:
        return None
    spec = tool["toolSpec"]
    schema = spec["inputSchema"].get("json")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise Illegal(f"The value at toolConfig.tools.{len(made.tools)}.toolSpec.inputSchema.json.type must be object.")
    if spec["name"] in [known["name"] for known in made.tools]:
        raise Illegal(f"The tool name '{spec['name']}' is used twice.")
    made.seen.update(json.dumps(spec, sort_keys=True).encode())
    made.tokens += 12
    return made.tools.append({"name": spec["name"], "schema": schema})


def _fields(body, model):
    fields = body.get("additionalModelRequestFields") or {}
    if "anthropic." not in model:
        return
    if unknown := set(fields) - FIELDS:
        raise Illegal(f"The model returned the following errors: {min(unknown)}: Extra inputs are not permitted")
    if "anthropic_beta" in fields:
        flags(fields["anthropic_beta"])
    thinking, settings = fields.get("thinking") or {}, body.get("inferenceConfig") or {}
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or budget < 1024 or budget >= settings.get("maxTokens", 4096):
            raise Illegal("`max_tokens` must be greater than `thinking.budget_tokens`, which is at least 1024.")
        if settings.get("temperature", 1) != 1:
            raise Illegal("`temperature` may only be set to 1 when thinking is enabled.")
        if set((body.get("toolConfig") or {}).get("toolChoice") or {}) & {"any", "tool"}:
            raise Illegal("Thinking may not be enabled when tool_choice forces tool use.")


def _messages(messages, made, has_tools):
    if not messages:
        raise Illegal("messages: at least one message is required")
    roles = [message["role"] for message in messages if message["role"] != "system"]
    if messages[0]["role"] != "user":
        raise Illegal("A conversation must start with a user message. Try again with a conversation that does.")
    if any(one == next_one for one, next_one in zip(roles, roles[1:])):
        raise Illegal("A conversation must alternate between user and assistant roles. Make sure it does.")
    open_calls = []
    for number, message in enumerate(messages):
        at = f"messages.{number}.content"
        if not message["content"]:
            raise Illegal(f"The content field in the Message object at messages.{number} is empty.")
        turn = _turn(message, at, made, has_tools)
        if message["role"] == "user":
            if missing := set(open_calls) - set(turn.answered):
                raise Illegal(f"Expected toolResult blocks at {at} for the following Ids: {', '.join(sorted(missing))}")
            if set(turn.answered) - set(open_calls) or len(turn.answered) != len(set(turn.answered)):
                raise Illegal(f"The number of toolResult blocks at {at} exceeds the number of toolUse blocks before.")
            made.text, made.results = " ".join(turn.texts), turn.results
        if message["role"] != "system":
            open_calls = turn.calls
    if open_calls:
        raise Illegal(f"Expected toolResult blocks after messages for the following Ids: {', '.join(open_calls)}")


@dataclasses.dataclass
class _Turn:
    texts: list = dataclasses.field(default_factory=list)
    calls: list = dataclasses.field(default_factory=list)
    answered: list = dataclasses.field(default_factory=list)
    results: list = dataclasses.field(default_factory=list)


def _turn(message, at, made, has_tools):
    turn = _Turn()
    for number, block in enumerate(message["content"]):
        [kind] = [name for name, value in block.items() if value is not None]
        value, place = block[kind], f"{at}.{number}"
        wrong = ONLY_ASSISTANT if message["role"] == "user" else ONLY_USER
        if kind in wrong:
            raise Illegal(f"The role {message['role']} at {place} does not take {kind} blocks.")
        if kind in ("toolUse", "toolResult") and not has_tools:
            raise Illegal("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        if kind == "text":
            if not value.strip():
                raise Illegal(f"The text field in the ContentBlock object at {place} is blank.")
            made.count(value)
            turn.texts.append(value)
        elif kind == "cachePoint":
            made.point(value)
        elif kind == "image":
            made.images.append(_image(value, made))
        elif kind == "toolUse":
            if not isinstance(value["input"], dict):
                raise Illegal(f"The format of the value at {place}.toolUse.input is invalid. Provide a json object.")
            made.count(value["input"])
            turn.calls.append(value["toolUseId"])
        elif kind == "toolResult":
            turn.answered.append(value["toolUseId"])
            turn.results.append(_result(value, place, made))
        elif kind == "reasoningContent":
            _reasoned(value, place)
    return turn


def _image(image, made):
    made.tokens += 85
    made.seen.update(json.dumps(image, sort_keys=True).encode())
    data = image["source"].get("bytes")
    return f"I see image/{image['format']} of {len(base64.b64decode(data)) if data else 0} bytes. "


def _result(result, at, made):
    texts = []
    for number, block in enumerate(result["content"]):
        if "json" in block and not isinstance(block["json"], dict):
            raise Illegal(f"The format of the value at {at}.toolResult.content.{number}.json is invalid.")
        said = block.get("text", block.get("json"))
        if said is not None:
            made.count(said)
            texts.append(said if isinstance(said, str) else json.dumps(said, ensure_ascii=False))
        if "image" in block:
            made.images.append(_image(block["image"], made))
    return " ".join(texts)


def _reasoned(block, at):
    """What was thought must come back as it was given out."""
    said = block.get("reasoningText")
    if said is not None and said.get("signature") != sign(said["text"]):
        raise Illegal(f"{at}: Invalid `signature` in `thinking` block")


def sign(text):
    return base64.b64encode(hashlib.sha256(f"thought: {text}".encode()).digest()).decode()
