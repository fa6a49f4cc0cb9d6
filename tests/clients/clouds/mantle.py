"""Bedrock's other host ("Mantle"): the vendors' own APIs as they are, in front of the scripted upstream.

| path | is |
|---|---|
| `/anthropic/v1/messages`, `/anthropic/v1/messages/count_tokens` | Claude's, with its own stream |
| `/v1/chat/completions`, `/v1/responses` | OpenAI's |
| `/openai/v1/chat/completions`, `/openai/v1/responses` | the same, for newer models |

A key of Bedrock comes as bearer (or `x-api-key`, to Claude's); signatures are for the service `bedrock-mantle`. The
words of its refusals are those that users report; no SDK depends on them.
"""

import datetime

from . import aws, behind, sigv4
from .server import Fake, document

OPENAI = ("/v1/chat/completions", "/v1/responses", "/openai/v1/chat/completions", "/openai/v1/responses")
# What is below `/openai/v1` alone; all else is below `/v1`.
BELOW_OPENAI = ("openai.gpt-5", "google.gemma-4", "xai.", "example.")
# What has Responses alone, and what has Chat Completions alone.
NO_CHAT, NO_RESPONSES = ("openai.gpt-5",), ("google.gemma-",)
KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
KINDS |= {429: "rate_limit_error"}


class Mantle(Fake):
    """`identity` knows the keys of roles; `key` is an API key. `missing` are models that have no such route here."""

    FAULTS = {
        "throttled": document(
            {"type": "error", "error": {"type": "rate_limit_error", "message": "Too many requests"}}, 429
        ),
        "unavailable": document({"type": "error", "error": {"type": "api_error", "message": "Unavailable"}}, 503),
    }

    def __init__(self, authority, upstream_url, identity):
        self.behind, self.identity = behind.Behind(upstream_url), identity
        self.key = "bedrock-api-key-ZmFrZQ=="
        self.missing = {"anthropic.missing"}
        super().__init__(authority)

    def answer(self, request):
        claude = request.path in ("/anthropic/v1/messages", "/anthropic/v1/messages/count_tokens")
        refused = lambda status, words: _refused(claude, status, words)
        if request.method != "POST" or not (claude or request.path in OPENAI):
            return refused(404, f"There is no {request.method} {request.path}")
        if words := self._refusal(request, claude):
            return refused(401, words)
        model = (request.json or {}).get("model")
        if model in self.missing:
            return refused(404, f"The model '{model}' isn't supported on this route")
        if not claude and (words := _not_here(request.path, model or "")):
            return refused(400, words)
        path = request.path.removeprefix("/anthropic").removeprefix("/openai")
        return self.behind.post(path, request.body, behind.own(request)).reply()

    def _refusal(self, request, claude):
        key = request.bearer or (request.headers.get("x-api-key") if claude else None)
        if key is not None:
            return None if key == self.key else "Authentication failed: Please make sure your API Key is valid."
        try:
            now = datetime.datetime.now(datetime.timezone.utc)
            sigv4.verify(request, self.identity.find, "bedrock-mantle", aws.REGION, now)
        except sigv4.Refused as refused:
            return str(refused)
        return None


def _not_here(path, model):
    prefix, call = path.removeprefix("/openai") != path, path.removeprefix("/openai")
    without = NO_CHAT if call == "/v1/chat/completions" else NO_RESPONSES
    if model.startswith("anthropic.") or model.startswith(without):
        return f"The model '{model}' does not support the '{call}' API"
    if prefix != model.startswith(BELOW_OPENAI):
        return f"The model '{model}' isn't supported on this route"
    return None


def _refused(claude, status, words):
    error = {"type": KINDS[status], "message": words}
    if claude:
        return document({"type": "error", "error": error}, status)
    return document({"error": {**error, "code": None, "param": None}}, status)
