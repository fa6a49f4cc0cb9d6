"""Azure OpenAI, and Claude on Foundry: a strict front for the scripted upstream.

| path | version | model |
|---|---|---|
| `/openai/v1/{chat/completions,responses,embeddings}` | none, or `preview` | the deployment, in the body |
| `/api/projects/{p}/openai/v1/{…}` | the same | the same |
| `/openai/deployments/{d}/{chat/completions,embeddings}` | a date | the deployment, in the path |
| `/openai/responses` | a date | the deployment, in the body |
| `/anthropic/v1/messages`, `/anthropic/v1/messages/count_tokens` | none | the deployment, in the body |

Sources: the vendor's pages on each; the SDKs; recorded answers in reports of other projects (docs/protocols, carriers).
"""

import re
import uuid

from . import behind
from .server import Fake, document, segment

COGNITIVE, FOUNDRY = "https://cognitiveservices.azure.com", "https://ai.azure.com"
DATED = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
RESPONSES_SINCE = "2025-03-01-preview"
V1 = ("chat/completions", "responses", "embeddings")
KEY = "azure-key-of-the-resource"
SAFE = {kind: {"filtered": False, "severity": "safe"} for kind in ("hate", "self_harm", "sexual", "violence")}
NO_JAILBREAK = {"detected": False, "filtered": False}
BLOCKED = {**SAFE, "violence": {"filtered": True, "severity": "high"}, "jailbreak": NO_JAILBREAK}


class Refused(Exception):
    def __init__(self, status, code, words, **more):
        self.reply = _error(status, code, words, **more)


def _error(http, code, words, headers=None, **more):
    return document({"error": {"code": code, "message": words, **more}}, http, **(headers or {}))


