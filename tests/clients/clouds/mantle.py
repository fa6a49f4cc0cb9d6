"""Bedrock's other host ("Mantle"): the vendors' own APIs as they are, in front of the scripted upstream.

| path | is |
|---|---|
| `/anthropic/v1/messages`, `/anthropic/v1/messages/count_tokens` | Claude's, with its own stream |
| `/v1/chat/completions`, `/v1/responses` | OpenAI's |

A key of Bedrock comes as bearer (or `x-api-key`, to Claude's); signatures are for the service `bedrock-mantle`. The
words of its refusals are an estimate: no SDK depends on them.
"""

import datetime

from . import aws, behind, sigv4
from .server import Fake, document

KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


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
        if request.method != "POST" or not (claude or request.path in ("/v1/chat/completions", "/v1/responses")):
            return refused(404, f"There is no {request.method} {request.path}")
        if words := self._refusal(request, claude):
            return refused(401, words)
        model = (request.json or {}).get("model")
        if model in self.missing:
            return refused(404, f"The model '{model}' isn't supported on this route")
        return self.behind.post(request.path.removeprefix("/anthropic"), request.body, behind.own(request)).reply()

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


def _refused(claude, status, words):
    error = {"type": KINDS[status], "message": words}
    if claude:
        return document({"type": "error", "error": error}, status)
    return document({"error": {**error, "code": None, "param": None}}, status)