class AzureOpenAI(Fake):
    """`entra` knows the tokens. The switches below change how it answers."""

    FAULTS = {
        "throttled": _error(
            429,
            "429",
            "Requests to the ChatCompletions_Create Operation have exceeded the token rate limit of your current tier.",
            headers={"retry_after": "1", "retry_after_ms": "1000"},
        ),
        "unavailable": _error(503, "503", "The service is temporarily unable to process your request."),
        "blocked": _error(
            400,
            "content_filter",
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
            param="prompt",
            type=None,
            status=400,
            innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": BLOCKED},
        ),
    }

    def __init__(self, authority, upstream_url, entra):
        self.behind, self.entra = behind.Behind(upstream_url), entra
        self.key = KEY
        self.deployments = {"scripted-large", "scripted-small", "claude", "embedder"}
        self.filters_later = False  # the asynchronous filter: its findings come after the text
        self.blocks_completions = False  # the answer ends with `content_filter`
        self.refuses_stream_options = False  # as old versions do
        super().__init__(authority)

    def answer(self, request):
        try:
            reply = self._answer(request)
        except Refused as refused:
            reply = refused.reply
        about = {"apim-request-id": str(uuid.uuid4()), "x-ms-region": "Sweden Central"}
        return reply.having(**about)

    def _answer(self, request):
        parts = request.path.removeprefix("/").split("/")
        if request.method != "POST":
            raise Refused(404, "404", "Resource not found")
        match parts:
            case ["openai", "v1", *rest] | ["api", "projects", _, "openai", "v1", *rest] if "/".join(rest) in V1:
                self._authorized(request, COGNITIVE, FOUNDRY, key_is_bearer=True)
                if request.query.get("api-version", "preview") not in ("preview", "v1"):
                    raise Refused(400, "BadRequest", "API version not supported")
                return self._openai("/".join(rest), request, request.json)
            case ["openai", "responses"]:
                self._dated(request, RESPONSES_SINCE)
                return self._openai("responses", request, request.json)
            case ["openai", "deployments", name, *rest] if "/".join(rest) in ("chat/completions", "embeddings"):
                self._dated(request)
                # What the body says is not looked at.
                return self._openai("/".join(rest), request, {**request.json, "model": segment(name)})
            case ["anthropic", "v1", "messages", *rest] if rest in ([], ["count_tokens"]):
                self._authorized(request, COGNITIVE, FOUNDRY, more="x-api-key")
                return self._claude(request)
        raise Refused(404, "404", "Resource not found")

    def _dated(self, request, since=""):
        self._authorized(request, COGNITIVE)
        version = request.query.get("api-version", "")
        if not DATED.fullmatch(version):
            raise Refused(404, "404", "Resource not found")
        if version < since:
            words = f"Azure OpenAI Responses API is enabled only for api-version {since} and later"
            raise Refused(400, "BadRequest", words)

    def _authorized(self, request, *scopes, more=None, key_is_bearer=False):
        """With `key_is_bearer` the key may come as OpenAI's own client sends it, which is asked to use this path."""
        keys = [request.headers[name] for name in ("api-key", more) if name in request.headers]
        if key_is_bearer and request.bearer == self.key:
            return
        if keys:
            if set(keys) != {self.key}:
                words = "Access denied due to invalid subscription key or wrong API endpoint."
                words += " Make sure to provide a valid key for an active subscription."
                raise Refused(401, "401", words)
        elif self.entra.tokens.refusal(request.bearer, scopes):
            words = f"Access token is missing, invalid, audience is incorrect ({scopes[0]}), or have expired."
            raise Refused(401, "401", f"Unauthorized. {words}")

    def _deployed(self, body):
        if not isinstance(body, dict) or body.get("model") not in self.deployments:
            words = "The API deployment for this resource does not exist. If you created the deployment within the last"
            raise Refused(404, "DeploymentNotFound", f"{words} 5 minutes, please wait a moment and try again.")

    def _openai(self, path, request, body):
        self._deployed(body)
        if self.refuses_stream_options and "stream_options" in body:
            words = "Unrecognized request argument supplied: stream_options"
            raise Refused(400, None, words, type="invalid_request_error", param=None)
        answer = self.behind.post(f"/v1/{path}", body, behind.own(request))
        if path != "chat/completions" or answer.status != 200:
            return answer.reply()
        if answer.body is None:
            answer.events = self._stream(answer.events)
            return answer.reply()
        whole = answer.json
        for choice in whole["choices"]:
            self._judge(choice)
        return document({**whole, "prompt_filter_results": [_prompt()]}, **answer.about)

    def _judge(self, choice):
        choice["content_filter_results"] = SAFE
        if self.blocks_completions and choice.get("finish_reason"):
            choice["finish_reason"], choice["content_filter_results"] = "content_filter", BLOCKED

    def _stream(self, events):
        yield behind.event(_about(prompt_filter_results=[_prompt()], choices=[]))
        length = 0
        for event in events:
            chunk = behind.data(event)
            if not chunk or "choices" not in chunk:
                yield event
                continue
            finished = False
            for choice in chunk["choices"]:
                length += len(choice["delta"].get("content") or "")
                finished |= bool(choice.get("finish_reason"))
                if not self.filters_later or choice.get("finish_reason"):
                    self._judge(choice)
            yield behind.event(chunk)
            if finished and self.filters_later:
                for offset in (length // 2, length):
                    yield behind.event(_about(choices=[_late(offset)]))

    def _claude(self, request):
        self._deployed(request.json)
        path = request.path.removeprefix("/anthropic")
        return self.behind.post(path, request.body, behind.own(request)).reply()


def _about(**members):
    return {"id": "", "object": "", "model": "", "created": 0, **members}


def _prompt():
    return {"prompt_index": 0, "content_filter_results": {**SAFE, "jailbreak": NO_JAILBREAK}}


def _late(offset):
    offsets = {"check_offset": offset, "start_offset": 0, "end_offset": offset}
    found = {"content_filter_results": SAFE, "content_filter_offsets": offsets}
    return {"index": 0, "finish_reason": None, **found}
